"""Measures whether the evidence map of large pictures shows what moves the verdict.

python -m tellsign.training.evaluate_evidence tellsign/default --data real.parquet --data fake.parquet
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import nn
from tqdm.auto import tqdm
from transformers import AutoImageProcessor, AutoModelForImageClassification

from tellsign import LargePictureImageProcessor
from tellsign.modeling.image_loading import load_image
from tellsign.modeling.modeling_large_picture import LargePictureForImageClassification, moments_of
from tellsign.pipelines.evidence import places_of
from tellsign.tables import markdown_table
from tellsign.training.data.large_pictures import load_pictures
from tellsign.training.data.sources import content_of, of_class
from tellsign.training.evaluation.metrics import bootstrap


SHARE = 0.2
DRAWS = 4  # one random order differs much from the next


def integrated(model: LargePictureForImageClassification, views: dict[str, torch.Tensor], grid: int) -> NDArray:
    """The evidence map that the detector gives, `(grid, grid)`."""
    with torch.inference_mode():
        return model(**views).evidence[0].numpy()


def grad_cam(model: LargePictureForImageClassification, views: dict[str, torch.Tensor], grid: int) -> NDArray:
    """Grad-CAM of the whole's last stage (Selvaraju et al., 2017, arXiv 1610.02391, eq. 1 and 2), without its ReLU."""
    moments, maps, _ = model.moments_and_maps(views["pixel_values"], views["cuts"])
    maps = [hidden_states.detach().requires_grad_() for hidden_states in maps]
    moments = torch.cat([moments_of(maps)[:, None], moments[:, 1:].detach()], dim=1)
    (gradient,) = torch.autograd.grad(model.head(moments).sum(), maps[-1])
    cam = (gradient.mean((2, 3), keepdim=True) * maps[-1]).sum(1, keepdim=True)
    return nn.functional.interpolate(cam, (grid, grid), mode="bilinear")[0, 0].detach().numpy()


def with_blurred(image: Image.Image, hidden: NDArray[np.bool_]) -> Image.Image:
    """A picture with some cells of a grid over it blurred."""
    mask = Image.fromarray(np.where(hidden, 255, 0).astype(np.uint8)).resize(image.size, Image.Resampling.NEAREST)
    return Image.composite(image.filter(ImageFilter.GaussianBlur(min(image.size) / 16)), image, mask)


def strongest(values: NDArray) -> NDArray[np.bool_]:
    """The `SHARE` of the cells with the highest values."""
    hidden = np.zeros(values.size, bool)
    hidden[np.argsort(-values.ravel(), kind="stable")[: round(SHARE * values.size)]] = True
    return hidden.reshape(values.shape)


def framed(toward: NDArray, rng: np.random.Generator) -> list[NDArray[np.bool_]]:
    """The cells of the first frame of an answer, and `DRAWS` frames of its size elsewhere."""
    grid = toward.shape[0]
    frames = np.zeros((1 + DRAWS, grid, grid), bool)
    if not (places := places_of(toward, grid, grid)):  # nothing is framed, and nothing blurred
        return list(frames)
    box = places[0]["box"]
    height, width = box["ymax"] - box["ymin"], box["xmax"] - box["xmin"]
    corners = [(box["ymin"], box["xmin"])]
    corners += [(rng.integers(grid - height + 1), rng.integers(grid - width + 1)) for _ in range(DRAWS)]
    for frame, (top, left) in zip(frames, corners, strict=True):
        frame[top : top + height, left : left + width] = True
    return list(frames)


def deletions(
    model: LargePictureForImageClassification,
    see: Callable[[Image.Image], dict[str, torch.Tensor]],
    image: Image.Image,
    rng: np.random.Generator,
) -> NDArray:
    """How far the logit falls, toward the other class, when cells are blurred.

    Args:
        model ([`LargePictureForImageClassification`]): Judges.
        see (`Callable`): Gives what it takes of an image.
        image (`PIL.Image.Image`): RGB.
        rng (`np.random.Generator`): Draws the random cells.

    Returns:
        `np.ndarray` of shape `(5,)`: of the strongest cells by the evidence, by Grad-CAM, and random ones; of the
        first frame of an answer, and of frames of its size elsewhere. Random ones are means of `DRAWS`.
    """

    @torch.inference_mode()
    def logit_of(picture: Image.Image) -> float:
        views = see(picture)
        return float(model.head(model.moments_and_maps(views["pixel_values"], views["cuts"])[0])[0])

    grid, logit, views = model.config.grid_size, logit_of(image), see(image)
    sign = 1.0 if logit > float(model.head(model.head.baseline)) else -1.0
    evidence, cam = (sign * of_map(model, views, grid) for of_map in (integrated, grad_cam))
    hidden = [strongest(evidence), strongest(cam)]
    hidden += [strongest(rng.permutation(grid * grid).reshape(grid, grid)) for _ in range(DRAWS)]
    hidden += framed(evidence, rng)
    falls = np.asarray([sign * (logit - logit_of(with_blurred(image, cells))) for cells in hidden])
    drawn, frame, frames = falls[2 : 2 + DRAWS], falls[2 + DRAWS], falls[3 + DRAWS :]
    return np.array([falls[0], falls[1], drawn.mean(), frame, frames.mean()])


def main(
    model_name: Annotated[str, typer.Argument(help="Folder or repository of a detector with a network for them.")],
    data: Annotated[list[str], typer.Option(help="Pictures of both classes; can be repeated.")],
    pictures_per_class: Annotated[int, typer.Option(min=1, help="Pictures of each class, drawn at random.")] = 100,
) -> None:
    """Blurs the strongest places by evidence and by Grad-CAM, and random ones, and prints how far the logit falls."""
    detector = AutoModelForImageClassification.from_pretrained(model_name, dtype=torch.float32).eval()
    image_processor = AutoImageProcessor.from_pretrained(model_name)
    model = getattr(detector, "large_picture", None)
    if model is None:
        raise ValueError(f"{model_name}: has no network for large pictures")
    model.requires_grad_(False)
    see: Any = LargePictureImageProcessor(**image_processor.large_picture_processor)
    pictures = load_pictures(data, model.config.smallest_side)
    rng = np.random.default_rng(0)
    falls = []
    for label in ("real", "fake"):
        chosen = of_class(pictures, label, pictures_per_class)
        for image in tqdm(chosen["image"], desc=f"Blurring ({label})", unit="img", leave=False):
            picture = load_image(content_of(image) or b"")
            falls.append(deletions(model, partial(see, return_tensors="pt"), picture, rng))
    values = np.stack(falls)

    def compute(sample: NDArray) -> dict[str, float]:
        evidence, cam, random, frame, elsewhere = map(float, sample.mean(0))
        return {
            "a fifth of the area, by evidence": evidence,
            "by Grad-CAM": cam,
            "at random": random,
            "by evidence, times as far as at random": evidence / random,
            "by Grad-CAM, times as far as at random": cam / random,
            "the first frame": frame,
            "frames of its size elsewhere": elsewhere,
            "the first frame, times as far as elsewhere": frame / elsewhere,
        }

    scores, intervals = compute(values), bootstrap([values], compute)
    rows = [
        [name, f"{value:.2f} [{intervals[name][0]:.2f}, {intervals[name][1]:.2f}]"] for name, value in scores.items()
    ]
    typer.echo(markdown_table(["what is blurred", "fall of the logit"], rows))


if __name__ == "__main__":
    typer.run(main)
