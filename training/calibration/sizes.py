"""Temperature of logits of large pictures, and how they count in small copies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, xlogy

from tellsign.modeling.modeling_large_picture import FULL_SIDE

from .promises import Promise, fit_promised_thresholds, keeps_promise


STEP = 0.02
"""By which the shift grows until small copies keep the promises."""
Pictures = tuple[NDArray, NDArray]
"""Logits of fake, and octaves."""


def octaves_of(shorter_sides: Sequence[int] | NDArray) -> NDArray[np.float64]:
    """As [`octaves_below`], of shorter sides in pixels."""
    return np.maximum(0, np.log2(FULL_SIDE / np.asarray(shorter_sides, float)))


@dataclass(frozen=True)
class SizeCalibration:
    """The fields `temperature`, `octave_scale` and `octave_shift` of a [`LargePictureConfig`]."""

    temperature: float
    octave_scale: float
    octave_shift: float

    def adjusted(self, logits: NDArray, octaves: NDArray) -> NDArray[np.float64]:
        """Logits as they count at their sizes, before the temperature."""
        return logits * self.octave_scale**octaves - self.octave_shift * octaves

    def probabilities(self, logits: NDArray, octaves: NDArray) -> NDArray[np.float64]:
        """Of fake, calibrated."""
        return expit(self.adjusted(logits, octaves) / self.temperature)


def fit_sizes(labels: NDArray, pictures: Sequence[Pictures]) -> SizeCalibration:
    """The likeliest calibration (Platt, 1999, with terms for the size).

    Args:
        labels (`np.ndarray` of shape `(n,)`): 0 for real, 1 for fake.
        pictures (`Sequence`): Logits and octaves of these pictures, each `(n,)`, at several sizes.
    """
    logits, octaves = (np.concatenate(values) for values in zip(*pictures, strict=True))
    wanted = np.tile(labels, len(pictures))

    def loss(values: NDArray) -> float:
        found = SizeCalibration(*np.exp(values[:2]), values[2]).probabilities(logits, octaves).clip(1e-12, 1 - 1e-12)
        return -float((xlogy(wanted, found) + xlogy(1 - wanted, 1 - found)).mean())

    temperature, scale, shift = minimize(loss, np.zeros(3), method="Nelder-Mead").x
    return SizeCalibration(float(np.exp(temperature)), float(np.exp(scale)), float(shift))


def fit_verdicts(
    columns: Mapping[str, NDArray], files: Pictures, copies: Sequence[Pictures], promises: Mapping[str, Promise]
) -> tuple[SizeCalibration, dict[str, tuple[float, float]]]:
    """Calibration, and the thresholds of each promise on files. Small copies of these accuse no more than promised.

    Args:
        columns (`Mapping`): `label` and `kind` of each file.
        files, copies: Of the files as they are, and of their small copies at several sizes.
        promises (`Mapping[str, Promise]`): By operating point.
    """
    labels, kinds = columns["label"], columns["kind"]
    calibration = fit_sizes(labels, [files, *copies])
    for step in np.arange(0, 3, STEP):
        careful = replace(calibration, octave_shift=calibration.octave_shift + float(step))
        probabilities = careful.probabilities(*files)
        thresholds = {
            name: fit_promised_thresholds(labels, probabilities, kinds, promise) for name, promise in promises.items()
        }
        kept = [
            keeps_promise(labels, careful.probabilities(*copy), kinds, thresholds[name][1], promise)
            for name, promise in promises.items()
            for copy in copies
        ]
        if all(kept):
            break
    return careful, thresholds
