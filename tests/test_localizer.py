import json
import re

import numpy as np
import pytest
import torch
from peft import LoraConfig
from PIL import Image
from transformers import pipeline
from typer.testing import CliRunner

from tellsign import ArtifactExplanationPipeline, ArtifactSiglipConfig, WaveFreqImageProcessor
from tellsign.__main__ import app
from tellsign.hub_cards.export import exported_files
from tellsign.hub_cards.model_card import card_of_folder
from tellsign.pipelines.localizer import LOCATIONS, ArtifactLocalizer, _box_of, location_of
from tellsign.pipelines.tagger import ArtifactTagger
from tests.conftest import equal
from tests.models import LABELS, make_localizer, make_processor, make_tagger_model
from tests.samples import box


# With a darker half, since of one color nothing is told.
RED, BLUE = Image.new("RGB", (40, 20), (220, 0, 0)), Image.new("RGB", (60, 36), (0, 0, 220))
RED.paste((190, 0, 0), (0, 0, 20, 20))
BLUE.paste((0, 0, 190), (0, 0, 30, 36))


def teach(localizer: ArtifactLocalizer, lessons: list[tuple[Image.Image, str, str]]) -> None:
    """Fine-tunes it, as any PaliGemma, until it answers so."""
    images, labels, answers = zip(*lessons, strict=True)
    prompts = [f"<image>detect {label.lower()}" for label in labels]
    given = {"images": list(images), "text": prompts, "suffix": list(answers)}
    batch = localizer.processor(**given, padding=True, return_tensors="pt")
    optimizer = torch.optim.AdamW(localizer.model.train().parameters(), 3e-3)
    for _ in range(250):
        loss = localizer.model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    localizer.model.eval()
    assert loss < 0.02


@pytest.fixture(scope="module")
def localizer():
    """Knows where the first artifact is in each of two images: in the second one there are two of it.

    Of the second artifact it knows that it is in neither.
    """
    torch.manual_seed(0)
    localizer = make_localizer()
    lessons = [
        (RED, LABELS[0], "<loc0000><loc0512><loc0512><loc1023> there"),
        (BLUE, LABELS[0], "<loc0256><loc0128><loc0512><loc0256> a ; <loc0000><loc0000><loc0001><loc0001> b"),
        (RED, LABELS[1], ""),
        (BLUE, LABELS[1], "<loc0512><loc0128>"),
        (RED, LABELS[2], "<loc1023><loc0512><loc1023><loc0512> a point at the border"),
        (BLUE, LABELS[2], "<loc0512><loc0512><loc0128><loc0128> upside down"),
    ]
    teach(localizer, lessons)
    return localizer


def test_location_tokens_become_boxes_in_pixels_of_the_image(localizer):
    red, blue = localizer([RED, BLUE], [[LABELS[0]], [LABELS[0]]])
    assert (red, blue) == ({LABELS[0]: box(20, 0, 40, 10)}, {LABELS[0]: box(8, 9, 15, 18)})


def test_an_answer_that_is_no_box_finds_nothing(localizer):
    assert localizer([RED, BLUE], [[LABELS[1]], LABELS[1:3]]) == [{}, {}]


def test_a_box_has_a_pixel_at_least_and_lies_in_the_image(localizer):
    assert localizer([RED], [[LABELS[2]]]) == [{LABELS[2]: box(20, 19, 21, 20)}]


def test_the_tokens_of_a_box_lead_back_to_it():
    generator = np.random.default_rng(0)
    for _ in range(500):
        width, height = generator.integers(2, 513, 2).tolist()
        (xmin, xmax), (ymin, ymax) = (sorted(generator.choice(side + 1, 2, replace=False)) for side in (width, height))
        tokens = re.findall("<loc....>", location_of(box(xmin, ymin, xmax, ymax), width, height))
        found = _box_of([LOCATIONS.index(token) for token in tokens], width, height)
        assert found == box(xmin, ymin, xmax, ymax)


def test_artifacts_asked_for_together_are_answered_as_alone(localizer):
    together = localizer([RED, BLUE, RED], [LABELS[:3], [], [LABELS[0]]])
    alone = localizer([RED], [[LABELS[0]]])[0] | localizer([RED], [[LABELS[2]]])[0]
    assert together == [alone, {}, {LABELS[0]: alone[LABELS[0]]}]


