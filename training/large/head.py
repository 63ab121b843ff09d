"""Training of the head for large pictures on features that were computed before."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tellsign import WaveFreqConfig
from tellsign.modeling.large_branch import WaveFreqLargeHead


EPOCHS = 12
BATCH_SIZE = 256
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.3


def source_weights(labels: NDArray, generators: NDArray) -> NDArray[np.float32]:
    """Weights of pictures, of mean 1: both classes count alike, and a source by the square root of its size.

    Args:
        labels (`np.ndarray` of shape `(n,)`): 0 for real, 1 for fake.
        generators (`np.ndarray` of shape `(n,)`): The source of each.
    """
    _, source, counts = np.unique(np.char.add(labels.astype(str), generators), return_inverse=True, return_counts=True)
    weights = 1 / np.sqrt(counts[source])
    for label in np.unique(labels):
        weights[labels == label] /= weights[labels == label].sum()
    return (weights * len(labels) / len(np.unique(labels))).astype(np.float32)


def fit_head(
    config: WaveFreqConfig, copies: torch.Tensor, labels: NDArray, generators: NDArray, seed: int = 0
) -> WaveFreqLargeHead:
    """A head for real and fake, by AdamW in one cycle of rates (Smith & Topin, 2019, arXiv 1708.07120).

    Args:
        config ([`WaveFreqConfig`]): Its fields of the branch for large pictures.
        copies (`torch.FloatTensor` of shape `(num_copies, n, num_features)`):
            Moments of the pictures, each seen in several ways; an epoch takes every copy once.
        labels (`np.ndarray` of shape `(n,)`): 0 for real, 1 for fake.
        generators (`np.ndarray` of shape `(n,)`): The source of each, see [`source_weights`].
        seed (`int`, *optional*, defaults to 0): Of the weights, the order and the dropout.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = WaveFreqLargeHead(config)
        moments = copies.flatten(0, 1)
        head.fit_normalization(moments)
        targets = torch.from_numpy(np.tile(labels, len(copies))).float()
        weights = torch.from_numpy(np.tile(source_weights(labels, generators), len(copies)))

        size = min(BATCH_SIZE, len(moments))
        optimizer = torch.optim.AdamW(head.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, LEARNING_RATE, total_steps=EPOCHS * (len(moments) // size)
        )
        for _ in range(EPOCHS):
            for rows in torch.randperm(len(moments)).split(size):
                if len(rows) < size:
                    continue
                losses = nn.functional.binary_cross_entropy_with_logits(
                    head(moments[rows]), targets[rows], reduction="none"
                )
                optimizer.zero_grad()
                (weights[rows] * losses).mean().backward()
                optimizer.step()
                schedule.step()
    return head.eval()
