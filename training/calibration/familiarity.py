"""How much an image is like those that a detector learned from."""

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler


STRENGTH = 0.01
"""Inverse of the penalty on the weights (scikit-learn's `C`). A hundred times more answers as many known images."""


def fit_familiarity(features: NDArray, known: NDArray[np.bool_]) -> tuple[NDArray, float]:
    """A linear layer whose sigmoid is the probability that an image is a known one, at the shares given.

    Args:
        features (`np.ndarray` of shape `(n, num_features)`): What the detector's last layer reads.
        known (`np.ndarray` of shape `(n,)`): Whether the image is like those that the detector learned from.

    Returns:
        The weights, of shape `(num_features,)`, and the bias, of the features as they are.
    """
    scaler = StandardScaler().fit(features)
    line = LogisticRegression(C=STRENGTH, max_iter=1000)
    line.fit(scaler.transform(features), known)
    weights = line.coef_[0] / scaler.scale_
    return weights, float(line.intercept_[0] - weights @ scaler.mean_)
