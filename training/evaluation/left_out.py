"""Scores of large pictures whose sources training did not see."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from tellsign.training.data.families import is_before_2022
from tellsign.training.data.sources import LABELS

from .metrics import bootstrap, calibration_scores


LEAST_PICTURES = 8
"""Generators with fewer pictures have no row of their own."""
REAL, FAKE = range(len(LABELS))


def auroc(real: NDArray, fake: NDArray) -> float:
    """Area under the ROC curve of the scores of real and fake pictures."""
    return float(roc_auc_score(np.repeat([REAL, FAKE], [len(real), len(fake)]), np.concatenate([real, fake])))


def generator_scores(
    columns: Mapping[str, NDArray], folds: NDArray, logits: NDArray, photograph_logits: NDArray | None = None
) -> dict[str, dict[str, Any]]:
    """AUROC of each generator against the photographs that the same run did not see, and recalls.

    Args:
        columns (`Mapping`): `label`, `generator`, `family` and `kind` of each picture, arrays of shape `(n,)`.
        folds (`np.ndarray` of shape `(n,)`): The run that did not see the picture.
        logits (`np.ndarray` of shape `(n,)`): Of fake, by that run.
        photograph_logits (`np.ndarray` of shape `(n,)`, *optional*): What to take for photographs instead.

    Returns:
        For each generator with at least `LEAST_PICTURES`: `pictures`, `family`, `auroc`, `recall_at_1` and
        `recall_at_2`. A recall is that at so many percent of the photographs of all runs called fake. All are in
        [0, 1].
    """
    of_real = logits if photograph_logits is None else photograph_logits
    photographs = (columns["label"] == REAL) & (columns["kind"] == "photo")
    cuts = {percent: np.quantile(of_real[photographs], 1 - percent / 100) for percent in (1, 2)}
    names, counts = np.unique(columns["generator"][columns["label"] == FAKE], return_counts=True)
    scores = {}
    for name in names[counts >= LEAST_PICTURES]:
        rows = np.flatnonzero((columns["label"] == FAKE) & (columns["generator"] == name))
        # Heads of different runs do not share a scale.
        same_run = photographs & np.isin(folds, folds[rows])
        if not same_run.any():  # there is nothing to tell them from
            continue
        scores[str(name)] = {
            "pictures": len(rows),
            "family": str(columns["family"][rows[0]]),
            "auroc": auroc(of_real[same_run], logits[rows]),
            **{f"recall_at_{percent}": float((logits[rows] > cut).mean()) for percent, cut in cuts.items()},
        }
    return scores


def mean_scores(generators: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Means over generators with 95% intervals that resample them: all, those since 2022, and those before."""
    groups = {
        "all": list(generators.values()),
        "since 2022": [row for row in generators.values() if not is_before_2022(row["family"])],
        "before 2022": [row for row in generators.values() if is_before_2022(row["family"])],
    }
    result: dict[str, dict[str, Any]] = {}
    for group, rows in groups.items():
        if not rows:
            continue
        keys = ("auroc", "recall_at_1", "recall_at_2")
        # Generators are resampled, not pictures: the mean is to hold for generators that nobody has seen.
        values = np.asarray([[row[key] for key in keys] for row in rows])

        def compute(sample: NDArray, keys=keys) -> dict[str, float]:
            return dict(zip(keys, sample.mean(0).tolist(), strict=True))

        means, intervals = compute(values), bootstrap([values], compute)
        result[group] = {"generators": len(rows), "worst_auroc": float(values[:, 0].min())} | {
            key: {"value": means[key], "interval": list(intervals[key])} for key in keys
        }
    return result


def verdict_shares(verdicts: NDArray, columns: Mapping[str, NDArray]) -> dict[str, dict[str, Any]]:
    """How often each verdict is given of each kind of picture, in [0, 1]."""
    kinds = np.where(columns["label"] == FAKE, "generated", columns["kind"])
    return {
        str(kind): {"pictures": int((kinds == kind).sum())}
        | {verdict: float((verdicts[kinds == kind] == verdict).mean()) for verdict in ("real", "uncertain", "fake")}
        for kind in np.unique(kinds)
    }


def real_right(verdicts: NDArray, labels: NDArray) -> float | None:
    """The share of "real" verdicts that are right where half of the pictures are fake; `None` if there are none."""
    right, wrong = ((verdicts[labels == label] == "real").mean() for label in (REAL, FAKE))
    return float(right / (right + wrong)) if right + wrong else None


def score_left_out(
    columns: Mapping[str, NDArray],
    folds: NDArray,
    logits: NDArray,
    verdicts: Mapping[str, NDArray],
    temperature: float,
) -> dict[str, Any]:
    """All scores of pictures as they are, see [`generator_scores`].

    `columns` also has `square` and `short_side`; `verdicts` are those of each operating point.
    """
    labels, generators = columns["label"], generator_scores(columns, folds, logits)
    photographs = (labels == REAL) & (columns["kind"] == "photo")
    parts = {
        "square": columns["square"],
        "not square": ~columns["square"],
        "short side below 272": columns["short_side"] < 272,
        "short side of 272": columns["short_side"] == 272,
    }
    return {
        "generators": generators,
        "means": mean_scores(generators),
        "parts": {
            name: {
                "photographs": int((photographs & part).sum()),
                "fakes": int(((labels == FAKE) & part).sum()),
                "auroc": auroc(logits[photographs & part], logits[(labels == FAKE) & part]),
            }
            for name, part in parts.items()
            if (photographs & part).any() and ((labels == FAKE) & part).any()
        },
        "verdicts": {
            name: {"kinds": verdict_shares(said, columns), "real_right": real_right(said, labels)}
            for name, said in verdicts.items()
        },
        "calibration": calibration_scores(labels, expit(logits / temperature)),
    }


def plot_left_out(generators: Mapping[str, Mapping[str, Any]], curve: list[dict[str, Any]]) -> Figure:
    """AUROC of each generator, and its mean against the share of sources that training saw."""
    figure = Figure(figsize=(12, max(4, 0.16 * len(generators))), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[2, 1])
    rows = sorted(generators.items(), key=lambda row: row[1]["auroc"])
    for before, color in ((True, "C1"), (False, "C0")):
        points = [(row["auroc"], at) for at, (_, row) in enumerate(rows) if is_before_2022(row["family"]) == before]
        if points:
            left.plot(*zip(*points, strict=True), "o", color=color, label="before 2022" if before else "since 2022")
    left.axvline(0.5, color="0.5", linestyle="--", label="chance")
    left.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=7)
    left.set(title="Generators left out", xlabel="AUROC against photographs left out", xlim=(0, 1))
    left.legend(loc="upper left")
    left.grid(alpha=0.3)
    shares = [point["share"] for point in curve]
    right.plot(shares, [point["auroc"] for point in curve], "o-", color="C0")
    right.set(title="What more sources give", xlabel="share of the sources in training", ylabel="mean AUROC")
    right.grid(alpha=0.3)
    return figure
