"""Verdicts on large pictures that somebody changed, by accident or to mislead."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy.special import expit
from tqdm.auto import tqdm

from tellsign import LargePictureForImageClassification, LargePictureImageProcessor
from tellsign.modeling.image_loading import load_image
from tellsign.training.data.degradations import rescale
from tellsign.training.data.sources import LABELS, content_of, of_class

from .left_out import FAKE, REAL, auroc, verdicts_at


def _noisy(image: Image.Image) -> Image.Image:
    noise = np.random.default_rng(0).normal(0, 8, (image.height, image.width, 3))
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).round().astype(np.uint8))


AS_IT_IS = "nothing"
CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    AS_IT_IS: lambda image: image,
    "blur": lambda image: image.filter(ImageFilter.GaussianBlur(1.5)),
    "noise": _noisy,
    "sharpening": lambda image: image.filter(ImageFilter.UnsharpMask(2, 150, 3)),
    "twice the size": lambda image: rescale(image, 2),
    "denoising": lambda image: image.filter(ImageFilter.MedianFilter(3)),
}
"""Blur of 1.5 pixels, noise of 8 levels, unsharp masking, enlarging, a median of 3x3 pixels."""
EPSILONS = (2, 4, 8)
"""Largest changes of a pixel by attacks, in levels of 255."""


def logits_of(model: LargePictureForImageClassification, views: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Logits of fake, at temperature 1."""
    return model.head(model.moments_and_maps(views["pixel_values"], views["cuts"])[0])


def attack(
    model: LargePictureForImageClassification,
    views: Mapping[str, torch.Tensor],
    label: int,
    epsilon: float,
    steps: int,
) -> torch.Tensor:
    """The logit of fake of pictures after projected gradient descent (Madry et al., 2018, arXiv 1706.06083).

    Every pixel of the whole and of the cuts changes by at most `epsilon` levels of 255, each by itself, in steps of a
    quarter of that. The label is what to lead away from.
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


def large_attack_scores(
    model: LargePictureForImageClassification,
    image_processor: LargePictureImageProcessor,
    pictures: Dataset,
    each: int,
    steps: int,
) -> dict[str, Any]:
    """Verdicts and AUROC of some pictures of each class after `CHANGES`, and after attacks by each of `EPSILONS`.

    A larger attack goes on where a smaller one has not turned the verdict.
    """
    model.requires_grad_(False)
    names = [*CHANGES, *(f"attack by {epsilon} of 255" for epsilon in EPSILONS)]
    logits: dict[str, list[list[float]]] = {name: [[], []] for name in names}
    for label, title in enumerate(LABELS):
        for content in tqdm(of_class(pictures, title, each)["image"], desc=f"Changing ({title})", unit="img"):
            image = load_image(content_of(content) or b"")
            for name, change in CHANGES.items():
                with torch.inference_mode():
                    views = image_processor(change(image), return_tensors="pt")
                    logits[name][label].append(float(logits_of(model, views)))
            views, after = image_processor(image, return_tensors="pt"), logits[AS_IT_IS][label][-1]
            for epsilon in EPSILONS:
                if _verdicts(model, np.asarray([after]))[0] != LABELS[1 - label]:
                    after = float(attack(model, views, label, epsilon, steps))
                logits[f"attack by {epsilon} of 255"][label].append(after)
    real, fake = map(len, logits[AS_IT_IS])
    scores = {name: _scores(model, *map(np.asarray, both)) for name, both in logits.items()}
    return {"real": real, "fake": fake, "steps": steps, "scores": scores}


def _verdicts(model: LargePictureForImageClassification, logits: NDArray) -> NDArray[np.str_]:
    return verdicts_at(expit(logits / model.config.temperature), model.config.verdict_thresholds)


def _scores(model: LargePictureForImageClassification, real: NDArray, fake: NDArray) -> dict[str, float]:
    said = [_verdicts(model, logits) for logits in (real, fake)]
    return {
        "auroc": auroc(real, fake),
        "real_called_fake": float((said[REAL] == "fake").mean()),
        "fake_called_real": float((said[FAKE] == "real").mean()),
        "fake_called_fake": float((said[FAKE] == "fake").mean()),
    }
