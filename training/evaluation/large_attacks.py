"""Measures verdicts on large pictures that somebody changed, by accident or to mislead.

python -m tellsign.training.evaluation.large_attacks tellsign/default --data real.parquet --data fake.parquet
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy.special import expit
from tqdm.auto import tqdm
from transformers import AutoImageProcessor, AutoModelForImageClassification

from tellsign import LargePictureForImageClassification, LargePictureImageProcessor
from tellsign.modeling.image_loading import load_image
from tellsign.tables import markdown_table, percent
from tellsign.training.data.degradations import rescale
from tellsign.training.data.large_pictures import load_pictures
from tellsign.training.data.sources import content_of, of_class

from .left_out import FAKE, REAL, auroc, verdicts_at


def _noisy(image: Image.Image) -> Image.Image:
    noise = np.random.default_rng(0).normal(0, 8, (image.height, image.width, 3))
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).round().astype(np.uint8))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "nothing": lambda image: image,
    "blur": lambda image: image.filter(ImageFilter.GaussianBlur(1.5)),
    "noise": _noisy,
    "sharpening": lambda image: image.filter(ImageFilter.UnsharpMask(2, 150, 3)),
    "twice the size": lambda image: rescale(image, 2),
    "denoising": lambda image: image.filter(ImageFilter.MedianFilter(3)),
}
"""Blur of 1.5 pixels, noise of 8 levels, unsharp masking, enlarging, a median of 3x3 pixels."""


def logits_of(model: LargePictureForImageClassification, views: dict[str, torch.Tensor]) -> torch.Tensor:
    """Logits of fake, at temperature 1."""
    return model.head(model.moments_and_maps(views["pixel_values"], views["cuts"])[0])


def attack(
    model: LargePictureForImageClassification, views: dict[str, torch.Tensor], label: int, epsilon: float, steps: int
) -> torch.Tensor:
    """The logit of fake of pictures after projected gradient descent (Madry et al., 2018, arXiv 1706.06083).

    Every pixel of the whole and of the cuts changes by at most `epsilon` levels of 255, each by itself.

    Args:
        model ([`LargePictureForImageClassification`]): What is attacked.
        views (`dict[str, torch.Tensor]`): As [`LargePictureImageProcessor`] gives them.
        label (`int`): 0 for real, 1 for fake: from what to lead away.
        epsilon (`float`): Largest change of a pixel, in levels of 255.
        steps (`int`): Number of steps, each of a quarter of `epsilon`.
    """
    limit, sign = epsilon / 128, -1.0 if label == FAKE else 1.0  # pixels are normalized by 128
    start = {name: views[name] for name in ("pixel_values", "cuts")}
    seen = {name: values.clone() for name, values in start.items()}
    for _ in range(steps):
        asked = {name: values.requires_grad_() for name, values in seen.items()}
        gradients = torch.autograd.grad(sign * logits_of(model, asked).sum(), list(asked.values()))
        with torch.no_grad():
            for (name, values), gradient in zip(asked.items(), gradients, strict=True):
                moved = values + limit / 4 * gradient.sign()
                seen[name] = moved.clamp(start[name] - limit, start[name] + limit).clamp(-127 / 128, 1).detach()
    with torch.no_grad():
        return logits_of(model, seen)


def main(
    model_name: Annotated[str, typer.Argument(help="Folder or repository of a detector with a network for them.")],
    data: Annotated[list[str], typer.Option(help="Pictures of both classes; can be repeated.")],
    output_dir: Annotated[Path, typer.Option(help="Where large_attacks.json is written.")] = Path("evaluation"),
    pictures: Annotated[int, typer.Option(min=2, help="Pictures of each class, drawn at random.")] = 50,
    steps: Annotated[int, typer.Option(min=1, help="Gradient steps.")] = 20,
) -> None:
    """Changes pictures, attacks them with gradients, and prints what becomes of the verdicts."""
    detector = AutoModelForImageClassification.from_pretrained(model_name, dtype=torch.float32).eval()
    model: Any = detector.large_picture
    model.requires_grad_(False)
    see: Any = LargePictureImageProcessor(**AutoImageProcessor.from_pretrained(model_name).large_picture_processor)
    chosen = load_pictures(data, model.config.smallest_side)
    names = [*CHANGES, *(f"attack by {epsilon} of 255" for epsilon in (2, 4, 8))]
    logits: dict[str, list[list[float]]] = {name: [[], []] for name in names}
    for label, title in ((REAL, "real"), (FAKE, "fake")):
        for content in tqdm(of_class(chosen, title, pictures)["image"], desc=f"Changing ({title})", unit="img"):
            image = load_image(content_of(content) or b"")
            for name, change in CHANGES.items():
                with torch.inference_mode():
                    logits[name][label].append(float(logits_of(model, see(change(image), return_tensors="pt"))))
            views = see(image, return_tensors="pt")
            for epsilon in (2, 4, 8):
                after = float(attack(model, views, label, epsilon, steps))
                logits[f"attack by {epsilon} of 255"][label].append(after)
    record = {name: _scores(model.config, *map(np.asarray, both)) for name, both in logits.items()}
    output_dir.mkdir(parents=True, exist_ok=True)
    (output_dir / "large_attacks.json").write_text(json.dumps(record, indent=2) + "\n")
    keys = ("auroc", "real_called_fake", "fake_called_real", "fake_called_fake")
    header = ["change", "AUROC, %", "real called fake, %", "fake called real, %", "fake called fake, %"]
    typer.echo(markdown_table(header, [[name, *(percent(row[key]) for key in keys)] for name, row in record.items()]))


def _scores(config: Any, real: NDArray, fake: NDArray) -> dict[str, float]:
    said = [verdicts_at(expit(logits / config.temperature), config.verdict_thresholds) for logits in (real, fake)]
    return {
        "auroc": auroc(real, fake),
        "real_called_fake": float((said[REAL] == "fake").mean()),
        "fake_called_real": float((said[FAKE] == "real").mean()),
        "fake_called_fake": float((said[FAKE] == "fake").mean()),
    }


if __name__ == "__main__":
    typer.run(main)
