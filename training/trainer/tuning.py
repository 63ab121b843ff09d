"""A head that learned from many sources learns from a user's pictures too.

From these alone it would forget the others within an epoch. So it sees both.
"""

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tellsign.modeling.modeling_large_picture import LargePictureHead
from tellsign.training.data.feature_table import FeatureTable

from .head import DROPOUT, SMOOTHING, fit_layers, source_weights


TUNING_EPOCHS = 8
HISTORIES = (1, 2)
"""Random ones after which a user's picture is seen too, see [`whole_as_seen`]."""
SHARES = {0: 0.0, 1: 0.25, 2: 0.1}
"""What a user's pictures weigh, of all, by the number of their classes. More of both finds no more, and forgets."""


def tune_head(
    head: LargePictureHead,
    table: FeatureTable,
    table_rows: NDArray,
    copies: torch.Tensor,
    labels: NDArray,
    seed: int = 0,
) -> LargePictureHead:
    """A head that started from another one and learned from a user's pictures, beside those that it knew.

    Rows of the table keep it from forgetting. It reads features in the same deviations as before. Copies of the
    pictures, each seen in several ways, have the shape `(num_copies, n, 2, num_moments)`. One class of them is enough.
    """
    known = table.label[table_rows]
    of_table = source_weights(known, table.generator[table_rows])
    share = SHARES[len(np.unique(labels))]
    of_class = np.bincount(labels, minlength=2)[labels] * len(np.unique(labels))
    own = np.tile(share / of_class / len(copies), len(copies))
    weights = np.concatenate([(1 - share) * of_table / of_table.sum(), own])
    targets = np.concatenate([known, np.tile(labels, len(copies))]) * (1 - 2 * SMOOTHING) + SMOOTHING
    features = torch.cat([table.features[table_rows], copies.flatten(0, 1)]).flatten(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tuned = copy.deepcopy(head).requires_grad_()

        def logits_of(seen: torch.Tensor) -> torch.Tensor:
            return tuned.classifier(nn.functional.dropout(nn.functional.relu(tuned.hidden(seen)), DROPOUT[1]))

        fit_layers(
            logits_of,
            [tuned.hidden, tuned.classifier],
            features,
            torch.from_numpy(targets).float(),
            torch.from_numpy(weights * len(weights)).float(),
            epochs=TUNING_EPOCHS,
        )
    return tuned.eval()


def score(head: LargePictureHead, features: torch.Tensor) -> NDArray[np.float64]:
    """Logits of fake, `(n,)`, of normalized features `(n, 2, num_moments)`."""
    with torch.inference_mode():
        return head.score(features).double().numpy()
