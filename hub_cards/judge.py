"""Judges image files by the ONNX model beside this script. It needs numpy, onnxruntime and Pillow (11.3) alone.

python judge.py FILE...
"""

import argparse
import io
import json
from collections.abc import Iterator
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


def encoded(image: Image.Image, quality: int) -> Image.Image:
    """The image after it was stored as JPEG with chroma 4:2:0."""
    image.save(file := io.BytesIO(), "JPEG", quality=quality, subsampling="4:2:0")
    return Image.open(file)


def cuts_of(image: Image.Image, size: int, count: int) -> tuple[list[Image.Image], np.ndarray]:
    """Cuts of a picture at its own pixels, each stored as JPEG of quality 90, and their boxes in sides of the picture.

    They lie at equal distances along the diagonal, with corners that are multiples of 16. A picture with a shorter
    side below 288 is cut in the middle alone, and that cut repeats. One with a side shorter than a cut is mirrored at
    its right and lower edge.
    """
    missing = [(0, max(0, size - side)) for side in (image.height, image.width)]
    pixels = np.pad(np.asarray(image), [*missing, (0, 0)], mode="symmetric")
    places = [0.5 if min(pixels.shape[:2]) < 288 else number / (count + 1) for number in range(1, count + 1)]
    corners = [[int(place * (side - size) / 16) * 16 for side in pixels.shape[:2]] for place in places]
    cuts = [encoded(Image.fromarray(pixels[top : top + size, left : left + size]), 90) for top, left in corners]
    boxes = np.array([[left, top, left + size, top + size] for top, left in corners], np.float32)
    return cuts, boxes / np.array([*image.size, *image.size], np.float32)


