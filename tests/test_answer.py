"""The words of an answer: places, statements and the summary."""

import numpy as np
import pytest

from tellsign.pipelines.answer import (
    CLAIMS,
    PLACES,
    box_of_place,
    findings_of,
    in_words,
    leading_statement,
    leaning,
    place_of,
    summary_of,
)
from tellsign.pipelines.localization import pixels_of


AI, CAMERA = "trainedAlgorithmicMedia", "digitalCapture"


def box(xmin, ymin, xmax, ymax):
    return {"xmin": xmin, "ymin": ymin, "xmax": xmax, "ymax": ymax}


def answer(label="fake", fake_probability=0.9, artifacts=0, **fields) -> dict:
    found = [{"label": "Artificial smoothness", "score": 0.5, "box": box(0, 0, 9, 9)}] * artifacts
    empty = {"verdict_note": "", "artifacts_note": "", "evidence": [], "provenance": []}
    whole = {"label": label, "fake_probability": fake_probability, "width": 90, "height": 90, "artifacts": found}
    return whole | empty | fields


def statement(claim, trust="stated", **fields) -> dict:
    """A statement: signed, unless anyone can have written it or it is a mark."""
    is_signed = trust in ("trusted", "unknown", "broken")
    checks = {"signature": "valid", "hash": "differs" if trust == "broken" else "fits"} if is_signed else {}
    rest = dict.fromkeys(("generator", "version", "signer", "signature", "hash", "text"), "")
    return {"source": "c2pa" if is_signed else "xmp", "trust": trust, "claim": claim} | rest | checks | fields


def uncertain(probability, *claims) -> str:
    evidence = [{"box": box(0, 60, 30, 90), "share": 0.6}]
    given = [claim if isinstance(claim, dict) else statement(claim) for claim in claims]
    return " ".join(findings_of(answer("uncertain", probability, evidence=evidence, provenance=given)))


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


@pytest.mark.parametrize(
    ("count", "words"), [(0, "No known artifact was found."), (1, "1 artifact found."), (3, "3 artifacts found.")]
)
def test_the_summary_counts_artifacts(count, words):
    assert summary_of(answer(artifacts=count)) == words


def test_the_summary_says_why_artifacts_were_not_looked_for():
    assert summary_of(answer("real", 0.1, artifacts_note="Not here.")) == "Not here."


def test_the_summary_names_the_place_that_speaks_most():
    places = [{"box": box(0, 60, 30, 90), "share": 0.6}, {"box": box(0, 0, 30, 30), "share": 0.2}]
    assert summary_of(answer(evidence=places)).startswith(
        'Strongest evidence for "fake": bottom left, 60% of the total.'
    )


def test_a_place_that_takes_most_of_the_image_is_not_named():
    assert (
        summary_of(answer(evidence=[{"box": box(20, 20, 90, 90), "share": 1.0}], artifacts=2)) == "2 artifacts found."
    )


@pytest.mark.parametrize(("probability", "verdict"), [(0.24, "real"), (0.76, "fake")])
def test_an_uncertain_image_leans_to_the_likelier_verdict(probability, verdict):
    lean = f'It leans to "{verdict}". Strongest evidence for "{verdict}": bottom left'
    assert uncertain(probability).startswith(lean)


@pytest.mark.parametrize("probability", [0.25, 0.5, 0.515, 0.75])
def test_near_the_middle_an_image_leans_to_neither_verdict(probability):
    assert uncertain(probability) == 'It leans to neither "real" nor "fake". No known artifact was found.'


@pytest.mark.parametrize("trust", ["trusted", "mark"])
@pytest.mark.parametrize(
    ("probability", "claim"), [(0.2, AI), (0.2, "generator"), (0.2, "aigc label 1"), (0.8, CAMERA)]
)
def test_no_lean_is_said_against_what_somebody_vouches_for(probability, claim, trust):
    assert uncertain(probability, statement(claim, trust)) == "No known artifact was found."


