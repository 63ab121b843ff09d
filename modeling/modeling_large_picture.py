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
"""PyTorch LargePicture model: a frozen pretrained backbone and a head on its feature maps."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import timm
import torch
from torch import nn
from transformers import AutoModel, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import ImageClassifierOutputWithNoAttention
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, auto_docstring
from transformers.utils.generic import can_return_tuple

from tellsign.configuration.configuration_large_picture import LargePictureConfig


EPSILON = 1e-6
PATH_STEPS = 32


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


class LargePictureHead(nn.Module):
    """Means and standard deviations of feature maps to the logit of fake, by one hidden layer.

    Its buffers are averages over the training pictures. Evidence is measured against those of the moments. Those of
    the features, which are made of the moments, normalize them.

    Args:
        config ([`LargePictureConfig`]): Its `hidden_size` and `dropout`.
        num_features (`int`): Number of moments, see [`moments_of`]: two for each channel.
    """

    def __init__(self, config: LargePictureConfig, num_features: int):
        super().__init__()
        self.baseline = nn.Buffer(torch.zeros(num_features))
        self.feature_mean = nn.Buffer(torch.zeros(num_features))
        self.feature_std = nn.Buffer(torch.ones(num_features))
        self.dropout = nn.Dropout(config.dropout)
        self.hidden = nn.Linear(num_features, config.hidden_size)
        self.classifier = nn.Linear(config.hidden_size, 1)

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


@auto_docstring(custom_intro="Output of [`LargePictureForImageClassification`].")
@dataclass
class LargePictureImageClassifierOutput(ImageClassifierOutputWithNoAttention):
    r"""
    loss (`torch.FloatTensor` of shape `()`, *optional*, returned if there are labels):
        Cross entropy.
    logits (`torch.FloatTensor` of shape `(batch_size, 2)`):
        Of real, always zero, and of fake, divided by `config.temperature`.
    evidence (`torch.FloatTensor` of shape `(batch_size, grid_size, grid_size)`, *optional*, returned in evaluation):
        What each place of the picture adds to its logit of fake. The sum is that logit, less that of the average
        training picture.
    """

    evidence: torch.Tensor | None = None


@auto_docstring
class LargePicturePreTrainedModel(PreTrainedModel):
    config: LargePictureConfig
    config_class = LargePictureConfig
    base_model_prefix = "large_picture"
    main_input_name = "pixel_values"
    input_modalities = "image"
    _no_split_modules = ["LargePictureHead"]

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if hasattr(module, "init_non_persistent_buffers"):  # of timm, which no checkpoint holds
            module.init_non_persistent_buffers()  # type: ignore[operator]


@auto_docstring(
    custom_intro="""
    Large pictures as real (0) or fake (1), by a head on the feature maps of a backbone of timm or transformers.

    The backbone stays frozen, its batch statistics too.
    """
)
class LargePictureForImageClassification(LargePicturePreTrainedModel):
    def __init__(self, config: LargePictureConfig):
        config.validate()  # fields may have changed since creation
        super().__init__(config)
        # timm's EfficientNets otherwise number the stages that halve the map alone.
        self.every_stage: dict[str, bool] = {}
        self.backbone: Any
        # CODEPATH: the packaged network is timm's; users may bring a vision model of transformers.
        if config.backbone_config is None:
            self.backbone = timm.create_model(config.backbone, num_classes=0)
            if hasattr(self.backbone, "set_input_size"):  # of vision transformers
                self.backbone.set_input_size(config.image_size)
            if "extra_blocks" in inspect.signature(self.backbone.forward_intermediates).parameters:
                self.every_stage = {"extra_blocks": True}
            self.backbone.prune_intermediate_layers(config.out_indices, **self.every_stage)
        else:
            self.backbone = AutoModel.from_config(config.backbone_config)
        self.backbone.eval()
        with torch.no_grad():
            maps = self.feature_maps(torch.zeros(1, 3, config.image_size, config.image_size))
        self.head = LargePictureHead(config, 2 * sum(hidden_states.shape[1] for hidden_states in maps))
        self.post_init()
        self.train()

    def train(self, mode: bool = True) -> "LargePictureForImageClassification":
        """As in the base class, but the backbone stays frozen, its batch statistics too."""
        super().train(mode)
        self.backbone.eval().requires_grad_(False)  # anew, since loading takes it back
        return self

    def feature_maps(self, pixel_values: torch.Tensor) -> list[torch.Tensor]:
        """The backbone's maps at `config.out_indices`, each `(batch_size, channels, height, width)`, in float32.

        Args:
            pixel_values (`torch.FloatTensor` of shape `(batch_size, 3, image_size, image_size)`): Normalized pictures.
        """
        pixel_values = pixel_values.to(self.dtype)
        # CODEPATH: the packaged network is timm's; users may bring a vision model of transformers.
        if self.config.backbone_config is None:
            maps = self.backbone.forward_intermediates(
                pixel_values, indices=self.config.out_indices, intermediates_only=True, **self.every_stage
            )
        else:
            states = self.backbone(pixel_values, output_hidden_states=True).hidden_states
            maps = [self._as_map(states[index], pixel_values) for index in self.config.out_indices]
        return [hidden_states.float() for hidden_states in maps]

    def _as_map(self, hidden_states: torch.Tensor, pixel_values: torch.Tensor) -> torch.Tensor:
        """Hidden states as a map: tokens `(batch_size, num_tokens, channels)` are of patches, after all others."""
        if hidden_states.ndim == 4:
            return hidden_states
        patch_size = self.backbone.config.patch_size
        height, width = (side // patch_size for side in pixel_values.shape[-2:])
        return hidden_states[:, -height * width :].transpose(1, 2).unflatten(2, (height, width))

    @can_return_tuple
    @auto_docstring
    def forward(
        self, pixel_values: torch.Tensor, labels: torch.LongTensor | None = None, **kwargs: Unpack[TransformersKwargs]
    ) -> LargePictureImageClassifierOutput:
        r"""
        pixel_values (`torch.FloatTensor` of shape `(batch_size, 3, image_size, image_size)`):
            Normalized pictures from [`LargePictureImageProcessor`].
        labels (`torch.LongTensor` of shape `(batch_size,)`, *optional*):
            0 for real, 1 for fake. The loss is the cross entropy.

        Returns:
            [`LargePictureImageClassifierOutput`]

        Raises:
            ValueError: If the pictures have another shape.

        Example:

        ```python
        >>> import torch
        >>> from tellsign import LargePictureConfig, LargePictureForImageClassification

        >>> model = LargePictureForImageClassification(LargePictureConfig()).eval()
        >>> model(torch.zeros(1, 3, 256, 256)).logits.softmax(-1).shape
        torch.Size([1, 2])
        ```
        """
        size = self.config.image_size
        if tuple(pixel_values.shape[1:]) != (3, size, size):
            raise ValueError(
                f"large pictures: expected the shape (batch_size, 3, {size}, {size}), got {tuple(pixel_values.shape)}"
            )
        maps = self.feature_maps(pixel_values)
        moments = moments_of(maps)
        logits = nn.functional.pad(self.head(moments)[:, None], (1, 0)) / self.config.temperature
        evidence = None
        if not self.training:
            evidence = self.head.evidence(maps, moments, self.config.grid_size) / self.config.temperature
            evidence = evidence.to(self.dtype)
        logits = logits.to(self.dtype)
        loss = None if labels is None else self.loss_function(labels, logits, self.config, **kwargs)
        return LargePictureImageClassifierOutput(loss=loss, logits=logits, evidence=evidence)


__all__ = ["LargePictureForImageClassification", "LargePicturePreTrainedModel"]