def test_nothing_asked_is_nothing_found(localizer):
    assert localizer([RED], [[]]) == [{}]
    assert localizer([], []) == []


def test_a_saved_localizer_gives_the_same_boxes(localizer, tmp_path):
    localizer.save_pretrained(tmp_path)
    loaded = ArtifactLocalizer.from_pretrained(tmp_path, device="cpu")
    assert loaded([RED, BLUE], [LABELS[:3], LABELS[:3]]) == localizer([RED, BLUE], [LABELS[:3], LABELS[:3]])


def test_a_model_that_says_no_places_is_refused_before_loading(tmp_path):
    make_processor().save_pretrained(tmp_path)
    ArtifactSiglipConfig().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=f"localizer {tmp_path} cannot be loaded: SiglipProcessor has no location"):
        ArtifactLocalizer.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="has no location tokens <loc0000> to <loc1023>"):
        ArtifactLocalizer(make_tagger_model(), make_processor())


@pytest.fixture
def explain(make_model, localizer) -> ArtifactExplanationPipeline:
    fields = {"trained_artifacts": LABELS, "global_artifacts": LABELS[2:3], "artifact_thresholds": [0.0] * 4}
    parts = {"tagger": ArtifactTagger(make_tagger_model(**fields), make_processor()), "localizer": localizer}
    parts |= {"model": make_model(verdict_thresholds=[0.0, 1.0]), "image_processor": WaveFreqImageProcessor()}
    return pipeline("artifact-explanation", **parts, explain="always")


def test_its_boxes_are_the_answers_where_it_finds_one(explain, localizer):
    answers = explain([RED, BLUE], return_heatmap=True, batch_size=2)
    found = localizer([RED, BLUE], [LABELS[:1], LABELS[:1]])
    explain.localizer = None
    without = explain([RED, BLUE], return_heatmap=True, batch_size=2)
    for answer, by_tagger, boxes in zip(answers, without, found, strict=True):
        of_tagger = {artifact["label"]: artifact for artifact in by_tagger["artifacts"]}
        assert of_tagger.keys() == set(LABELS)
        for artifact in answer["artifacts"]:
            expected = of_tagger[artifact["label"]]
            assert artifact["score"] == expected["score"]
            assert (artifact["heatmap"] == expected["heatmap"]).all()
            if artifact["label"] != LABELS[3]:  # of which it was taught nothing
                assert artifact["box"] == boxes.get(artifact["label"], expected["box"])
        assert boxes[LABELS[0]] != of_tagger[LABELS[0]]["box"]


def test_it_is_saved_beside_the_detector_and_loaded_with_it(explain, tmp_path):
    explain.save_pretrained(tmp_path)
    loaded = pipeline("artifact-explanation", model=str(tmp_path), explain="always")
    assert equal(loaded([RED, BLUE]), explain([RED, BLUE]))
    assert pipeline("artifact-explanation", model=str(tmp_path), localizer=False).localizer is None
    sent = exported_files(tmp_path, "user/repo")
    assert {"localizer/config.json", "localizer/model.safetensors", "localizer/tokenizer.json"} <= sent.keys()


def test_the_card_of_a_detector_says_that_it_has_one(explain, tmp_path):
    explain.save_pretrained(tmp_path)
    assert "`localizer/` holds a model of the type `paligemma`" in card_of_folder(tmp_path).text
    adapter = LoraConfig(base_model_name_or_path="someone/base")
    adapter.save_pretrained(tmp_path / "localizer")
    assert "`localizer/` holds an adapter for `someone/base`" in card_of_folder(tmp_path).text


def test_the_command_takes_one_by_its_folder(explain, localizer, tmp_path):
    localizer.save_pretrained(tmp_path / "localizer")
    RED.save(tmp_path / "red.png")
    expected = explain(str(tmp_path / "red.png"))
    explain.localizer = None
    explain.save_pretrained(tmp_path / "detector")
    options = ["--model", tmp_path / "detector", "--localizer", tmp_path / "localizer", "--explain", "always"]
    result = CliRunner().invoke(app, ["explain", str(tmp_path / "red.png"), *map(str, options)])
    assert equal(json.loads(result.stdout)["artifacts"], expected["artifacts"])