def preprocess(image: Image.Image, settings: dict[str, Any]) -> dict[str, np.ndarray]:
    """What the model takes, of one RGB image.

    It is resized (bicubic, aspect ratio not kept), encoded as JPEG of quality 75 with chroma 4:2:0, decoded, scaled to
    [0, 1] and normalized. An image that has the small size already is only scaled and normalized. The second network
    sees a large picture after two such steps: to a shorter side of at most 272 pixels, then to its own size. It also
    sees cuts of it, see [`cuts_of`].

    Returns:
        `pixel_values` and `large_pixel_values` of shape `(1, 3, height, width)`, float32. `cuts` of shape
        `(1, num_cuts, 3, cut_size, cut_size)` and `cut_boxes` of shape `(1, num_cuts, 4)`, float32. For a small image
        the second network's pixels are zeros. `image_sizes` of shape `(1, 2)`, int64, is the height and width.
    """

    def resized(image: Image.Image, width: int, height: int) -> Image.Image:
        return encoded(image.resize((width, height), Image.Resampling.BICUBIC), 75)

    def normalized(image: Image.Image, mean: list[float], std: list[float]) -> np.ndarray:
        pixels = (np.asarray(image, np.float32) / 255 - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
        return pixels.transpose(2, 0, 1)

    size, large, (width, height) = settings["size"], settings["large"], image.size
    small = image if image.size == (size, size) else resized(image, size, size)
    inputs = {
        "pixel_values": normalized(small, settings["mean"], settings["std"])[None],
        "image_sizes": np.array([[height, width]]),
    }
    if large:
        side, cut_size, num_cuts = large["size"], large["cut_size"], large["num_cuts"]
        views, boxes = np.zeros((1, 3, side, side), np.float32), np.array([[0, 0, 1, 1]] * num_cuts, np.float32)
        pixels = np.zeros((num_cuts, 3, cut_size, cut_size), np.float32)
        if min(width, height) >= large["smallest_side"]:
            factor = min(1, large["largest_short_side"] / min(width, height))
            reduced = resized(image, max(1, round(factor * width)), max(1, round(factor * height)))
            views = normalized(resized(reduced, side, side), large["mean"], large["std"])[None]
            cuts, boxes = cuts_of(image, cut_size, num_cuts)
            pixels = np.stack([normalized(cut, large["mean"], large["std"]) for cut in cuts])
        inputs |= {"large_pixel_values": views, "cuts": pixels[None], "cut_boxes": boxes[None]}
    return inputs


def places_of(evidence: np.ndarray, height: int, width: int) -> list[dict[str, Any]]:
    """Up to three connected places of a grid, of the tenth of its cells that add most.

    Each has its `box` in pixels of the image and its `share` of all that is positive, at least 0.05.
    """
    positive, (rows, columns) = np.maximum(evidence, 0), evidence.shape
    places: list[dict[str, Any]] = []
    strongest = (positive >= np.quantile(positive, 0.9)) & (positive > 0)
    left = set(zip(*np.nonzero(strongest), strict=True))
    for start in sorted(left):
        waiting, cells = [start] if start in left else [], []
        left.discard(start)
        while waiting:
            y, x = waiting.pop()
            cells.append((int(y), int(x)))
            near = left.intersection([(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)])
            left -= near
            waiting += near
        if cells:
            (top, left_side), (bottom, right) = np.min(cells, 0).tolist(), (np.max(cells, 0) + 1).tolist()
            box = {"xmin": left_side * width // columns, "ymin": top * height // rows}
            box |= {"xmax": -(-right * width // columns), "ymax": -(-bottom * height // rows)}
            share = float(sum(positive[cell] for cell in cells) / positive.sum())
            places.append({"box": box, "share": round(share, 3)})
    return [place for place in sorted(places, key=lambda place: -place["share"])[:3] if place["share"] >= 0.05]


class Judge:
    """Answers images by an ONNX model, whose metadata hold thresholds and preprocessing."""

    def __init__(self, model: Path, operating_point: str = "cautious"):
        self.session = onnxruntime.InferenceSession(model)
        self.settings = json.loads(self.session.get_modelmeta().custom_metadata_map["tellsign"])
        self.inputs = [value.name for value in self.session.get_inputs()]
        self.operating_point = operating_point

    def __call__(self, content: bytes) -> dict[str, Any]:
        """The answer to the content of an image file, with the names that `tellsign explain` uses."""
        inputs = preprocess(load_image(content), self.settings)
        logits, evidence = self.session.run(["logits", "evidence"], {name: inputs[name] for name in self.inputs})
        return self.answer(logits[0], evidence[0], inputs["image_sizes"][0])

    def answer(self, logits: np.ndarray, evidence: np.ndarray, image_size: np.ndarray) -> dict[str, Any]:
        """The answer to one image, of what the model gives."""
        fake, (height, width) = self.settings["fake"], map(int, image_size)
        probability = float(1 / (1 + np.exp(np.float64(logits[1 - fake]) - logits[fake])))
        large = self.settings["large"]
        judged_by = large if large and min(height, width) >= large["smallest_side"] else self.settings
        low, high = judged_by["thresholds"][self.operating_point]
        label = "fake" if probability > high else "real" if probability < low else "uncertain"
        answer = {"label": label, "fake_probability": probability, "width": width, "height": height}
        return answer | {"evidence": places_of(evidence if probability > 0.5 else -evidence, height, width)}


def files_of(paths: list[Path]) -> Iterator[Path]:
    """The files, and of folders those that have the extension of an image."""
    extensions = {extension for extension, name in Image.registered_extensions().items() if name in FORMATS}
    for path in paths:
        inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in extensions)
        yield from inside if path.is_dir() else [path]


def main() -> int:
    """Prints a line of JSON for each file; one that cannot be read has an error, and the exit code is then 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="file or folder")
    parser.add_argument("--model", type=Path, default=Path(__file__).with_name("model.onnx"))
    parser.add_argument("--operating-point", choices=["cautious", "balanced"], default="cautious")
    arguments, failed = parser.parse_args(), False
    judge = Judge(arguments.model, arguments.operating_point)
    for file in files_of(arguments.files):
        try:
            answer = judge(file.read_bytes())
            answer["fake_probability"] = round(answer["fake_probability"], 4)
        except Exception as error:  # Pillow's decoders raise all sorts on damaged files
            failed, answer = True, {"error": f"{file}: {error}"}
        print(json.dumps({"image": str(file)} | answer), flush=True)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
