import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageClassification, pipeline

from tellsign import WaveFreqConfig, WaveFreqImageProcessor
from tellsign.modeling.large_branch import WaveFreqArtifactHead
from tellsign.training.large import places
from tellsign.training.large.artifact_thresholds import Scored, fit_large_thresholds, named_shares
from tellsign.training.large.pictures import columns_of, load_pictures
from tellsign.training.large.places import fit_artifact_head, picture_places
from tellsign.training.planting import plantable
from tellsign.training.train_large_tagger import FIRST, SECOND, TRAINING, main, parts_of, with_thresholds
from tests.models import TINY_LARGE


def test_no_source_is_in_two_parts_and_no_fake_is_learned():
    rng = np.random.default_rng(0)
    family = rng.integers(0, 40, 600)
    label = (family % 2).astype(int)
    columns = {"label": label, "family": family.astype(str), "person": np.where(family < 8, "someone", "")}
    parts = parts_of(columns)
    for name in np.unique(columns["family"]):
        assert len(set(parts[columns["family"] == name])) == 1
    assert len(set(parts[(family < 8) & (label == 0)])) == 1
    assert set(parts[label == 1]) == {FIRST, SECOND}
    assert (parts[label == 0] == TRAINING).mean() == pytest.approx(0.6, abs=0.1)


def scored(lift: float, learned: bool, others: float = 1.0, seed: int = 0) -> Scored:
    """One artifact, named `lift` times as often in generated pictures as in photographs, and `others` times in other
    pictures made by people."""
    rng = np.random.default_rng(seed)
    present = rng.random((400, 1)) < 0.2
    planted = rng.normal(size=(400, 1)) + 4 * (present & learned)
    made = [1 - (1 - rng.random((4000, 1))) / times for times in (1.0, others, lift)]
    return Scored(present, planted, *made)


@pytest.mark.parametrize(
    ("lift", "learned", "others", "on"),
    [(6, True, 1, True), (6, False, 1, False), (1.5, True, 1, False), (6, True, 6, False)],
)
def test_a_name_is_on_by_precision_and_lift(lift, learned, others, on):
    halves = [scored(lift, learned, others, seed) for seed in range(2)]
    thresholds, measured = fit_large_thresholds(*halves)
    assert np.isfinite(thresholds[0]) == on
    assert measured["lifts"][0] == pytest.approx(lift / others, rel=0.2)


def test_few_photographs_get_a_name_and_more_generated_pictures():
    halves = [scored(6, True, seed=seed) for seed in range(2)]
    thresholds, measured = fit_large_thresholds(*halves)
    assert measured["photographs"] == pytest.approx(measured["rate"], rel=0.3)
    assert measured["generated"] == pytest.approx(6 * measured["photographs"], rel=0.3)
    shares = named_shares(halves[0] + halves[1], thresholds)
    assert shares["photographs"] <= measured["rate"]
    chosen = (halves[0].planted > thresholds) & halves[0].present
    found = named_shares(halves[0], thresholds)["found_in_planted"]
    assert found == pytest.approx(chosen.sum() / halves[0].present.sum())


def test_if_too_many_photographs_get_a_name_none_is_on(monkeypatch):
    monkeypatch.setattr("tellsign.training.large.artifact_thresholds.PHOTOGRAPHS_NAMED", 0.0)
    thresholds, _ = fit_large_thresholds(scored(6, True), scored(6, True, seed=1))
    assert not np.isfinite(thresholds).any()


@torch.no_grad()
def test_the_logit_of_a_threshold_becomes_zero():
    names = ["Artificial smoothness", "Fake depth of field", "Over-sharpening artifacts"]
    head = WaveFreqArtifactHead(WaveFreqConfig(large_artifact_labels=names), 12).eval()
    features = torch.randn(5, 12, 4, 4)
    logits, map_logits = head(features)
    kept = WaveFreqConfig(large_artifact_labels=[names[0], names[2]])
    smaller = with_thresholds(head, np.asarray([0.5, np.inf, -1.5]), kept).eval()
    after, maps_after = smaller(features)
    torch.testing.assert_close(after, logits[:, [0, 2]] - torch.tensor([0.5, -1.5]))
    torch.testing.assert_close(maps_after, map_logits[:, [0, 2]])


