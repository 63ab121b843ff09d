import json

import numpy as np
import pytest

from tellsign.configuration.artifacts import find_artifact
from tellsign.pipelines.answer import box_of_place, place_of
from tellsign.pipelines.formats import (
    PLACES,
    from_challenge,
    from_synartifact,
    limit_words,
    to_challenge,
    to_synartifact,
)
from tellsign.pipelines.localization import pixels_of


def box(xmin, ymin, xmax, ymax):
    return {"xmin": xmin, "ymin": ymin, "xmax": xmax, "ymax": ymax}


def artifact(label="Artificial smoothness", where=(0, 0, 8, 8), **fields):
    return {"label": label, "score": 0.5, "box": box(*where)} | fields


def test_a_text_is_cut_between_sentences_or_in_the_first():
    sentence = "One two three four five."
    assert limit_words(" ".join([sentence] * 12)) == " ".join([sentence] * 10)
    assert limit_words("a " * 51) == "a " * 49 + "a…"
    assert limit_words("  A \n b. ") == "A b."


@pytest.mark.parametrize(
    ("where", "place"),
    [
        ((0, 0, 30, 20), "top left"),
        ((30, 0, 60, 20), "top"),
        ((60, 40, 90, 60), "bottom right"),
        ((0, 20, 30, 40), "left"),
        ((30, 20, 60, 40), "center"),
        ((0, 0, 90, 20), "top"),
        ((60, 0, 90, 60), "right"),
        ((0, 0, 90, 60), "whole image"),
        ((10, 5, 80, 55), "whole image"),
    ],
)
def test_a_place_in_words_is_the_third_in_which_the_center_lies(where, place):
    assert place_of(box(*where), 90, 60) == place


def test_the_place_of_a_mirrored_box_is_mirrored():
    rng = np.random.default_rng(0)
    for _ in range(200):
        width, height = rng.integers(2, 300, 2)
        (x1, x2), (y1, y2) = (sorted(rng.choice(size + 1, 2, replace=False)) for size in (width, height))
        if 2 * width in (3 * (x1 + x2) / 2, 3 * (x1 + x2)):
            continue  # a center on the border of two thirds
        words = place_of(box(x1, y1, x2, y2), width, height).split()
        swapped = [{"left": "right", "right": "left"}.get(word, word) for word in words]
        assert place_of(box(width - x2, y1, width - x1, y2), width, height).split() == swapped


@pytest.mark.parametrize("where", [(0, 0, 0, 5), (0, 0, 33, 5), (-1, 0, 5, 5), (6, 0, 5, 5), (0, 30, 5, 33)])
def test_a_box_outside_the_image_has_no_place(where):
    with pytest.raises(ValueError, match="not inside an image of 32x32 pixels"):
        place_of(box(*where), 32, 32)


def test_the_challenge_gets_placed_fakes_of_at_most_50_words():
    long = "word " * 30 + "end. " + "word " * 30 + "end."
    size = {"width": 32, "height": 32}
    results = [
        {"label": "fake", **size, "artifacts": [artifact(explanation=long), artifact("Ghosting")]},
        {"label": "real", **size, "artifacts": [artifact()]},
        {"error": "broken"},
        {"label": "fake", **size, "artifacts": []},
    ]
    first, second = to_challenge(results, [5, 6, 7, 8])
    assert first["index"] == 5 and second == {"index": 8, "explanation": {}}
    assert first["explanation"]["Ghosting"] == "Top left"
    assert first["explanation"]["Artificial smoothness"] == "Top left: " + "word " * 30 + "end."
    assert [entry["index"] for entry in to_challenge(results)] == [1, 4]
    json.dumps([first, second])


def test_the_challenge_gets_a_place_once():
    explained = artifact(explanation="Top left: the fur is smooth.")
    result = {"label": "fake", "fake_probability": 0.9, "width": 32, "height": 32, "artifacts": [explained]}
    (entry,) = to_challenge([result])
    assert entry["explanation"] == {"Artificial smoothness": "Top left: the fur is smooth."}


def test_artifacts_come_back_from_synartifact_json():
    artifacts = [
        artifact(explanation="The sky is plain."),
        artifact("Unnatural pose artifacts", (3, 4, 30, 31), heatmap=np.zeros((32, 32), np.float32)),
    ]
    written = json.loads(json.dumps(to_synartifact(artifacts)))
    assert from_synartifact(written) == [
        {"label": "Artificial smoothness", "box": box(0, 0, 8, 8), "explanation": "The sky is plain."},
        {"label": "Unnatural pose artifacts", "box": box(3, 4, 30, 31)},
    ]
    assert to_synartifact(from_synartifact(written)) == written


