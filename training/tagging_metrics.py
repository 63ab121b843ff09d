"""Scores of several artifacts at once, and the temperatures and thresholds that are fitted to them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from tellsign.pipelines.localization import Box, box_of
from tellsign.training.calibration import fit_temperature


# Validation images in which an artifact must be rightly named for it to be named at all.
LEAST_HITS = 5


def average_precisions(present: NDArray, scores: NDArray) -> NDArray:
    """Average precision of each artifact.

    Args:
        present (`np.ndarray` of shape `(num_images, num_artifacts)`): Whether it is there.
        scores (`np.ndarray` of shape `(num_images, num_artifacts)`): Higher for those that are likelier there.

    Returns:
        `np.ndarray` of shape `(num_artifacts,)`, NaN for an artifact that no image has.
    """
    pairs = zip(present.T, scores.T, strict=True)
    return np.asarray([average_precision_score(*pair) if pair[0].any() else np.nan for pair in pairs])


def auroc_intervals(present: NDArray, scores: NDArray) -> NDArray:
    """Area under the ROC curve of each artifact with its 95% interval (Hanley and McNeil, 1982).

    Args:
        present, scores: As for [`average_precisions`].

    Returns:
        `np.ndarray` of shape `(num_artifacts, 3)`: lower bound, area, upper bound. `(0, NaN, 1)` for an artifact that
        no image or every image has.
    """
    intervals = []
    for truth, score in zip(present.T, scores.T, strict=True):
        positive, negative = int(truth.sum()), int((~truth).sum())
        if not positive or not negative:
            intervals.append((0.0, np.nan, 1.0))
            continue
        area = roc_auc_score(truth, score)
        two_positives, two_negatives = area / (2 - area), 2 * area**2 / (1 + area)
        variance = area * (1 - area)
        variance += (positive - 1) * (two_positives - area**2) + (negative - 1) * (two_negatives - area**2)
        margin = 1.96 * np.sqrt(variance / (positive * negative))
        intervals.append((max(0.0, area - margin), area, min(1.0, area + margin)))
    return np.asarray(intervals)


def jaccard(present: NDArray, chosen: NDArray) -> NDArray:
    """Share of what is there or chosen that is both, for each image.

    Args:
        present, chosen (`np.ndarray` of shape `(num_images, num_artifacts)`, bool): What is there and what was named.

    Returns:
        `np.ndarray` of shape `(num_images,)`, 1 where nothing is there and nothing was chosen.
    """
    either = (present | chosen).sum(1)
    return np.where(either, (present & chosen).sum(1) / np.maximum(either, 1), 1.0)


def box_overlap(first: Box, second: Box) -> float:
    """Intersection over union of two boxes of pixels with exclusive maxima."""
    width = min(first["xmax"], second["xmax"]) - max(first["xmin"], second["xmin"])
    height = min(first["ymax"], second["ymax"]) - max(first["ymin"], second["ymin"])
    areas = [(box["xmax"] - box["xmin"]) * (box["ymax"] - box["ymin"]) for box in (first, second)]
    intersection = max(0, width) * max(0, height)
    return intersection / (sum(areas) - intersection)


def fit_temperatures(present: NDArray, logits: NDArray) -> NDArray:
    """For each artifact the temperature that makes its probability fit best, see [`fit_temperature`].

    Args:
        present, logits: As for [`average_precisions`].

    Returns:
        `np.ndarray` of shape `(num_artifacts,)`.
    """
    return np.asarray(
        [
            fit_temperature(np.stack([np.zeros_like(logit), logit], axis=1), truth.astype(int))
            for truth, logit in zip(present.T, logits.T, strict=True)
        ]
    )


def fit_artifact_thresholds(
    present: NDArray, probabilities: NDArray, untouched: NDArray, false_share: float = 0.04
) -> NDArray:
    """The thresholds at which the names chosen fit best, while untouched images rarely get any.

    Each artifact's threshold maximizes `(1 - cost) * hits - cost * false alarms - penalty * false alarms on untouched
    images`, so that without a penalty it is the probability `cost` where probabilities are calibrated. The
    penalty is the smallest that keeps the share of untouched images with any artifact within its bound (bisection),
    and the cost is that of a grid from 0.05 to 0.6 which gives the highest mean Jaccard index. A threshold above which
    an artifact has fewer than `LEAST_HITS` hits is none: a few lucky images say nothing of others.

    Args:
        present (`np.ndarray` of shape `(num_images, num_artifacts)`, bool): What is in the images.
        probabilities (`np.ndarray` of shape `(num_images, num_artifacts)`): Calibrated probabilities of these images.
        untouched (`np.ndarray` of shape `(num_untouched, num_artifacts)`): Those of images without any artifact.
        false_share (`float`, *optional*, defaults to 0.04): Largest share of untouched images that get any artifact.

    Returns:
        `np.ndarray` of shape `(num_artifacts,)`, in [0, 1]; 1 for artifacts that are better never named.
    """
    scores = np.concatenate([probabilities, untouched])
    order = np.argsort(-scores, axis=0, kind="stable")
    ranked = np.take_along_axis(scores, order, axis=0)
    # Between a score and the next lower one; a threshold below equal scores only where they end.
    cuts = np.where(ranked[:-1] > ranked[1:], (ranked[:-1] + ranked[1:]) / 2, np.nan)
    cuts = np.concatenate([cuts, ranked[-1:]])
    no_hits = np.zeros_like(untouched)
    hits = np.cumsum(np.take_along_axis(np.concatenate([present, no_hits]), order, axis=0), axis=0)
    alarms = np.cumsum(np.take_along_axis(np.concatenate([~present, no_hits]), order, axis=0), axis=0)
    untouched_alarms = np.arange(1, len(scores) + 1)[:, None] - hits - alarms

    def thresholds_at(cost: float, penalty: float) -> NDArray:
        utility = hits * (1 - cost) - cost * alarms - penalty * untouched_alarms
        utility = np.where(np.isnan(cuts) | (hits < LEAST_HITS), -np.inf, utility)
        best = utility.argmax(axis=0)[None]
        useful = np.take_along_axis(utility, best, axis=0) > 0
        return np.where(useful, np.take_along_axis(cuts, best, axis=0), 1.0)[0]

    def is_silent(thresholds: NDArray) -> bool:
        return bool((untouched >= thresholds).any(1).mean() <= false_share)

    planted = present.any(1)
    best_score, best = -1.0, np.ones(present.shape[1])
    for cost in np.arange(1, 13) / 20:
        low, high = -6.0, 6.0
        for _ in range(14):
            middle = (low + high) / 2
            low, high = (low, middle) if is_silent(thresholds_at(cost, 10**middle)) else (middle, high)
        thresholds = thresholds_at(cost, 10**high)
        score = jaccard(present[planted], (probabilities >= thresholds)[planted]).mean()
        if is_silent(thresholds) and score > best_score:
            best_score, best = float(score), thresholds
    return best


def fit_box_threshold(heat_maps: NDArray, boxes: Sequence[Box]) -> tuple[float, float]:
    """The share of a heat map's maximum that gives boxes of the highest mean overlap with the true ones.

    Args:
        heat_maps (`np.ndarray` of shape `(n, height, width)`): At least one.
        boxes (`list[Box]`): Where each artifact is.

    Returns:
        The share, a multiple of 0.05 in (0, 1), and the mean overlap with it.
    """
    thresholds = np.arange(1, 20) / 20
    overlaps = [
        np.mean([box_overlap(box_of(heat, threshold), box) for heat, box in zip(heat_maps, boxes, strict=True)])
        for threshold in thresholds
    ]
    best = int(np.argmax(overlaps))
    return float(thresholds[best]), float(overlaps[best])
