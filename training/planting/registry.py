"""The table of operators, each of which puts one artifact into an image."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tellsign.configuration.artifacts import ARTIFACTS, find_artifact

from .places import NoPlace


Use = Literal["training", "evaluation"]
# The changed image, and the weight in [0, 1] with which it replaces the old one at each pixel.
Changed = tuple[NDArray, NDArray]


@dataclass(frozen=True)
class Effect:
    """The work of an operator: a change, in a pattern, at a place.

    Args:
        place (`Callable`): Takes image and generator, and returns weights in [0, 1] or a mask, or raises [`NoPlace`].
        pattern (`Callable` or `None`): Takes image, place, amount and generator, and returns a map, or coordinates.
        change (`Callable`): Takes image, place, the pattern's map, amount and generator. It returns the changed image,
            or that and weights of its own.
        amount (`tuple[float, float]`, *optional*): What patterns and changes get: first + second * severity.
        gain (`float`, *optional*, defaults to 1): Factor of the place's weights, up to 1.
        opacity (`tuple[float, float]`, *optional*): Factor of all weights: first + second * severity.
    """

    place: Callable[[NDArray, np.random.Generator], NDArray]
    pattern: Callable[..., NDArray] | None
    change: Callable[..., Any]
    amount: tuple[float, float] = (0, 1)
    gain: float = 1
    opacity: tuple[float, float] = (1, 0)

    def __call__(self, image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
        place = self.place(image, rng)
        amount, opacity = (start + growth * severity for start, growth in (self.amount, self.opacity))
        form = None if self.pattern is None else self.pattern(image, place, amount, rng)
        changed = self.change(image, place, form, amount, rng)
        changed, weight = changed if isinstance(changed, tuple) else (changed, np.minimum(self.gain * place, 1))
        return changed, weight * opacity


@dataclass(frozen=True)
class Operator:
    """Puts one artifact, by its official name, into images for one use, as its [`Effect`] does."""

    artifact: str
    use: Use
    effect: Callable[[NDArray, float, np.random.Generator], Changed]

    def __call__(
        self, image: NDArray, severity: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]] | None:
        """The changed image, and a mask outside which it is as before; `None` if the artifact could not be seen in it.

        The image is RGB in [0, 1], float32, both sides at least 32 pixels: sizes scale with the shorter side. The
        generator chooses place and form, the same ones for any severity, from barely visible, 0.33, to plain, 1.
        """
        try:
            changed, weight = self.effect(image, severity, rng)
        except NoPlace:
            return None
        mask = weight > 0.05
        mixed = np.clip(image + weight[..., None] * (changed - image), 0, 1).astype(np.float32)
        return (np.where(mask[..., None], mixed, image), mask) if mask.any() else None


OPERATORS: list[Operator] = []


def plantable(use: Use | None = None) -> list[str]:
    """Names of the artifacts that can be planted, for a use or at all, in the official order."""
    names = {entry.artifact for entry in OPERATORS if use in (None, entry.use)}
    return [artifact.name for artifact in ARTIFACTS if artifact.name in names]


def operators_of(name: str, use: Use) -> list[Operator]:
    """Operators of an artifact for a use, or a `ValueError` if there is no such artifact or use, or none for both."""
    if use not in get_args(Use):
        raise ValueError(f"use: expected training or evaluation, got {use!r}")
    artifact = find_artifact(name).name
    found = [entry for entry in OPERATORS if entry.artifact == artifact and entry.use == use]
    if not found:
        raise ValueError(f"{artifact!r} cannot be planted for {use}, only: {'; '.join(plantable(use))}")
    return found
