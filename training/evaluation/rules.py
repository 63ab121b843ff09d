"""What rules score that see next to nothing: if one comes near a detector, the data tell the class by an accident."""

import io
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .left_out import auroc


def measures_of(image: Image.Image) -> dict[str, float]:
    """Measures of a view that tell nothing of how it was made: light, color, contrast, sharpness, size as a file."""
    pixels = np.asarray(image, np.float32)
    grey, spread = pixels.mean(2), pixels.max(2) - pixels.min(2)
    image.save(file := io.BytesIO(), "JPEG", quality=90)
    return {
        "brightness": float(grey.mean()),
        "contrast": float(grey.std()),
        "saturation": float(spread.mean()),
        "white": float((pixels.min(2) > 250).mean()),
        "differences of neighbors": float(np.abs(np.diff(grey, axis=1)).mean()),
        "bytes a pixel": file.tell() / grey.size,
    }


def view_rules(images: Iterable[Image.Image], photographs: NDArray, fakes: NDArray) -> dict[str, float]:
    """What [`measures_of`] RGB images score, by booleans for photographs and for fakes."""
    rows = [measures_of(image) for image in images]
    return rule_scores({name: np.asarray([row[name] for row in rows]) for name in rows[0]}, photographs, fakes)


def rule_scores(measures: Mapping[str, NDArray], photographs: NDArray, fakes: NDArray) -> dict[str, float]:
    """AUROC of each measure in the better direction, by booleans for photographs and for fakes."""
    scores = {name: auroc(values[photographs], values[fakes]) for name, values in measures.items()}
    return {name: max(score, 1 - score) for name, score in scores.items()}
