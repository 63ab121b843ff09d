"""Measures whether the evidence map of large pictures shows what moves the verdict.

python -m tellsign.training.evaluate_evidence tellsign/default --data real.parquet --data fake.parquet
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import nn
from tqdm.auto import tqdm
from transformers import AutoImageProcessor, AutoModelForImageClassification

from tellsign import LargePictureImageProcessor
from tellsign.modeling.image_loading import load_image
from tellsign.modeling.modeling_large_picture import LargePictureForImageClassification, moments_of
from tellsign.tables import markdown_table
from tellsign.training.data.large_pictures import load_pictures
from tellsign.training.data.sources import content_of, of_class
from tellsign.training.evaluation.metrics import bootstrap


SHARES = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
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


def with_blurred(image: Image.Image, order: NDArray, share: float, grid: int) -> Image.Image:
    """A picture with a share of the grid's cells blurred, the first ones of an order."""
    hidden = np.zeros(grid * grid, np.uint8)
    hidden[order[: round(share * grid * grid)]] = 255
    mask = Image.fromarray(hidden.reshape(grid, grid)).resize(image.size, Image.Resampling.NEAREST)
    return Image.composite(image.filter(ImageFilter.GaussianBlur(min(image.size) / 16)), image, mask)


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
        rng (`np.random.Generator`): Draws the random orders.

    Returns:
        `np.ndarray` of shape `(3, len(SHARES))`: in the order of the evidence, of Grad-CAM, and at random (the mean of
        `DRAWS`), strongest first.
    """

    @torch.inference_mode()
    def logit_of(picture: Image.Image) -> float:
        views = see(picture)
        return float(model.head(model.moments_and_maps(views["pixel_values"], views["cuts"])[0])[0])

    grid, logit, views = model.config.grid_size, logit_of(image), see(image)
    sign = 1.0 if logit > float(model.head(model.head.baseline)) else -1.0
    maps: tuple[Callable, ...] = (integrated, grad_cam)
    orders = [np.argsort(-sign * of_map(model, views, grid).ravel(), kind="stable") for of_map in maps]
    orders += [rng.permutation(grid * grid) for _ in range(DRAWS)]
    falls = np.asarray(
        [[sign * (logit - logit_of(with_blurred(image, order, share, grid))) for share in SHARES] for order in orders]
    )
    return np.stack([falls[0], falls[1], falls[2:].mean(0)])


def plot_deletions(falls: NDArray) -> Figure:
    """Mean fall of the logit against the share of the area that is blurred."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, values in zip(("evidence", "Grad-CAM", "at random"), falls.mean(0), strict=True):
        axes.plot(SHARES, values, "o-", label=name)
    axes.set(xlabel="share of the area that is blurred", ylabel="fall of the logit", title="Deletion")
    axes.legend()
    axes.grid(alpha=0.3)
    return figure


def main(
    model_name: Annotated[str, typer.Argument(help="Folder or repository of a detector with a network for them.")],
    data: Annotated[list[str], typer.Option(help="Pictures of both classes; can be repeated.")],
    output_dir: Annotated[Path, typer.Option(help="Where evidence.json and evidence.png are written.")] = Path(
        "evaluation"
    ),
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
        means = sample.mean(0)
        at = SHARES.index(0.2)
        return {
            "fall_of_evidence": float(means[0, at]),
            "fall_of_grad_cam": float(means[1, at]),
            "fall_at_random": float(means[2, at]),
            "evidence_to_random": float(means[0, at] / means[2, at]),
            "grad_cam_to_random": float(means[1, at] / means[2, at]),
        }

    scores, intervals = compute(values), bootstrap([values], compute)
    record: dict[str, Any] = {
        "model": model_name,
        "pictures": len(values),
        "shares": list(SHARES),
        "falls": dict(zip(("evidence", "grad_cam", "random"), values.mean(0).tolist(), strict=True)),
        "scores": {name: {"value": value, "interval": list(intervals[name])} for name, value in scores.items()},
    }
    output_dir.mkdir(parents=True, exist_ok=True)
    (output_dir / "evidence.json").write_text(json.dumps(record, indent=2) + "\n")
    plot_deletions(values).savefig(output_dir / "evidence.png", dpi=100)
    rows = [
        [name.replace("_", " "), f"{row['value']:.2f} [{row['interval'][0]:.2f}, {row['interval'][1]:.2f}]"]
        for name, row in record["scores"].items()
    ]
    typer.echo(markdown_table(["a fifth of the area blurred", "logit"], rows))


if __name__ == "__main__":
    typer.run(main)