@pytest.mark.parametrize(
    "name", [53, "53", "ghosting effects", "Ghosting effects: Semi-transparent duplicates of elements"]
)
def test_synartifact_rectangles_may_start_at_any_corner(name):
    item = {"rect_start": [20.5, 3], "rect_end": [4, 9.2], "artifacts_caption": "", "artifacts_class": name}
    (read,) = from_synartifact({"Artifacts annotation": [item], "Other artifacts caption": "None"})
    assert read == {"label": find_artifact(53).name, "box": box(4, 3, 21, 10)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"artifacts_class": "Lens flare"}, "no artifact is called 'Lens flare'"),
        ({"artifacts_class": 71}, "no artifact has the id 71"),
        ({"rect_end": [1, 9]}, "annotation 1 .* has an empty rectangle"),
        ({"rect_end": [1]}, r"annotation 1 .* has corners \[1, 1\] and \[1\], expected"),
        ({"rect_start": None}, "annotation 1 .* has corners None and"),
        ({"rect_start": ["1", 0]}, r"annotation 1 .* has corners \['1', 0\] and"),
        ({"rect_start": [float("nan"), 0]}, "annotation 1 .* has corners"),
    ],
)
def test_a_synartifact_annotation_with_a_fault_raises_naming_it(change, message):
    item = {"rect_start": [1, 1], "rect_end": [9, 9], "artifacts_caption": "x", "artifacts_class": 1}
    with pytest.raises(ValueError, match=message):
        from_synartifact({"Artifacts annotation": [item | change]})


@pytest.mark.parametrize("missing", ["rect_start", "rect_end", "artifacts_class"])
def test_a_synartifact_entry_without_a_key_raises_naming_it(missing):
    item = {"rect_start": [1, 1], "rect_end": [9, 9], "artifacts_class": 1}
    del item[missing]
    with pytest.raises(ValueError, match=f"lacks the key '{missing}'"):
        from_synartifact({"Artifacts annotation": [item]})
    with pytest.raises(ValueError, match="lacks the key 'Artifacts annotation'"):
        from_synartifact({})
    with pytest.raises(ValueError, match="annotation is not as expected: .*NoneType"):
        from_synartifact({"Artifacts annotation": None})


@pytest.mark.parametrize("size", [(32, 32), (50, 41)])
def test_parts_cover_the_image_and_hold_the_middles_of_boxes(size):
    height, width = size
    covered = np.zeros(size, int)
    for place in PLACES - {"whole image"}:
        covered[pixels_of(box_of_place(place, width, height))] += 1
    assert covered.min() >= 1
    assert box_of_place("whole image", width, height) == box(0, 0, width, height)
    rng = np.random.default_rng(0)
    for _ in range(200):
        (left, right), (top, bottom) = (
            np.sort(rng.choice(length + 1, 2, replace=False)) for length in (width, height)
        )
        where = box(int(left), int(top), int(right), int(bottom))
        middle = np.zeros(size, bool)
        middle[
            (top + bottom - 1) // 2 : (top + bottom) // 2 + 1, (left + right - 1) // 2 : (left + right) // 2 + 1
        ] = True
        assert middle[pixels_of(box_of_place(place_of(where, width, height), width, height))].any()


def test_a_challenge_entry_comes_back_with_parts_as_boxes():
    size = {"width": 90, "height": 60}
    found = [
        artifact(where=(0, 0, 30, 20), explanation="Fur is smooth."),
        artifact("Ghosting effects", (0, 0, 90, 60)),
    ]
    (entry,) = to_challenge([{"label": "fake", "fake_probability": 1.0, "artifacts": found, **size}])
    assert entry["explanation"] == {
        "Artificial smoothness": "Top left: Fur is smooth.",
        "Ghosting effects": "Whole image",
    }
    first, second = from_challenge(entry, **size)
    assert first == {"label": "Artificial smoothness", "box": box(0, 0, 30, 20), "explanation": "Fur is smooth."}
    assert second["label"].startswith("Ghosting effects") and second["box"] == box(0, 0, 90, 60)
    assert "explanation" not in second


@pytest.mark.parametrize("entry", [{}, {"explanation": "x"}, {"explanation": {"Artificial smoothness": 1}}, []])
def test_what_is_no_entry_of_the_challenge_raises(entry):
    with pytest.raises(ValueError, match="explanation"):
        from_challenge(entry, 9, 9)
