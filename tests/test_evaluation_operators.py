import json
from pathlib import Path

import numpy as np
import pytest

from tellsign.training.planting import operators_of, plantable
from tests.samples import scene


SUMS = Path(__file__).with_name("evaluation_operators.json")
SIZES = {(32, 32): 6, (48, 96): 2}  # scenes of each size


def sums_of(name: str) -> list[float]:
    """Levels by which the evaluation operators of an artifact change scenes of two sizes, and pixels of their masks.

    Sums and not bytes: exponentials differ in the last digit between processors. What is decided does not.
    """
    levels = pixels = 0.0
    for entry in operators_of(name, "evaluation"):
        for size, count in SIZES.items():
            for index in range(count):
                image = scene(index, *size) / np.float32(255)
                for severity in (0.33, 0.67, 1.0):
                    if (answer := entry(image, severity, np.random.default_rng([index, 5]))) is not None:
                        changed, mask = answer
                        levels += 255 * float(np.abs(changed - image).sum())
                        pixels += float(mask.sum())
    return [levels, pixels]


@pytest.mark.parametrize("name", plantable())
def test_evaluation_operators_plant_the_same(name):
    assert sums_of(name) == pytest.approx(json.loads(SUMS.read_text())[name], rel=1e-4)


def test_every_artifact_is_evaluated():
    assert list(json.loads(SUMS.read_text())) == plantable()