def test_a_head_learns_artifacts_and_their_places(monkeypatch):
    monkeypatch.setattr(places, "EPOCHS", 20)
    generator = torch.Generator().manual_seed(0)
    present = torch.rand(512, 2, generator=generator) < 0.3
    masks = torch.zeros(512, 2, 4, 4)
    cells = torch.randint(16, (512, 2), generator=generator)
    masks.flatten(2).scatter_(2, cells[..., None], 1.0)
    masks *= present[..., None, None]
    features = torch.randn(512, 8, 4, 4, generator=generator)
    features[:, :2] += 4 * masks
    config = WaveFreqConfig(large_artifact_labels=["Artificial smoothness", "Fake depth of field"])
    head = fit_artifact_head(config, features.half(), present, masks.half())
    with torch.no_grad():
        logits, map_logits = head(features)
    assert ((logits > 0) == present).float().mean() > 0.9
    found = map_logits.flatten(2).argmax(-1) == cells
    assert found[present].float().mean() > 0.9


@pytest.fixture
def both(make_model, tmp_path) -> str:
    """Folder of a tiny detector with a branch for large pictures."""
    make_model(**TINY_LARGE).save_pretrained(tmp_path / "both")
    WaveFreqImageProcessor(large_size={"height": 64, "width": 64}).save_pretrained(tmp_path / "both")
    (tmp_path / "both" / "training.json").write_text('{"train_data": ["small.parquet"]}')
    (tmp_path / "both" / "leave_out.json").write_text('{"folds": 8}')
    return str(tmp_path / "both")


def test_places_are_of_planted_pictures_and_kept(both, large_sources, tmp_path):
    model = AutoModelForImageClassification.from_pretrained(both)
    processor = WaveFreqImageProcessor(large_size={"height": 64, "width": 64})
    pictures = load_pictures([large_sources], 64)

    def of(use, seed=0):
        return picture_places(pictures, [0, 1, 9], model.large, processor, use, seed, tmp_path)

    untouched, planted = of(None), of("evaluation")
    assert untouched["features"].shape == (3, 2 * (24 + 40), 4, 4) and "present" not in untouched
    assert planted["present"].shape == (3, len(plantable())) and planted["present"].any(1).all()
    shown = planted["masks"].flatten(2).amax(-1) > 0
    assert torch.equal(shown, planted["present"])
    again = of("evaluation")
    assert all(torch.equal(value, again[name]) for name, value in planted.items())
    assert len(list(tmp_path.glob("places-*.safetensors"))) == 2
    assert not torch.equal(of("evaluation", 1)["features"], planted["features"])
    torch.nn.init.normal_(next(model.large.stages.parameters()))  # another backbone has other features
    assert not torch.equal(of(None)["features"], untouched["features"])


def test_a_detector_learns_to_name_artifacts(both, large_sources, tmp_path, monkeypatch):
    names = plantable("training")
    monkeypatch.setattr(places, "EPOCHS", 1)
    monkeypatch.setattr(
        "tellsign.training.train_large_tagger.fit_large_thresholds",
        lambda *halves: (
            np.where(np.arange(len(names)) < 2, -50.0, np.inf),
            named_shares(halves[0], np.full(len(names), np.inf))
            | {"lifts": [1.0] * len(names), "precisions": [(0.1, 0.2, 0.3)] * len(names)},
        ),
    )
    output_dir = tmp_path / "named"
    main(data=[large_sources], detector=both, output_dir=output_dir, copies=1)
    model = AutoModelForImageClassification.from_pretrained(output_dir)
    assert model.config.large_artifact_labels == names[:2]
    record = json.loads((output_dir / "leave_out.json").read_text())["artifacts"]
    assert [name for name, row in record["artifacts"].items() if row["on"]] == names[:2]
    assert record["data"] == ["sources.parquet"] and record["generated"] == 32
    columns = columns_of(load_pictures([large_sources], 64))
    assert record["training_pictures"] == (parts_of(columns) == TRAINING).sum()
    explain = pipeline("artifact-explanation", str(output_dir), tagger=False, explain="never")
    assert explain(Image.new("RGB", (90, 80)))["artifacts"] == []
    assert (output_dir / "training.json").is_file()


def test_a_detector_without_the_branch_is_named(checkpoint, large_sources, tmp_path):
    with pytest.raises(ValueError, match="has no branch for large pictures"):
        main(data=[large_sources], detector=str(checkpoint), output_dir=tmp_path / "out")
