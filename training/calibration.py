"""Calibration of the detector's probabilities on validation data."""

import numpy as np
from scipy.optimize import minimize_scalar


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature that minimizes the cross entropy (Guo et al., 2017, arXiv 1706.04599).

    Args:
        logits (`np.ndarray` of shape `(n, num_labels)`): Logits at temperature 1.
        labels (`np.ndarray` of shape `(n,)`): Class indices.

    Returns:
        `float` in [0.05, 20]; divide the logits by it.
    """

    def cross_entropy(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        normalizer = np.logaddexp.reduce(scaled, axis=1)
        return float(np.mean(normalizer - scaled[np.arange(len(labels)), labels]))

    return float(np.exp(minimize_scalar(cross_entropy, bounds=np.log([0.05, 20.0]), method="bounded").x))
