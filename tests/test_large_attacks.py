import json

import numpy as np
import pytest
import torch
from PIL import Image

from tellsign import (
    LargePictureConfig,
    LargePictureForImageClassification,
    LargePictureImageProcessor,
    WaveFreqImageProcessor,
)
from tellsign.training.data.large_pictures import load_pictures
from tellsign.training.evaluate_detector import attack_large
from tellsign.training.evaluation.large_attacks import CHANGES, attack, large_attack_scores, logits_of
from tests.models import LARGE_PROCESSOR, TINY_BOTH, TINY_LARGE, large_inputs


ATTACKS = "tellsign.training.evaluation.large_attacks"
LARGE = LargePictureImageProcessor(**LARGE_PROCESSOR["large_picture_processor"])


@pytest.fixture
def network() -> LargePictureForImageClassification:
    model = LargePictureForImageClassification(LargePictureConfig(**TINY_LARGE)).eval().requires_grad_(False)
    torch.nn.init.normal_(model.head.classifier.weight)
    return model


@pytest.fixture
def views() -> dict[str, torch.Tensor]:
    inputs = large_inputs(1)
    return {"pixel_values": inputs["large_pixel_values"].clamp(-0.9, 0.9), "cuts": inputs["cuts"].clamp(-0.9, 0.9)}


@pytest.mark.parametrize("label", [0, 1])
def test_an_attack_leads_away_from_the_label(network, views, label):
    before = float(logits_of(network, views))
    moved = [float(attack(network, views, label, epsilon, 5)) - before for epsilon in (2, 8)]
    assert all((change < 0) == (label == 1) for change in moved) and abs(moved[1]) > abs(moved[0])


def test_an_attack_changes_no_pixel_by_more_than_it_may(network, views, monkeypatch):
    asked = []
    monkeypatch.setattr(f"{ATTACKS}.logits_of", lambda model, seen: asked.append(seen) or real(model, seen))
    real = logits_of
    attack(network, views, 0, 4, 6)
    for name, values in asked[-1].items():
        change = (values - views[name]).abs().max()
        assert 0.9 * 4 / 128 < change < 4 / 128 + 1e-6 and values.abs().max() <= 1


@pytest.mark.parametrize("name", list(CHANGES)[1:])
def test_each_change_changes_a_picture(name):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8))
    changed = CHANGES[name](image)
    assert changed.mode == "RGB" and changed.size == ((100, 80) if name == "twice the size" else (50, 40))
    assert changed.size != image.size or not np.array_equal(np.asarray(changed), np.asarray(image))


def test_a_larger_attack_spares_what_a_smaller_one_turned(network, large_sources, monkeypatch):
    asked = []
    monkeypatch.setattr(f"{ATTACKS}.logits_of", lambda *_: 0.0)  # "uncertain"
    monkeypatch.setattr(f"{ATTACKS}.attack", lambda model, views, label, *_: asked.append(label) or 50 - 100 * label)
    record = large_attack_scores(network, LARGE, load_pictures([large_sources], 32), 2, 1)
    assert asked == [0, 0, 1, 1] and record["scores"]["attack by 8 of 255"]["auroc"] == 0


def test_every_change_and_attack_has_a_row(make_model, large_sources, tmp_path):
    make_model(**TINY_BOTH).save_pretrained(tmp_path / "model")
    WaveFreqImageProcessor(**LARGE_PROCESSOR).save_pretrained(tmp_path / "model")
    table = attack_large(str(tmp_path / "model"), [large_sources], 2, 2, tmp_path)
    record = json.loads((tmp_path / "large_attacks.json").read_text())
    assert list(record["scores"]) == [*CHANGES, *(f"attack by {epsilon} of 255" for epsilon in (2, 4, 8))]
    assert all(0 <= value <= 1 for row in record["scores"].values() for value in row.values())
    assert "| attack by 8 of 255 |" in table


def test_a_detector_of_small_images_is_not_attacked_on_large_ones(make_model, tmp_path):
    make_model().save_pretrained(tmp_path)
    WaveFreqImageProcessor().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="no network for large pictures"):
        attack_large(str(tmp_path), ["any"], 2, 2, tmp_path)
