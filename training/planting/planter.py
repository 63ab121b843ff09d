"""Planting several artifacts into an image."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tellsign.modeling.image_files import recode_uniformly
from tellsign.pipelines.answer import Box
from tellsign.pipelines.localization import bounding_box

from .registry import Use, operators_of


# Mean change within the mask, of the channel that changes most and in levels of 255, that counts as visible.
VISIBLE_LEVELS = 3.0
LEAST_SEVERITY = 0.33


@dataclass(frozen=True)
class PlantedArtifact:
    """An artifact in an image, its mask, which is all of the image if it is global, and the box around that.

    The severity goes from barely visible, 0.33, to plain, 1.
    """

    label: str
    severity: float
    mask: NDArray[np.bool_]
    box: Box


@dataclass(frozen=True)
class PlantedImage:
    """An image, not encoded yet, and the artifacts that can be seen in it, in the order in which they were planted."""

    image: NDArray[np.uint8]
    artifacts: list[PlantedArtifact]


def encoded(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An image of shape `(height, width, 3)`, uint8, after the common encoding."""
    return np.asarray(recode_uniformly(Image.fromarray(image)))


def visible_change(before: NDArray, after: NDArray, final: NDArray, mask: NDArray[np.bool_]) -> float:
    """The part of a change that later changes left.

    It is the mean absolute change within the mask, of the channel that changes most, times the share of it that later
    changes left. The share, 0 to 1, is the projection of all changes since onto this one.
    """
    start, planted, end = (picture[mask].astype(np.float64) for picture in (before, after, final))
    change, since = planted - start, end - start
    power = (change**2).sum()
    share = np.clip((since * change).sum() / power, 0, 1) if power else 0.0
    return float(share * abs(change).max(axis=-1).mean())


def _turned(picture: NDArray, turn: int, back: bool = False) -> NDArray:
    """A picture in one of the eight orientations, by number, or turned back from it."""
    flip = slice(None, None, -1 if turn >= 4 else 1)
    return np.ascontiguousarray(np.rot90(picture[:, flip], -turn) if back else np.rot90(picture, turn)[:, flip])


def plant(
    image: NDArray[np.uint8],
    names: Sequence[str],
    rng: np.random.Generator,
    use: Use,
    severity: float | None = None,
    count: int | None = None,
) -> PlantedImage:
    """Plants artifacts into an image, one after the other.

    Args:
        image (`np.ndarray` of shape `(height, width, 3)`, uint8): A real image, both sides at least 32 pixels.
        names (`list[str]`): The artifacts. Those that have no suitable place in this image are left out, and those
            that in the end change it by less than `VISIBLE_LEVELS` within their place, see [`visible_change`].
        rng (`np.random.Generator`): Chooses operators, places and forms.
        use (`str`): Whether to take the operators for `"training"`, each in any of the eight orientations of the
            image, or those for `"evaluation"`.
        severity (`float`, *optional*): From barely visible, 0.33, to plain, 1. By default drawn for each artifact.
        count (`int`, *optional*): Stop when so many are planted. All by default.

    Raises:
        ValueError: If image or severity are not as described, or a name is unknown or cannot be planted.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or min(image.shape[:2]) < 32:
        raise ValueError(f"image: expected uint8 (height, width, 3) from 32 pixels, got {image.dtype} {image.shape}")
    candidates = [operators_of(name, use) for name in names]
    planted: list[PlantedArtifact] = []
    current, encodings = image, [encoded(image)]
    for operators in candidates:
        if len(planted) == count:
            break
        operator = operators[rng.integers(len(operators))]
        strength = float(rng.uniform(LEAST_SEVERITY, 1)) if severity is None else severity
        # In training in any orientation, so that the direction in which an operator works does not tell the artifact.
        turn = int(rng.integers(8)) if use == "training" else 0
        answer = operator(_turned(current, turn) / np.float32(255), strength, rng)
        if answer is None:
            continue
        changed, mask = (_turned(picture, turn, back=True) for picture in answer)
        pixels = (changed * 255).round().astype(np.uint8)
        # After encoding, which may wipe a faint change out.
        after = encoded(pixels)
        if visible_change(encodings[-1], after, after, mask) >= VISIBLE_LEVELS:
            planted.append(PlantedArtifact(operator.artifact, strength, mask, bounding_box(mask)))
            encodings.append(after)
            current = pixels
    in_the_end = [
        artifact
        for artifact, (before, after) in zip(planted, itertools.pairwise(encodings), strict=True)
        if visible_change(before, after, encodings[-1], artifact.mask) >= VISIBLE_LEVELS
    ]
    return PlantedImage(current, in_the_end)
