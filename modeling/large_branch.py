# Copyright 2026 The tellsign authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""The part of WaveFreq that judges large pictures: a frozen pretrained backbone and a head on its feature maps."""

from collections.abc import Sequence
from typing import Any

import timm
import torch
from torch import nn

from tellsign.configuration.configuration_wavefreq import WaveFreqConfig


EPSILON = 1e-6
PATH_STEPS = 32
CELL = 16
"""Side in pixels of the cells of the grid on which evidence is placed."""


def moments_of(maps: Sequence[torch.Tensor]) -> torch.Tensor:
    """Mean and mean square over space of every channel.

    Args:
        maps (`Sequence[torch.Tensor]`): Feature maps, each `(batch_size, channels, height, width)`.

    Returns:
        `torch.Tensor` of shape `(batch_size, 2 * channels of all)`: all means, then all mean squares.
    """
    means = [hidden_states.mean((2, 3)) for hidden_states in maps]
    squares = [hidden_states.square().mean((2, 3)) for hidden_states in maps]
    return torch.cat([*means, *squares], dim=1)


class WaveFreqLargeHead(nn.Module):
    """Means and standard deviations of feature maps to the logit of fake, by one hidden layer.

    Its buffers are averages over the training pictures. Evidence is measured against those of the moments. Those of
    the features, which are made of the moments, normalize them.
    """

    baseline: torch.Tensor
    feature_mean: torch.Tensor
    feature_std: torch.Tensor

    def __init__(self, config: WaveFreqConfig):
        super().__init__()
        num_features = 2 * sum(config.large_hidden_sizes)
        self.register_buffer("baseline", torch.zeros(num_features))
        self.register_buffer("feature_mean", torch.zeros(num_features))
        self.register_buffer("feature_std", torch.ones(num_features))
        self.dropout = nn.Dropout(config.large_dropout)
        self.hidden = nn.Linear(num_features, config.large_hidden_size)
        self.classifier = nn.Linear(config.large_hidden_size, 1)

    @staticmethod
    def features(moments: torch.Tensor) -> torch.Tensor:
        """Means, then standard deviations, of moments as [`moments_of`] gives them."""
        mean, square = moments.chunk(2, dim=-1)
        return torch.cat([mean, (square - mean.square()).clamp(min=0).add(EPSILON).sqrt()], dim=-1)

    @torch.no_grad()
    def fit_normalization(self, moments: torch.Tensor) -> None:
        """Sets the buffers to the averages over the rows of `moments`."""
        features = self.features(moments)
        self.baseline.copy_(moments.mean(0))
        self.feature_mean.copy_(features.mean(0))
        self.feature_std.copy_(features.std(0) + EPSILON)

    def forward(self, moments: torch.Tensor) -> torch.Tensor:
        """Logits of fake, `(batch_size,)`, of moments `(batch_size, num_features)`."""
        features = (self.features(moments) - self.feature_mean) / self.feature_std
        hidden_states = nn.functional.relu(_linear(self.hidden, self.dropout(features)))
        return _linear(self.classifier, self.dropout(hidden_states))[:, 0]

    def gradient(self, moments: torch.Tensor) -> torch.Tensor:
        """Gradient of the logit with respect to the moments, of their shape, without dropout."""
        features = self.features(moments)
        active = _linear(self.hidden, (features - self.feature_mean) / self.feature_std) > 0
        classifier, hidden = (layer.weight.to(features.dtype) for layer in (self.classifier, self.hidden))
        by_mean, by_std = (active * classifier[0] @ hidden / self.feature_std).chunk(2, dim=-1)
        mean, std = features.chunk(2, dim=-1)
        return torch.cat([by_mean - by_std * mean / std, by_std / (2 * std)], dim=-1)

    def evidence(self, maps: Sequence[torch.Tensor], moments: torch.Tensor, size: int) -> torch.Tensor:
        """What each place adds to the logit of fake, against the average training picture.

        These are integrated gradients (Sundararajan et al., 2017, arXiv 1703.01365, equation 1), from the average
        moments to the picture's. Moments are sums over places, so the logit's difference splits among places.

        Args:
            maps (`Sequence[torch.Tensor]`): The picture's feature maps, as for [`moments_of`].
            moments (`torch.Tensor` of shape `(batch_size, num_features)`): Their moments.
            size (`int`): Side of the grid of places.

        Returns:
            `torch.Tensor` of shape `(batch_size, size, size)`. Its sum is the logit less that of the baseline, where
            no dropout is at work.
        """
        steps = (torch.arange(PATH_STEPS, device=moments.device, dtype=moments.dtype) + 0.5) / PATH_STEPS
        path = self.baseline + steps[:, None, None] * (moments - self.baseline)
        by_mean, by_square = self.gradient(path).mean(0).chunk(2, dim=-1)
        base_mean, base_square = self.baseline.chunk(2)
        channels = [hidden_states.shape[1] for hidden_states in maps]
        parts = [values.split(channels, dim=-1) for values in (by_mean, by_square, base_mean, base_square)]
        grids = []
        for hidden_states, slope, curve, mean, square in zip(maps, *parts, strict=True):
            places = torch.einsum("bchw,bc->bhw", hidden_states - mean[:, None, None], slope)
            places = places + torch.einsum("bchw,bc->bhw", hidden_states.square() - square[:, None, None], curve)
            grids.append(on_grid(places, size))
        total = torch.stack(grids).sum(0)
        # What the steps along the path leave out is spread evenly.
        rest = self(moments) - self(self.baseline[None].to(moments.dtype)) - total.sum((1, 2))
        return total + rest[:, None, None] / size**2


