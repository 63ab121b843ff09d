"""Logits and probabilities of whole data sets."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm
from transformers import AutoImageProcessor, AutoModelForImageClassification, PreTrainedModel

from tellsign.modeling.verdicts import real_and_fake
from tellsign.training.data.images import DecodedImages, model_inputs


def load_detector(name: str | Path) -> tuple[PreTrainedModel, Any]:
    """A model, on the accelerator if there is one, and its image processor."""
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    model = AutoModelForImageClassification.from_pretrained(name).to(device)
    return model, AutoImageProcessor.from_pretrained(name)


def predict_logits(model: PreTrainedModel, images: DecodedImages) -> NDArray:
    """Logits of real and of fake for all images, at temperature 1.

    Args:
        model (`PreTrainedModel`): An image classifier with a label `real` and a label `fake`, in any case and order.
        images ([`DecodedImages`]): The images.

    Returns:
        `np.ndarray` of shape `(len(images), 2)`, float64.

    Raises:
        ValueError: If the model has other labels than real and fake, see [`real_and_fake`].
    """
    columns = real_and_fake(model.config)
    model.eval()
    batches = torch.arange(len(images)).split(500)
    logits = []
    with torch.inference_mode():
        for rows in tqdm(batches, desc="Scoring", unit="batch", leave=False):
            outputs = model(**model_inputs(images.__getitems__(rows), model.device))
            logits.append(outputs.logits[:, columns].cpu().double())
    return torch.cat(logits).numpy() * temperature_of(model)


def check_finite(logits: NDArray) -> None:
    """Raises a `ValueError` if not all logits are numbers."""
    if not np.isfinite(logits).all():
        raise ValueError(
            "the logits are not finite, training diverged: try a lower --learning_rate, or --max_grad_norm"
        )


def temperature_of(model: PreTrainedModel) -> float:
    """The temperature that the model divides its logits by; 1 for models of other kinds."""
    return getattr(model.config, "temperature", 1.0)


def fake_probability(logits: NDArray, temperature: float) -> NDArray:
    """Probability of fake, shape `(n,)`, from the logits of real and fake at temperature 1, shape `(n, 2)`."""
    return 1 / (1 + np.exp((logits[:, 0] - logits[:, 1]) / temperature))