@pytest.mark.parametrize("trust", ["unknown", "broken", "stated"])
@pytest.mark.parametrize(("probability", "claim"), [(0.2, AI), (0.2, "parameters"), (0.8, CAMERA)])
def test_a_lean_is_said_beside_what_nobody_vouches_for(probability, claim, trust):
    assert "leans to" in uncertain(probability, statement(claim, trust))


@pytest.mark.parametrize(("label", "probability", "claim"), [("fake", 0.99, CAMERA), ("real", 0.01, AI)])
def test_a_line_that_anybody_can_write_hides_no_evidence(label, probability, claim):
    given = answer(label, probability, evidence=[{"box": box(0, 60, 30, 90), "share": 0.6}])
    stated = given | {"provenance": [statement(claim)]}
    assert leaning(stated) == label
    assert summary_of(stated) == f"The file states: {in_words(statement(claim))}. {summary_of(given)}"


@pytest.mark.parametrize(("probability", "claim"), [(0.8, AI), (0.2, CAMERA), (0.2, ""), (0.2, "humanEdits")])
def test_a_lean_is_said_beside_what_does_not_contradict_it(probability, claim):
    assert "leans to" in uncertain(probability, statement(claim, "trusted"))


def test_no_lean_is_said_against_a_trace():
    trace = {"name": "grid", "toward": "fake", "strength": 3.0, "lift": 6.0, "box": None, "text": "There is a grid."}
    assert summary_of(answer("uncertain", 0.2, traces=[trace])) == "There is a grid. No known artifact was found."
    assert summary_of(answer("uncertain", 0.8, traces=[trace])).startswith('It leans to "fake". There is a grid.')


def test_no_evidence_is_shown_for_what_a_trace_contradicts():
    trace = {"name": "grid", "toward": "fake", "strength": 3.0, "lift": 6.0, "box": None, "text": "There is a grid."}
    places = [{"box": box(0, 60, 30, 90), "share": 0.6}]
    real, fake = (answer(label, p, traces=[trace], evidence=places) for label, p in (("real", 0.1), ("fake", 0.9)))
    assert leaning(real) is None and "evidence" not in summary_of(real)
    assert leaning(fake) == "fake" and "Strongest evidence" in summary_of(fake)


def test_a_doubtful_verdict_has_no_lean_but_the_doubt():
    places = [{"box": box(0, 60, 30, 90), "share": 0.6}]
    doubtful = answer("uncertain", 0.1, evidence=places, verdict_note="It is tiny.")
    assert summary_of(doubtful) == "It is tiny. No known artifact was found."


def test_who_is_best_vouched_for_leads_whatever_else_is_stated():
    stated = [statement(AI, trust) for trust in ("broken", "stated", "unknown", "mark")]
    stated.append(statement(CAMERA, "trusted"))
    while len(stated) > 2:
        assert leading_statement(stated) == stated.pop()
    assert leading_statement([statement("generator"), statement("humanEdits"), statement(AI)]) == statement(AI)
    assert leading_statement([statement("unreadable"), statement("generator")]) == statement("generator")
    assert leading_statement([statement("not read", "unknown"), statement("camera")]) == statement("camera")
    assert leading_statement([statement("")]) is None is leading_statement([])


def test_the_summary_begins_with_what_the_file_states():
    given = [statement(AI, "unknown", generator="GPT-4o", signer="OpenAI")]
    assert summary_of(answer("uncertain", 0.1, provenance=given)) == (
        "The file states: made by a generative model, GPT-4o (C2PA, signature valid, signed as OpenAI by a "
        'certificate that nobody vouches for). It leans to "real". No known artifact was found.'
    )


@pytest.mark.parametrize("claim", [*CLAIMS, "unreadable", "not read"])
def test_every_claim_has_words(claim):
    words = in_words(statement(claim, text="because"))
    assert words.isprintable() and "XMP" in words and ("because" in words) == (claim in ("not read", "camera", ""))
