import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from tellsign.training.planting import operators_of, plantable
from tests.samples import scene


HASHES = Path(__file__).with_name("evaluation_operators.json")
SIZES = {(32, 32): 12, (48, 96): 4, (224, 224): 1}  # scenes of each size


def sha256_of(name: str) -> str:
    """Of the pixels and masks that the evaluation operators of an artifact give for scenes of three sizes."""
    digest = hashlib.sha256()
    for entry in operators_of(name, "evaluation"):
        for size, count in SIZES.items():
            for index in range(count):
                image = scene(index, *size) / np.float32(255)
                for severity in (0.33, 0.67, 1.0):
                    answer = entry(image, severity, np.random.default_rng([index, 5]))
                    if answer is None:
                        digest.update(b"no place")
                        continue
                    changed, mask = answer
                    digest.update((changed * 255).round().astype(np.uint8).tobytes() + np.packbits(mask).tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("name", plantable())
def test_evaluation_operators_plant_the_same_bytes(name):
    assert sha256_of(name) == json.loads(HASHES.read_text())[name]


def test_every_artifact_is_evaluated():
    assert list(json.loads(HASHES.read_text())) == plantable()
