"""Judges image files by the ONNX model beside this script. It needs numpy, onnxruntime and Pillow (11.3) alone.

python judge.py FILE...
"""

import argparse
import io
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, ImageCms, ImageOps


FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # none goes to another program


def load_image(content: bytes) -> Image.Image:
    """The image in the content of a file: first frame, upright, RGB in sRGB, on white where it is transparent."""
    image: Image.Image = Image.open(io.BytesIO(content), formats=FORMATS)
    image.load()
    with suppress(Exception):  # a damaged EXIF block says nothing of the pixels
        image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise ValueError("has floating-point pixels, whose range is unknown")
    if image.mode.startswith("I"):
        grey = np.asarray(image, np.int64).clip(0, 65535)
        image = Image.fromarray((grey // 257 if image.mode != "I" or grey.max() > 255 else grey).astype(np.uint8))
    profile, rgb = image.info.get("icc_profile"), image.convert("RGB")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        rgb = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    with suppress(ImportError, OSError, ImageCms.PyCMSError):  # a profile that is damaged, or of another mode
        if profile and "sRGB" not in ImageCms.getProfileDescription(io.BytesIO(profile)):
            stored, srgb = image if image.mode == "CMYK" else rgb, ImageCms.createProfile("sRGB")
            rgb = ImageCms.profileToProfile(stored, io.BytesIO(profile), srgb, outputMode="RGB") or rgb
    return rgb


def preprocess(image: Image.Image, settings: dict[str, Any]) -> dict[str, np.ndarray]:
    """What the model takes, of one RGB image.

    It is resized (bicubic, aspect ratio not kept), encoded as JPEG of quality 75 with chroma 4:2:0, decoded, scaled to
    [0, 1] and normalized. An image that has the small size already is only scaled and normalized. The second network
    sees a large picture after two such steps: to a shorter side of at most 272 pixels, then to its own size.

    Returns:
        `pixel_values` and `large_pixel_values` of shape `(1, 3, height, width)`, float32. The latter are zeros for a
        small image. `image_sizes` of shape `(1, 2)`, int64, is its height and width.
    """

    def resized(image: Image.Image, width: int, height: int) -> Image.Image:
        file = io.BytesIO()
        image.resize((width, height), Image.Resampling.BICUBIC).save(file, "JPEG", quality=75, subsampling="4:2:0")
        return Image.open(file)

    def normalized(image: Image.Image, mean: list[float], std: list[float]) -> np.ndarray:
        pixels = (np.asarray(image, np.float32) / 255 - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
        return pixels.transpose(2, 0, 1)[None]

    size, large, (width, height) = settings["size"], settings["large"], image.size
    small = image if image.size == (size, size) else resized(image, size, size)
    inputs = {
        "pixel_values": normalized(small, settings["mean"], settings["std"]),
        "image_sizes": np.array([[height, width]]),
    }
    if large:
        inputs["large_pixel_values"] = np.zeros((1, 3, large["size"], large["size"]), np.float32)
        if min(width, height) >= large["smallest_side"]:
            factor = min(1, large["largest_short_side"] / min(width, height))
            reduced = resized(image, max(1, round(factor * width)), max(1, round(factor * height)))
            seen = resized(reduced, large["size"], large["size"])
            inputs["large_pixel_values"] = normalized(seen, large["mean"], large["std"])
    return inputs


class Judge:
    """Answers images by an ONNX model, whose metadata hold thresholds and preprocessing."""

    def __init__(self, model: Path):
        self.session = onnxruntime.InferenceSession(model)
        self.settings = json.loads(self.session.get_modelmeta().custom_metadata_map["tellsign"])
        self.inputs = [value.name for value in self.session.get_inputs()]

    def __call__(self, content: bytes) -> dict[str, Any]:
        """Verdict, probability of fake and evidence: what each place of a grid adds to the logit of fake."""
        inputs = preprocess(load_image(content), self.settings)
        logits, evidence = self.session.run(["logits", "evidence"], {name: inputs[name] for name in self.inputs})
        return self.answer(logits[0], evidence[0], inputs["image_sizes"][0])

    def answer(self, logits: np.ndarray, evidence: np.ndarray, image_size: np.ndarray) -> dict[str, Any]:
        """The answer to one image, of what the model gives."""
        fake = self.settings["fake"]
        probability = float(1 / (1 + np.exp(np.float64(logits[1 - fake]) - logits[fake])))
        large = self.settings["large"]
        low, high = (large if large and min(image_size) >= large["smallest_side"] else self.settings)["thresholds"]
        verdict = "fake" if probability > high else "real" if probability < low else "uncertain"
        return {"verdict": verdict, "fake_probability": probability, "evidence": evidence.astype(float).tolist()}


def main() -> int:
    """Prints a line of JSON for each file; one that cannot be read has an error, and the exit code is then 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--model", type=Path, default=Path(__file__).with_name("model.onnx"))
    arguments, failed = parser.parse_args(), False
    judge = Judge(arguments.model)
    for file in arguments.files:
        try:
            answer = judge(file.read_bytes())
        except Exception as error:  # Pillow's decoders raise all sorts on damaged files
            failed, answer = True, {"error": f"{file}: {error}"}
        print(json.dumps({"file": str(file)} | answer), flush=True)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
