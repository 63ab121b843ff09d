import numpy as np
import pytest

from tellsign.pipelines.localization import box_of
from tellsign.training.tagging_metrics import (
    auroc_intervals,
    average_precisions,
    box_overlap,
    fit_artifact_thresholds,
    fit_box_threshold,
    fit_temperatures,
    jaccard,
)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


@pytest.fixture
def planted() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is in 2,000 images, logits that tell of the first three artifacts but not of the fourth, and those of 1,000
    untouched images."""
    generator = np.random.default_rng(0)
    present = generator.random((2000, 4)) < 0.3
    strength = np.array([4.0, 2.0, 1.0, 0.0])
    logits = generator.normal(-2, 1, (2000, 4)) + present * strength
    return present, logits, generator.normal(-2, 1, (1000, 4))


def test_average_precision_is_the_mean_precision_at_each_hit_and_nan_without_one():
    present = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0]], dtype=bool)
    scores = np.array([[0.9, 0.9, 0.1], [0.5, 0.2, 0.1], [0.1, 0.4, 0.1]])
    np.testing.assert_allclose(average_precisions(present, scores), [(1 + 2 / 3) / 2, (1 / 2 + 2 / 3) / 2, np.nan])


def test_area_under_the_roc_curve_is_the_share_of_ordered_pairs_and_its_interval_that_of_resampling(planted):
    present, logits, _ = planted
    present, logits = present[:400], logits[:400]
    intervals = auroc_intervals(present, logits)
    generator = np.random.default_rng(0)
    for index in range(4):
        positive, negative = logits[present[:, index], index], logits[~present[:, index], index]

        def area(first: np.ndarray, second: np.ndarray) -> float:
            return float((first[:, None] > second).mean())

        resampled = [
            area(generator.choice(positive, len(positive)), generator.choice(negative, len(negative)))
            for _ in range(200)
        ]
        low, middle, high = intervals[index]
        assert middle == pytest.approx(area(positive, negative))
        # Near 1 the formula is on the safe side.
        assert high - low > 1.4 * 1.96 * np.std(resampled)
        assert area(positive, negative) > 0.9 or high - low < 2.6 * 1.96 * np.std(resampled)


def test_nothing_is_known_of_an_artifact_that_no_image_or_every_image_has():
    present = np.array([[True, False], [True, False]])
    np.testing.assert_equal(auroc_intervals(present, np.ones((2, 2))), [[0, np.nan, 1], [0, np.nan, 1]])


def test_jaccard_is_that_of_the_sets_and_1_where_both_are_empty():
    generator = np.random.default_rng(0)
    present, chosen = generator.random((2, 50, 3)) < 0.4
    expected = []
    for truth, choice in zip(present, chosen, strict=True):
        first, second = set(np.flatnonzero(truth)), set(np.flatnonzero(choice))
        expected.append(len(first & second) / len(first | second) if first | second else 1.0)
    np.testing.assert_allclose(jaccard(present, chosen), expected)


def test_temperatures_undo_a_scaling_of_calibrated_logits():
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (20_000, 2))
    present = generator.random(logits.shape) < sigmoid(logits)
    np.testing.assert_allclose(fit_temperatures(present, logits * [3.0, 0.5]), [3.0, 0.5], rtol=0.05)


@pytest.mark.parametrize("false_share", [0.01, 0.04, 0.3])
def test_thresholds_keep_untouched_images_silent_and_hit_more_the_more_they_are_allowed(planted, false_share):
    present, logits, untouched = planted
    probabilities, untouched_probabilities = sigmoid(logits), sigmoid(untouched)
    thresholds = fit_artifact_thresholds(present, probabilities, untouched_probabilities, false_share)
    assert ((thresholds >= 0) & (thresholds <= 1)).all()
    assert (untouched_probabilities >= thresholds).any(1).mean() <= false_share
    others = sigmoid(np.random.default_rng(1).normal(-2, 1, (20_000, 4)))
    assert (others >= thresholds).any(1).mean() < false_share + 0.02
    planted_images = present.any(1)

    def score(limits: np.ndarray) -> float:
        return jaccard(present[planted_images], (probabilities >= limits)[planted_images]).mean()

    stricter = fit_artifact_thresholds(present, probabilities, untouched_probabilities, false_share / 2)
    assert score(thresholds) > score(stricter)
    # No worse than any common threshold that is as silent.
    common = np.quantile(untouched_probabilities.max(1), 1 - false_share)
    assert score(thresholds) >= score(np.full(4, common)) - 0.005


def test_thresholds_use_artifacts_that_are_told_apart_and_never_name_what_is_only_noise(planted):
    present, logits, untouched = planted
    thresholds = fit_artifact_thresholds(present, sigmoid(logits), sigmoid(untouched), 0.04)
    named = (sigmoid(logits) >= thresholds).mean(0)
    assert named[0] > 0.2 and named[1] > 0.05 and named[3] < 0.01


def test_artifacts_that_scores_separate_are_named_without_error():
    generator = np.random.default_rng(0)
    present = generator.random((300, 3)) < 0.3
    probabilities = np.where(present, 0.6, 0.4) + generator.uniform(-0.05, 0.05, present.shape)
    untouched = generator.uniform(0.35, 0.45, (100, 3))
    thresholds = fit_artifact_thresholds(present, probabilities, untouched)
    assert np.array_equal(probabilities >= thresholds, present)
    assert not (untouched >= thresholds).any()


def test_an_artifact_that_is_told_apart_in_fewer_than_five_images_is_never_named():
    generator = np.random.default_rng(0)
    present = np.zeros((500, 2), bool)
    present[:90] = True
    probabilities, untouched = generator.uniform(0, 0.5, (500, 2)), generator.uniform(0, 0.5, (200, 2))
    probabilities[:90] *= 0.5  # below most of the others
    probabilities[:4, 0], probabilities[:5, 1] = 0.98, 0.98
    thresholds = fit_artifact_thresholds(present, probabilities, untouched)
    assert thresholds[0] == 1 and 0.5 <= thresholds[1] < 0.98


def test_overlap_of_boxes_is_that_of_their_pixels():
    generator = np.random.default_rng(0)
    for _ in range(50):
        masks, boxes = [], []
        for _ in range(2):
            (left, right), (top, bottom) = np.sort(generator.choice(13, (2, 2), replace=False), axis=1)
            mask = np.zeros((13, 13), bool)
            mask[top:bottom, left:right] = True
            masks.append(mask)
            boxes.append({"xmin": left, "ymin": top, "xmax": right, "ymax": bottom})
        assert box_overlap(*boxes) == pytest.approx((masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum())


def test_the_threshold_of_boxes_is_the_one_at_which_they_overlap_most_with_the_true_ones():
    heats, boxes = np.full((3, 32, 32), 0.02), []
    for number, heat in enumerate(heats):
        heat[8 - number : 24, 8:28] = 0.3  # 0.375 of the maximum, and the place
        heat[12:16, 12:16] = 0.8
        heat[24:28, 0:32] = 0.1
        boxes.append({"xmin": 8, "ymin": 8 - number, "xmax": 28, "ymax": 24})
    threshold, overlap = fit_box_threshold(heats, boxes)
    assert 0.125 < threshold <= 0.375 and overlap == 1
    assert [box_of(heat, threshold) for heat in heats] == boxes
