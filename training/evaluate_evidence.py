"""Measures whether the evidence map of large pictures shows what moves the verdict.

python -m tellsign.training.evaluate_evidence tellsign/default --data real.parquet --data fake.parquet
"""

from collections.abc import Callable
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from torch import nn
from torchvision.transforms.v2.functional import gaussian_blur
from tqdm.auto import tqdm
from transformers import AutoImageProcessor, AutoModelForImageClassification

from tellsign.modeling.image_loading import load_image
from tellsign.modeling.modeling_large_picture import LargePictureForImageClassification, moments_of
from tellsign.tables import markdown_table
from tellsign.training.data.large_pictures import load_pictures
from tellsign.training.data.sources import content_of, of_class
from tellsign.training.evaluation.metrics import bootstrap


SHARE = 0.2
DRAWS = 4  # one random order differs much from the next


def logits_of(model: LargePictureForImageClassification, pictures: torch.Tensor) -> torch.Tensor:
    """Logits of fake of normalized pictures `(n, 3, size, size)`, at temperature 1."""
    return model.head(moments_of(model.feature_maps(pictures)))


def integrated(model: LargePictureForImageClassification, picture: torch.Tensor, grid: int) -> NDArray:
    """The evidence map that the detector gives, `(grid, grid)`."""
    with torch.inference_mode():
        maps = model.feature_maps(picture)
        return model.head.evidence(maps, moments_of(maps), grid)[0].numpy()


def grad_cam(model: LargePictureForImageClassification, picture: torch.Tensor, grid: int) -> NDArray:
    """Grad-CAM of the last stage (Selvaraju et al., 2017, arXiv 1610.02391, equations 1 and 2), without its ReLU."""
    maps = [hidden_states.detach().requires_grad_() for hidden_states in model.feature_maps(picture)]
    (gradient,) = torch.autograd.grad(model.head(moments_of(maps)).sum(), maps[-1])
    cam = (gradient.mean((2, 3), keepdim=True) * maps[-1]).sum(1, keepdim=True)
    return nn.functional.interpolate(cam, (grid, grid), mode="bilinear")[0, 0].detach().numpy()


def with_blurred(picture: torch.Tensor, order: NDArray, grid: int) -> torch.Tensor:
    """A picture with `SHARE` of the grid's cells blurred, the first ones of an order."""
    hidden = torch.zeros(grid * grid)
    hidden[torch.from_numpy(order[: round(SHARE * grid * grid)].copy())] = 1
    mask = nn.functional.interpolate(hidden.reshape(1, 1, grid, grid), picture.shape[-2:], mode="nearest")
    size = picture.shape[-1] // 8
    return torch.lerp(picture, gaussian_blur(picture, [2 * size + 1] * 2, [size / 2] * 2), mask)


def deletions(
    model: LargePictureForImageClassification, picture: torch.Tensor, grid: int, rng: np.random.Generator
) -> NDArray:
    """How far the logit falls, toward the other class, when cells are blurred.

    Returns:
        `np.ndarray` of shape `(3,)`: by the evidence, by Grad-CAM, and at random (the mean of `DRAWS`), strongest
        cells first.
    """
    with torch.inference_mode():
        logit = logits_of(model, picture)[0]
    sign = 1.0 if logit > model.head(model.head.baseline[None])[0] else -1.0
    maps: tuple[Callable, ...] = (integrated, grad_cam)
    orders = [np.argsort(-sign * of_map(model, picture, grid).ravel(), kind="stable") for of_map in maps]
    orders += [rng.permutation(grid * grid) for _ in range(DRAWS)]
    with torch.inference_mode():
        changed = torch.cat([with_blurred(picture, order, grid) for order in orders])
        falls = sign * (logit - torch.cat([logits_of(model, some) for some in changed.split(4)])).numpy()
    return np.array([falls[0], falls[1], falls[2:].mean()])


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
    grid = model.config.grid_size
    pictures = load_pictures(data, model.config.smallest_side)
    rng = np.random.default_rng(0)
    falls = []
    for label in ("real", "fake"):
        chosen = of_class(pictures, label, pictures_per_class)
        for image in tqdm(chosen["image"], desc=f"Blurring ({label})", unit="img", leave=False):
            seen = image_processor(load_image(content_of(image) or b""), return_tensors="pt")["large_pixel_values"]
            falls.append(deletions(model, seen, grid, rng))
    values = np.stack(falls)

    def compute(sample: NDArray) -> dict[str, float]:
        evidence, cam, random = map(float, sample.mean(0))
        return {
            "fall of evidence": evidence,
            "fall of Grad-CAM": cam,
            "fall at random": random,
            "evidence to random": evidence / random,
            "Grad-CAM to random": cam / random,
        }

    scores, intervals = compute(values), bootstrap([values], compute)
    rows = [
        [name, f"{value:.2f} [{intervals[name][0]:.2f}, {intervals[name][1]:.2f}]"] for name, value in scores.items()
    ]
    typer.echo(markdown_table(["a fifth of the area blurred", "logit"], rows))


if __name__ == "__main__":
    typer.run(main)
