"""Temperature and thresholds of logits of large pictures, and how these count in small copies."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from transformers.utils import logging

from tellsign.modeling.modeling_large_picture import FULL_SIDE, calibration_of_size
from tellsign.training.evaluation.left_out import verdicts_at

from .detector import fit_temperature
from .promises import Promise, fit_promised_thresholds, keeps_promise


logger = logging.get_logger(__name__)
SCALES = np.linspace(1, 0.6, 9)
SHIFTS = np.linspace(0, 0.5, 11)
"""What is tried for `octave_scale` and `octave_shift`."""
Pictures = tuple[NDArray, NDArray]
"""Logits of fake, and octaves."""
Verdicts = tuple["SizeCalibration", dict[str, tuple[float, float]]]
"""Calibration, and thresholds by the operating point."""


def octaves_of(shorter_sides: NDArray) -> NDArray[np.float64]:
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
        scale, shift = calibration_of_size(self, octaves)
        return logits * scale - shift

    def probabilities(self, logits: NDArray, octaves: NDArray) -> NDArray[np.float64]:
        """Of fake, calibrated on files."""
        return expit(self.adjusted(logits, octaves) / self.temperature)


def fit_verdicts(
    columns: Mapping[str, NDArray], files: Pictures, copies: Sequence[Pictures], promises: Mapping[str, Promise]
) -> Verdicts:
    """Calibration, and thresholds by which files and their small copies keep each promise.

    Of all scales and shifts by which they do, those are taken by which most of the pictures are answered. If there
    are none, a warning says so.

    Args:
        columns (`Mapping`): `label` and `kind` of each file.
        files, copies (`Pictures`): Of the files, and of their small copies at several sizes.
        promises (`Mapping[str, Promise]`): By operating point.
    """
    labels, kinds = columns["label"], columns["kind"]

    def fitted(scale: float, shift: float) -> Verdicts:
        adjusted = SizeCalibration(1, scale, shift).adjusted(*files)
        temperature = fit_temperature(np.stack([np.zeros(len(labels)), adjusted], axis=1), labels)
        calibration = SizeCalibration(temperature, scale, shift)
        of_files = calibration.probabilities(*files)
        return calibration, {
            name: fit_promised_thresholds(labels, of_files, kinds, promise) for name, promise in promises.items()
        }

    best, most = None, -1.0
    for scale, shift in itertools.product(SCALES.tolist(), SHIFTS.tolist()):
        calibration, thresholds = tried = fitted(scale, shift)
        of_files, *of_copies = (calibration.probabilities(*pictures) for pictures in (files, *copies))
        tests = itertools.product(of_copies, promises.items())
        if all(keeps_promise(labels, seen, kinds, thresholds[name], promise) for seen, (name, promise) in tests):
            pairs = itertools.product((of_files, *of_copies), thresholds.values())
            answered = np.mean([np.mean(verdicts_at(*pair) != "uncertain") for pair in pairs])
            if answered > most:
                best, most = tried, answered
    if best is None:
        logger.warning("small copies keep no promise: their probabilities are brought near one half")
        best = fitted(SCALES.tolist()[-1], 0.0)
    return best
