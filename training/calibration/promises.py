"""Thresholds of the verdicts on large pictures, from sources that training did not see, and what they promise."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from transformers.utils import logging


logger = logging.get_logger(__name__)


@dataclass(frozen=True)
class Promise:
    """Bounds that verdicts keep on sources that training did not see, as shares in (0, 1).

    Args:
        photographs_accused (`float`): Most photographs that are called fake, see [`conformal_share`].
        others_accused (`float`):
            Most other pictures made by people (artwork, screenshots, ...) that are called fake, see the same.
        real_wrong (`float`): Most errors among the pictures called real, where half are fake, as it was measured.
    """

    photographs_accused: float = 0.02
    others_accused: float = 0.03
    real_wrong: float = 0.10


def conformal_share(accused: NDArray) -> float:
    """The share that is expected of the next picture of the same sort (conformal prediction, Vovk et al., 2005)."""
    return float((accused.sum() + 1) / (len(accused) + 1))


PROMISES = {"cautious": Promise(), "balanced": Promise(0.05, 0.10, 0.20)}


def fit_promised_thresholds(
    labels: NDArray, probabilities: NDArray, kinds: NDArray, promise: Promise = Promise()
) -> tuple[float, float]:
    """The probabilities of fake between which a verdict is withheld, so that a promise holds.

    Args:
        labels (`np.ndarray` of shape `(n,)`): 0 for real, 1 for fake.
        probabilities (`np.ndarray` of shape `(n,)`): Of fake, each from a run that did not see the picture's source.
        kinds (`np.ndarray` of shape `(n,)`): "photo" for photographs.
        promise ([`Promise`], *optional*): What is to hold.

    Returns:
        `tuple[float, float]`, in [0, 1] and rising. Below the first a picture is called real, above the second fake.
        0 or 1, with a warning, where no threshold keeps the promise.
    """
    photographs = probabilities[(labels == 0) & (kinds == "photo")]
    others = probabilities[(labels == 0) & (kinds != "photo")]
    real, fake = probabilities[labels == 0], probabilities[labels == 1]

    def accuses_few(cut: float) -> bool:
        accused = conformal_share(photographs > cut) <= promise.photographs_accused
        # Where there are no others, nothing is promised of them.
        return accused and (not len(others) or conformal_share(others > cut) <= promise.others_accused)

    def clears_rightly(cut: float) -> bool:
        wrong, right = (fake < cut).mean(), (real < cut).mean()
        return right > 0 and wrong / (wrong + right) <= promise.real_wrong

    # Between two of the probabilities nothing changes.
    cuts = np.sort(probabilities)
    high = next((cut for cut in cuts if cut >= 0.5 and accuses_few(cut)), 1.0)
    low = next((cut for cut in cuts[::-1] if cut <= 0.5 and clears_rightly(cut)), 0.0)
    if high == 1:
        logger.warning("no threshold accuses as few as promised: no large picture will be called fake")
    if low == 0:
        logger.warning("no threshold clears as rightly as promised: no large picture will be called real")
    return float(low), float(high)
