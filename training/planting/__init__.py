"""Artifacts put into real images, with known name, place and severity."""

from tellsign.configuration.artifacts import find_artifact

from .operators_evaluation import EVALUATION
from .operators_training import TRAINING
from .planter import VISIBLE_LEVELS, PlantedArtifact, PlantedImage, plant
from .registry import OPERATORS, Effect, Operator, Use, operators_of, plantable
from .rows import PLANTED_FEATURES, planted_images


# Here, since the files of operators import the registry.
OPERATORS += [Operator(find_artifact(name).name, "evaluation", effect) for name, effect in EVALUATION.items()]
OPERATORS += [Operator(find_artifact(name).name, "training", effect) for name in TRAINING for effect in TRAINING[name]]

__all__ = [
    "OPERATORS",
    "PLANTED_FEATURES",
    "VISIBLE_LEVELS",
    "Effect",
    "Operator",
    "PlantedArtifact",
    "PlantedImage",
    "Use",
    "operators_of",
    "plant",
    "plantable",
    "planted_images",
]