def _linear(layer: nn.Linear, features: torch.Tensor) -> torch.Tensor:
    """A layer in the precision of its input: half precision holds neither squares nor slopes of small deviations."""
    return nn.functional.linear(features, layer.weight.to(features.dtype), layer.bias.to(features.dtype))


def on_grid(places: torch.Tensor, size: int) -> torch.Tensor:
    """Means over the cells of a grid, `(batch_size, size, size)`, divided by their number: the sum is the mean."""
    side = int(places.shape[-1])
    if side % size:
        resized = nn.functional.interpolate(places[:, None], (size, size), mode="nearest")
    else:  # exporters know no interpolation by area
        resized = nn.functional.avg_pool2d(places[:, None], side // size)
    return resized[:, 0] / size**2


class WaveFreqLargeBranch(nn.Module):
    """Stages of a pretrained convolutional network of timm (EfficientNet and its kin), frozen, and a head on them."""

    def __init__(self, config: WaveFreqConfig):
        super().__init__()
        backbone: Any = timm.create_model(config.large_backbone)  # type: ignore[arg-type]
        self.kept_stages = config.large_stages
        self.stem = nn.Sequential(backbone.conv_stem, backbone.bn1)
        self.stages: nn.Sequential = backbone.blocks[: max(config.large_stages) + 1]
        self.head = WaveFreqLargeHead(config)
        self.train()

    def train(self, mode: bool = True) -> "WaveFreqLargeBranch":
        """As in the base class, but the backbone stays frozen, its batch statistics too."""
        super().train(mode)
        for part in (self.stem, self.stages):
            part.eval().requires_grad_(False)  # anew, since loading takes it back
        return self

    def feature_maps(self, pixel_values: torch.Tensor) -> list[torch.Tensor]:
        """The maps of the kept stages, the finest first, of normalized pictures `(batch_size, 3, height, width)`, in
        float32."""
        hidden_states, maps = self.stem(pixel_values), []
        for index, stage in enumerate(self.stages):
            hidden_states = stage(hidden_states)
            if index in self.kept_stages:
                maps.append(hidden_states.float())
        return maps
