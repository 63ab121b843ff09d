"""Scores of several artifacts at once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from tellsign.pipelines.tagger import ArtifactTagger


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
    """Jaccard index of present and chosen artifacts, for each image.

    Args:
        present, chosen (`np.ndarray` of shape `(num_images, num_artifacts)`, bool): What is there and what was named.

    Returns:
        `np.ndarray` of shape `(num_images,)`, 1 where nothing is there and nothing was chosen.
    """
    either = (present | chosen).sum(1)
    return np.where(either, (present & chosen).sum(1) / np.maximum(either, 1), 1.0)


@contextmanager
def switched_on(tagger: ArtifactTagger, names: Sequence[str]) -> Iterator[None]:
    """Lets an ArtifactSiglip give scores for these artifacts, whether or not it abstains on them."""
    config = tagger.model.config
    usual = getattr(config, "trained_artifacts", None)
    if usual is None:
        yield
        return
    config.trained_artifacts = list(names)
    try:
        yield
    finally:
        config.trained_artifacts = usual
