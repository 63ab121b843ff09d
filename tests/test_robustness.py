import numpy as np
import pytest

from tellsign.training import robustness
from tellsign.training.robustness import class_scores, draw_balanced, evaluate_attacks


def test_drawn_images_are_balanced_and_at_most_those_of_the_smaller_class():
    labels = np.asarray([0] * 50 + [1] * 8)
    assert np.bincount(labels[draw_balanced(labels, 10)]).tolist() == [5, 5]
    rows = draw_balanced(labels, 40)
    assert np.bincount(labels[rows]).tolist() == [8, 8] and len(set(rows)) == 16


def test_a_constant_answer_has_a_balanced_accuracy_of_half_and_a_worst_class_of_zero():
    labels = np.asarray([0] * 30 + [1] * 10)
    scores = class_scores(labels == 1, labels)
    assert scores["balanced_accuracy"]["value"] == 0.5
    assert scores["worst_class_accuracy"]["value"] == 0
    assert (scores["accuracy_real"]["value"], scores["accuracy_fake"]["value"]) == (0, 1)


def test_intervals_hold_the_value_and_shrink_with_the_number_of_images():
    rng = np.random.default_rng(0)
    widths = []
    for count in (100, 10_000):
        scores = class_scores(rng.random(count) < 0.8, np.arange(count) % 2)["balanced_accuracy"]
        low, high = scores["interval"]
        assert low < scores["value"] < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 5


@pytest.mark.parametrize(
    ("standing", "broken", "masked"), [(200, 0, False), (200, 1, False), (200, 3, True), (50, 1, True)]
)
def test_gradients_count_as_masked_where_an_attack_without_them_breaks_a_hundredth_of_what_they_left(
    monkeypatch, standing, broken, masked
):
    right = np.arange(200) < standing
    after = right.copy()
    after[:broken] = False
    left = {"none": {0: right}, "apgd-margin": {1: right}, "square": {1: after}}
    monkeypatch.setattr(robustness, "attack_ensemble", lambda *arguments, **options: left)
    result = evaluate_attacks(None, None, None, np.arange(200) % 2)
    assert result["masked_gradients"] == masked
    assert result["broken_without_gradients"]["square"]["1"] == broken / standing
