"""Logits and probabilities of whole data sets.

Models divide logits by their temperature. Who fits or compares temperatures needs them undivided.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from tqdm.auto import tqdm
from transformers import AutoImageProcessor, AutoModelForImageClassification, PreTrainedModel

from tellsign.modeling.verdicts import is_large, real_and_fake, verdicts_of
from tellsign.training.data.images import DecodedImages, model_inputs


def load_detector(name: str | Path) -> tuple[PreTrainedModel, Any]:
    """A model, on the accelerator if there is one, and its image processor."""
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    model = AutoModelForImageClassification.from_pretrained(name, use_safetensors=True).to(device)
    return model, AutoImageProcessor.from_pretrained(name)


def predict_logits(model: PreTrainedModel, images: DecodedImages) -> NDArray:
    """Logits of real and of fake for all images at temperature 1, `(len(images), 2)`, float64.

    The model's labels are real and fake, in any case and order, or a `ValueError` is raised.
    """
    columns = real_and_fake(model.config)
    model.eval()
    batches = torch.arange(len(images)).split(500 if images.large_source is None else 32)
    logits = []
    with torch.inference_mode():
        for rows in tqdm(batches, desc="Scoring", unit="batch", leave=False):
            outputs = model(**model_inputs(images.__getitems__(rows), model.device))
            logits.append(outputs.logits[:, columns].cpu().double())
    return torch.cat(logits).numpy() * temperatures_of(model, images)[:, None]


def check_finite(logits: NDArray) -> None:
    """Raises a `ValueError` if not all logits are numbers."""
    if not np.isfinite(logits).all():
        raise ValueError(
            "the logits are not finite, training diverged: try a lower --learning_rate, or --max_grad_norm"
        )


def temperatures_of(model: PreTrainedModel, images: DecodedImages) -> NDArray:
    """What the model divides the logits of each image by, shape `(len(images),)`; 1 for models of other kinds."""
    temperatures = np.full(len(images), getattr(model.config, "temperature", 1.0))
    if images.large_source is not None:
        temperatures[is_large(model.config, images.image_sizes).numpy()] = (
            model.config.large_picture_config.temperature
        )
    return temperatures


def fake_probability(logits: NDArray, temperature: float | NDArray) -> NDArray:
    """Probability of fake, shape `(n,)`, from the logits of real and fake at temperature 1, shape `(n, 2)`."""
    return expit((logits[:, 1] - logits[:, 0]) / temperature)


@dataclass(frozen=True)
class Judged:
    """The answers of a detector to images, whose labels are 0 for real and 1 for fake: arrays of shape `(n,)`.

    Probabilities are of fake, the uncalibrated ones at temperature 1. Verdicts are "real", "fake" or "uncertain".
    """

    labels: NDArray
    uncalibrated: NDArray
    probabilities: NDArray
    verdicts: NDArray

    def __getitem__(self, rows: NDArray) -> "Judged":
        return Judged(*(values[rows] for values in vars(self).values()))

    def __add__(self, other: "Judged") -> "Judged":
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Judged(*(np.concatenate(pair) for pair in pairs))


def judge(model: PreTrainedModel, images: DecodedImages) -> Judged:
    """What a detector says of images, each judged by its network."""
    logits = predict_logits(model, images)
    probabilities = fake_probability(logits, temperatures_of(model, images))
    sizes = None if images.large_source is None else images.image_sizes
    verdicts = np.asarray(verdicts_of(model.config, probabilities.tolist(), sizes))
    return Judged(images.labels.numpy(), fake_probability(logits, 1.0), probabilities, verdicts)
