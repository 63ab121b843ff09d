import json
from pathlib import Path

import pytest

from tellsign.configuration.artifacts import ARTIFACTS, find_artifact
from tellsign.pipelines.formats import MAX_WORDS
from tellsign.pipelines.free_text import repair


OUTPUTS = json.loads((Path(__file__).parent / "model_outputs.json").read_text())
SEED = Path(__file__).parents[2] / "shared" / "data" / "seed"


@pytest.mark.parametrize("case", OUTPUTS, ids=[case["shape"] for case in OUTPUTS])
def test_repair_finds_what_the_text_explains_and_nothing_else(case):
    explained = repair(case["output"], case["names"])
    assert explained == case["expected"] and list(explained) == list(case["expected"])


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (
            '[{"artifact": "Fake depth of field", "explanation": "The sky."}, {"artifact": "Artificial smoothness", '
            '"explanation": "The fur."}, {"artifact": "Aliasing along high-contrast edges", "explanation": "The ro',
            {
                "Fake depth of field": "The sky.",
                "Artificial smoothness": "The fur.",
                "Aliasing along high-contrast edges": "The ro.",
            },
        ),
        (
            '{"Artificial smoothness": {"location": "left", "explanation": "Like wax."}, "Fake depth of field": {'
            '"explanation": "The sky',
            {"Artificial smoothness": "Like wax.", "Fake depth of field": "The sky."},
        ),
        (
            "{'Artificial smoothness': 'The fur is like wax.', 'Fake depth of field': 'The sky is sharp.'}",
            {"Artificial smoothness": "The fur is like wax.", "Fake depth of field": "The sky is sharp."},
        ),
        ('{"a":' * 900, {}),
        ("Artificial smoothness is not present. Ghosting effects are absent.", {}),
        ('{"Artificial smoothness": "Not present in this image."}', {}),
        ("Neither artificial smoothness nor unnatural pose artifacts are present.", {}),
        ("I cannot see artificial smoothness in this image.", {}),
        ("The image is free from artificial smoothness.", {}),
        (
            "No artificial smoothness or ghosting effects but unnatural color transitions in the sky.",
            {
                "Unnatural color transitions": "No artificial smoothness or ghosting effects but unnatural color "
                "transitions in the sky."
            },
        ),
    ],
    ids=["cut off list", "cut off inner object", "single quotes", "too deep", "absent", "heading", "neither", "cannot"]
    + ["free from", "but"],
)
def test_repair_reads_what_is_cut_off_and_leaves_out_what_is_denied(output, expected):
    assert repair(output) == expected


def test_repair_of_what_it_wrote_changes_nothing():
    for case in OUTPUTS:
        assert repair(json.dumps(case["expected"]), case["names"]) == case["expected"]


def test_repair_reads_every_official_name_as_key_heading_and_ordinal():
    for number, known in enumerate(ARTIFACTS, 1):
        text = f"There is something at the upper left of image {number}."
        for output in (
            {known.name: text},
            json.dumps({known.name: text}),
            f"{number}. {known.name}: {text}",
            f"**{known.name.upper()}** - {text}",
            f"### {number % 99}. {known.name}\n{text}",
            f"**{number % 99}. {known.name}:** {text}",
            f"The next artifact is {known.name[0].lower()}{known.name[1:]}. {text}",
        ):
            assert repair(output) == {known.name: text}, output


@pytest.mark.parametrize(
    "output",
    [
        {"Artificial smoothness": {"explanation": "Skin shines like wax.", "location": "top"}},
        {"Artificial smoothness": ["Skin shines like wax."]},
        {"artifacts": [{"Artificial smoothness": "Skin shines like wax."}]},
        {"artifacts": {"Artificial smoothness": {"Description": "Skin shines like wax."}}},
        [{"artifact": "Artificial smoothness", "explanation": "Skin shines like wax."}],
        {"artifacts": [{"name": "Artificial smoothness", "score": 0.9, "description": "Skin shines like wax."}]},
    ],
)
def test_repair_reads_objects_and_lists_in_each_other(output):
    assert repair(json.dumps(output)) == {"Artificial smoothness": "Skin shines like wax."}


def test_repair_reads_each_of_several_objects_with_the_same_keys():
    names = ["Artificial smoothness", "Aliasing along high-contrast edges", "Texture repetition patterns"]
    output = [{"artifact": name, "explanation": f"Number {number} is here."} for number, name in enumerate(names)]
    expected = {name: f"Number {number} is here." for number, name in enumerate(names)}
    assert repair(json.dumps(output)) == repair("\n".join(map(json.dumps, output))) == expected
    assert list(repair(json.dumps(output)[:-10])) == names


@pytest.mark.parametrize(
    "output",
    [
        *["", "{", "{}", "[]", "null", "1. 2. 3.", '{"a": 1, "b": [2]}', ": : -", "\n\n"],
        '{"artifacts": ["Artificial smoothness", "Texture repetition patterns"]}',
        '{"artifact": "Artificial smoothness"}',
    ],
)
def test_repair_of_nothing_is_nothing(output):
    assert repair(output) == {}


def test_repair_keeps_nothing_if_nothing_was_asked_for():
    assert repair({"Artificial smoothness": "The sky is plain."}, []) == {}


def test_repair_raises_for_a_name_that_does_not_exist():
    with pytest.raises(ValueError, match="no artifact is called 'Lens flare'"):
        repair("", ["Lens flare"])


@pytest.mark.skipif(not SEED.exists(), reason="needs outputs of a real model in ../shared/data/seed")
def test_repair_recovers_every_name_that_a_real_model_explained():
    asked = {
        image["index"]: image["explanation"]
        for image in json.loads((SEED / "classification_results.json").read_text())
    }
    listed = recovered = 0
    for image in json.loads((SEED / "raw_explaination.json").read_text()):
        names = {find_artifact(name).name for name in asked[image["index"]]}
        explained = repair(image["explanation"], asked[image["index"]])
        assert set(explained) <= names and set(repair(image["explanation"])) <= names
        assert all(0 < len(text.split()) <= MAX_WORDS for text in explained.values())
        listed, recovered = listed + len(names), recovered + len(explained)
    # 353 names were counted in the texts outside lists and denials; the other 224 do not occur.
    assert (listed, recovered) == (577, 353)
