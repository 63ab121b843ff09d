"""Which artifacts a detector names in large pictures, and from which score on."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from tellsign.training.evaluation.metrics import bootstrap


PHOTOGRAPHS_NAMED = 0.03
"""Largest share of photographs in which any artifact is named."""
LEAST_LIFT = 3.0
"""How many times as often as in pictures made by people an artifact must be named in generated pictures."""
# How many times its share of the planted pictures the average precision must be, with 95% confidence.
LEAST_PRECISION = 2.0
# Shares of photographs, and of other pictures made by people, in which one artifact may be named.
RATES = (0.015, 0.01, 0.0075, 0.005, 0.003)


@dataclass(frozen=True)
class Scored:
    """Logits of artifacts in pictures of sources that training did not see.

    Args:
        present (`np.ndarray` of shape `(num_planted, num_artifacts)`, bool): What was planted, by other operators.
        planted (`np.ndarray` of shape `(num_planted, num_artifacts)`): Logits of these pictures.
        photographs, others, generated (`np.ndarray` of shape `(n, num_artifacts)`):
            Logits of untouched pictures: photographs, artwork and other pictures made by people, and fakes.
    """

    present: NDArray[np.bool_]
    planted: NDArray
    photographs: NDArray
    others: NDArray
    generated: NDArray

    def cuts(self, rate: float) -> NDArray:
        """The logits above which each artifact is named in at most that share of photographs, and of others."""
        of_kinds = [kind for kind in (self.photographs, self.others) if len(kind)]
        return np.max([np.quantile(kind, 1 - rate, axis=0, method="higher") for kind in of_kinds], axis=0)

    def __add__(self, other: "Scored") -> "Scored":
        """Both sets of pictures together."""
        return Scored(
            *(np.concatenate([getattr(part, field.name) for part in (self, other)]) for field in fields(self))
        )


def precision_with_interval(present: NDArray[np.bool_], scores: NDArray) -> tuple[float, float, float] | None:
    """Average precision of one artifact between the bounds of its 95% bootstrap interval; `None` if it is nowhere."""
    if present.sum() < 2:
        return None

    def compute(truth: NDArray, values: NDArray) -> dict[str, float]:
        return {"precision": float(average_precision_score(truth, values)) if truth.any() else 0.0}

    pairs = np.stack([present, scores], axis=1)
    interval = bootstrap([pairs], lambda rows: compute(rows[:, 0] > 0.5, rows[:, 1]), resamples=200)["precision"]
    return interval[0], compute(present, scores)["precision"], interval[1]


def fit_large_thresholds(first: Scored, second: Scored) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """The logit from which on each artifact is named: infinite for those that are not.

    One is named if it passes two tests. Its average precision on planted pictures is well above chance. And it is
    named `LEAST_LIFT` times as often in generated pictures as in photographs, and as in other pictures made by
    people. The threshold comes from one half of the sources, the measure from the other, in turn. All get the same
    rate, the largest of `RATES` at which no more than `PHOTOGRAPHS_NAMED` of the photographs get any name.

    Returns:
        Thresholds of shape `(num_artifacts,)`, fitted to both halves, and what was measured with those of the other
        half: see [`named_shares`]. Of each artifact also `lifts`, and `precisions` by [`precision_with_interval`].
    """
    together = first + second
    intervals = [precision_with_interval(*pair) for pair in zip(together.present.T, together.planted.T, strict=True)]
    chance = LEAST_PRECISION * together.present.mean(0)
    learned = np.asarray([one is not None and one[0] > least for one, least in zip(intervals, chance, strict=True)])
    for rate in RATES:
        lifts = np.mean([_lifts(fitted, held_out, rate) for fitted, held_out in ((first, second), (second, first))], 0)
        on = learned & (lifts >= LEAST_LIFT)
        halves = [
            named_shares(held_out, np.where(on, fitted.cuts(rate), np.inf))
            for fitted, held_out in ((first, second), (second, first))
        ]
        measured = {name: float(np.mean([half[name] for half in halves])) for name in halves[0]}
        if measured["photographs"] <= PHOTOGRAPHS_NAMED:
            break
    else:
        on = np.zeros_like(on)
    return np.where(on, together.cuts(rate), np.inf), measured | {
        "rate": rate,
        "lifts": lifts.tolist(),
        "precisions": intervals,
    }


def _lifts(fitted: Scored, held_out: Scored, rate: float) -> NDArray:
    cuts = fitted.cuts(rate)
    by_people = [(kind > cuts).mean(0) for kind in (held_out.photographs, held_out.others) if len(kind)]
    return (held_out.generated > cuts).mean(0) / np.max([*by_people, np.full(len(cuts), rate)], axis=0)


def named_shares(scored: Scored, thresholds: NDArray) -> dict[str, float]:
    """Shares of photographs, of others and of generated pictures in which any artifact is named.

    Of the names in planted pictures, the share that is there. Of what was planted, the share that is named.
    """
    shares = {
        kind: float((getattr(scored, kind) > thresholds).any(1).mean()) if len(getattr(scored, kind)) else 0.0
        for kind in ("photographs", "others", "generated")
    }
    chosen = scored.planted > thresholds
    hits = (chosen & scored.present).sum()
    shares["right_in_planted"] = float(hits / max(1, chosen.sum()))
    shares["found_in_planted"] = float(hits / max(1, scored.present[:, np.isfinite(thresholds)].sum()))
    return shares
