"""Artifacts put into real images, with known name, place and severity."""

from . import (  # noqa: F401 - enter their operators
    color,
    grading,
    lattice,
    lighting,
    outline,
    repetition,
    shape,
    sharpness,
    shine,
    smoothing,
    texture,
)
from .planter import PLANTED_FEATURES, VISIBLE_LEVELS, PlantedArtifact, PlantedImage, plant, planted_images
from .registry import OPERATORS, Operator, Use, operator, operators_of, plantable


__all__ = [
    "OPERATORS",
    "PLANTED_FEATURES",
    "VISIBLE_LEVELS",
    "Operator",
    "PlantedArtifact",
    "PlantedImage",
    "Use",
    "operator",
    "operators_of",
    "plant",
    "plantable",
    "planted_images",
]
