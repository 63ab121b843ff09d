"""Training of the head for large pictures on features that were computed before."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tellsign import LargePictureConfig
from tellsign.modeling.modeling_large_picture import LargePictureHead


EPOCHS = 15
BATCH_SIZE = 256
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.3
SMOOTHING = 0.02
"""How far targets are from 0 and 1."""
DROPOUT = (0.4, 0.5)
"""Of the features and of the hidden units."""
MEMBERS = 3
"""Networks that are trained side by side, and averaged: their hidden units are those of one layer."""


def source_weights(labels: NDArray, generators: NDArray) -> NDArray[np.float32]:
    """Weights of pictures, of mean 1: both classes count alike, and a source by the square root of its size."""
    _, source, counts = np.unique(np.char.add(labels.astype(str), generators), return_inverse=True, return_counts=True)
    weights = 1 / np.sqrt(counts[source])
    for label in np.unique(labels):
        weights[labels == label] /= weights[labels == label].sum()
    return (weights * len(labels) / len(np.unique(labels))).astype(np.float32)


def balanced(weights: NDArray, labels: NDArray, views: NDArray) -> NDArray[np.float32]:
    """Weights so that among the pictures that lack the same view both classes count alike: that must not tell them."""
    weights = weights.copy()
    for pattern in np.unique(views):
        total = weights[views == pattern].sum()
        of_class = [(views == pattern) & (labels == label) for label in np.unique(labels[views == pattern])]
        for rows in of_class:
            weights[rows] *= total / len(of_class) / weights[rows].sum()
    return weights


def fit_head(
    config: LargePictureConfig,
    copies: torch.Tensor,
    labels: NDArray,
    generators: NDArray,
    kinds: NDArray,
    seed: int = 0,
) -> LargePictureHead:
    """A head for real and fake, by AdamW in one cycle of rates (Smith & Topin, 2019, arXiv 1708.07120).

    Args:
        config ([`LargePictureConfig`]): Its fields of the head; `MEMBERS` divides its `hidden_size`.
        copies (`torch.FloatTensor` of shape `(num_copies, n, 2, num_moments)`):
            Moments of the pictures, each seen in several ways; an epoch takes every copy once. A missing view is NaN,
            and then counts as the average one.
        labels (`np.ndarray` of shape `(n,)`): 0 for real, 1 for fake.
        generators (`np.ndarray` of shape `(n,)`): The source of each, see [`source_weights`].
        kinds (`np.ndarray` of shape `(n,)`): "photo" for photographs.
        seed (`int`, *optional*, defaults to 0): Of the weights, the order and the dropout.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = LargePictureHead(config, copies.shape[-1])
        moments = copies.flatten(0, 1)
        head.fit_normalization(moments)
        features = head.normalized(moments).nan_to_num(0).flatten(1)
        views = (~copies[0, :, :, 0].isnan()).numpy() @ [1, 2]
        of_picture = balanced(source_weights(labels, generators), labels, views)
        weights = torch.from_numpy(np.tile(of_picture, len(copies)))
        targets = torch.from_numpy(np.tile(labels, len(copies))).float() * (1 - 2 * SMOOTHING) + SMOOTHING

        size = config.hidden_size // MEMBERS
        tops = [nn.Linear(size, 1) for _ in range(MEMBERS)]

        def members(seen: torch.Tensor) -> torch.Tensor:
            parts = nn.functional.dropout(nn.functional.relu(head.hidden(seen)), DROPOUT[1]).split(size, dim=1)
            return torch.cat([top(part) for top, part in zip(tops, parts, strict=True)], dim=1)

        fit_layers(members, [head.hidden, *tops], features, targets, weights)
        with torch.no_grad():
            head.classifier.weight.copy_(torch.cat([top.weight for top in tops], dim=1) / MEMBERS)
            head.classifier.bias.copy_(torch.stack([top.bias for top in tops]).mean(0))
        _fit_drawn(head, copies[:, labels == 0], generators[labels == 0], kinds[labels == 0])
    return head.eval()


def _fit_drawn(head: LargePictureHead, copies: torch.Tensor, generators: NDArray, kinds: NDArray) -> None:
    """The layer that tells other pictures by people from photographs, by the wholes of both."""
    there = (~copies[0, :, 0, 0].isnan()).numpy()
    others = (kinds[there] != "photo").astype(int)
    if len(set(others)) < 2:  # nothing counts as drawn
        nn.init.zeros_(head.drawn.weight)
        nn.init.constant_(head.drawn.bias, -20)
        return
    features = head.normalized(copies[:, there].flatten(0, 1))[:, 0]
    weights = torch.from_numpy(np.tile(source_weights(others, generators[there]), len(copies)))
    fit_layers(head.drawn, [head.drawn], features, torch.from_numpy(np.tile(others, len(copies))).float(), weights)


def fit_layers(
    network: Callable[[torch.Tensor], torch.Tensor],
    layers: list[nn.Module],
    features: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor,
    epochs: int = EPOCHS,
) -> None:
    """Trains layers of a network whose every output is a logit of the same targets."""
    count = min(BATCH_SIZE, len(features))
    parameters = nn.ModuleList(layers).parameters()
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    steps = epochs * (len(features) // count)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(features))[: len(features) // count * count].split(count):
            logits = network(nn.functional.dropout(features[rows], DROPOUT[0]))
            wanted = targets[rows, None].expand_as(logits)
            losses = nn.functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
            optimizer.zero_grad()
            (weights[rows, None] * losses).mean(0).sum().backward()
            optimizer.step()
            schedule.step()
