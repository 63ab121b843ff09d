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
"""PyTorch WaveFreq model."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.modeling_outputs import (
    BaseModelOutputWithPoolingAndNoAttention,
    ImageClassifierOutputWithNoAttention,
)
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, auto_docstring
from transformers.utils.generic import can_return_tuple, maybe_autocast, merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from tellsign.configuration.configuration_wavefreq import WaveFreqConfig

from .large_branch import CELL, PATH_STEPS, WaveFreqLargeBranch, moments_of, on_grid
from .transforms import (
    amplitude_and_phase,
    fourier_transform,
    haar_transform,
    high_pass_filter,
    inverse_fourier_transform,
)
from .verdicts import is_large, real_and_fake, verdicts_of


class WaveFreqConvLayer(nn.Module):
    """Convolution, batch normalization and, unless switched off, the activation."""

    def __init__(
        self,
        config: WaveFreqConfig,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        bias: bool = False,
        activate: bool = True,
    ):
        super().__init__()
        self.convolution = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride=stride, padding=kernel_size // 2, bias=bias
        )
        self.normalization = nn.BatchNorm2d(out_channels)
        self.activation = ACT2FN[config.hidden_act] if activate else nn.Identity()

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.activation(self.normalization(self.convolution(hidden_states)))


class WaveFreqWaveletAttention(nn.Module):
    """Halves a map by a wavelet transform whose low band is weighted by its details, then projects the channels.

    `LL + LL * softmax(LH + HL)` over channels (WA-CNN, arXiv 2201.09271), then a 1x1 convolution.
    """

    def __init__(self, config: WaveFreqConfig, in_channels: int, out_channels: int):
        super().__init__()
        self.keep_high_high = config.keep_high_high
        self.transform = None
        # CODEPATH: both the packaged and the original network use "haar"; researchers' may use any other wavelet.
        if config.wavelet != "haar":
            try:
                from pytorch_wavelets import DWTForward
            except ImportError as error:
                raise ImportError(
                    f'wavelet="{config.wavelet}" needs pytorch-wavelets, which itself needs setuptools<82: '
                    "pip install pytorch-wavelets 'setuptools<82'"
                ) from error
            self.wavelet = config.wavelet
            self.transform = DWTForward(J=1, wave=config.wavelet, mode="periodization")
        self.projection = nn.Conv2d(in_channels, out_channels, kernel_size=1)
        # CODEPATH: the original network adds the bare projection; the packaged one, at a high rate, normalizes it.
        self.normalization = nn.BatchNorm2d(out_channels) if config.wavelet_normalization else nn.Identity()

    def bands(self, hidden_states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """LL and the sum of the details, each `(batch_size, num_channels, height / 2, width / 2)`."""
        if self.transform is None:
            return haar_transform(hidden_states, self.keep_high_high)
        length, (height, width) = self.transform.h0_col.numel(), hidden_states.shape[-2:]
        if length > min(height, width):
            raise ValueError(
                f'the filters of wavelet "{self.wavelet}" have {length} taps, more than the map of {height}x{width}: '
                "take a shorter wavelet or larger images"
            )
        # pytorch-wavelets mixes dtypes under autocast.
        with maybe_autocast(device_type=hidden_states.device.type, enabled=False):
            low, (high,) = self.transform(hidden_states.to(self.transform.h0_col.dtype))
        detail = high[:, :, : 3 if self.keep_high_high else 2].sum(2)
        return low.to(hidden_states.dtype), detail.to(hidden_states.dtype)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        low, detail = self.bands(hidden_states)
        attention = torch.softmax(detail, dim=1, dtype=torch.float32).to(low.dtype)
        return self.normalization(self.projection(low + low * attention))


class WaveFreqHighPass(nn.Module):
    """High-pass filter over space, in float32 whatever the dtype of the map (FreqNet's HFRI)."""

    def __init__(self, config: WaveFreqConfig):
        super().__init__()
        self.kind = config.high_pass

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        with maybe_autocast(device_type=hidden_states.device.type, enabled=False):
            return high_pass_filter(hidden_states.float(), self.kind).to(hidden_states.dtype)


class WaveFreqHighFrequencyLayer(nn.Module):
    """High-pass filter over space, then convolution, batch normalization, activation (FreqNet's HFRFS)."""

    def __init__(self, config: WaveFreqConfig, channels: int):
        super().__init__()
        self.high_pass = WaveFreqHighPass(config)
        self.layer = WaveFreqConvLayer(config, channels, channels)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.layer(self.high_pass(hidden_states))


class WaveFreqFrequencyConvolution(nn.Module):
    """Convolution of the spectrum between two convolutions of the map (FreqNet's FCL, arXiv 2403.07240, section 3.4).

    The two parts of the spectrum, real and imaginary or amplitude and phase, each pass through a convolution of their
    own.
    """

    def __init__(self, config: WaveFreqConfig, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.polar = config.frequency_convolution == "polar"
        kernel_size = 3 if self.polar else 1
        self.layer_in = WaveFreqConvLayer(config, in_channels, out_channels, stride=stride)
        self.first_part = WaveFreqConvLayer(config, out_channels, out_channels, kernel_size)
        self.second_part = WaveFreqConvLayer(config, out_channels, out_channels, kernel_size)
        self.layer_out = WaveFreqConvLayer(config, out_channels, out_channels)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        hidden_states = self.layer_in(hidden_states)
        dtype = hidden_states.dtype
        without_autocast = partial(maybe_autocast, device_type=hidden_states.device.type, enabled=False)
        with without_autocast():
            first, second = fourier_transform(hidden_states.float())
            if self.polar:
                first, second = amplitude_and_phase(first, second)
        first, second = self.first_part(first.to(dtype)), self.second_part(second.to(dtype))
        with without_autocast():
            first, second = first.float(), second.float()
            if self.polar:
                first, second = first * torch.cos(second), first * torch.sin(second)
            hidden_states = inverse_fourier_transform(first, second)
        return self.layer_out(hidden_states.to(dtype))


class WaveFreqFrequencyBranch(nn.Module):
    """FreqNet on the image: high-pass, two frequency convolutions, and the strides down to the stage that it joins."""

    def __init__(self, config: WaveFreqConfig, stage: int):
        super().__init__()
        self.high_pass = WaveFreqHighPass(config)
        first_size, second_size = config.frequency_hidden_sizes
        first_stride, second_stride = config.frequency_strides
        self.high_frequency_in = WaveFreqHighFrequencyLayer(config, config.num_channels)
        self.frequency_in = WaveFreqFrequencyConvolution(config, config.num_channels, first_size, first_stride)
        self.high_frequency_out = WaveFreqHighFrequencyLayer(config, first_size)
        self.frequency_out = WaveFreqFrequencyConvolution(config, first_size, second_size, second_stride)
        remaining_stride = config.stride_after(stage) // (first_stride * second_stride)
        halvings = int(math.log2(remaining_stride))
        self.downsampling = nn.ModuleList(
            WaveFreqConvLayer(config, second_size, second_size, stride=2) for _ in range(halvings - 1)
        )
        self.layer_out = WaveFreqConvLayer(
            config, second_size, config.hidden_sizes[stage], stride=2 if halvings else 1
        )

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        hidden_states = self.frequency_in(self.high_frequency_in(self.high_pass(pixel_values)))
        hidden_states = self.frequency_out(self.high_frequency_out(hidden_states))
        for layer in self.downsampling:
            hidden_states = layer(hidden_states)
        return self.layer_out(hidden_states)


class WaveFreqResidualLayer(nn.Module):
    """Basic or bottleneck layer of a ResNet (He et al., 2016, arXiv 1512.03385, figure 5)."""

    def __init__(self, config: WaveFreqConfig, in_channels: int, out_channels: int, stride: int = 1):
        super().__init__()
        layer = partial(WaveFreqConvLayer, config, bias=config.convolution_bias)
        self.stride = stride
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = layer(in_channels, out_channels, 1, activate=False)
        # CODEPATH: "bottleneck" is the original network, "basic" the packaged one.
        if config.layer_type == "bottleneck":
            reduced = out_channels // 4
            self.layers = nn.ModuleList(
                [
                    layer(in_channels, reduced, 1),
                    layer(reduced, reduced, 3, stride),
                    layer(reduced, out_channels, 1, activate=False),
                ]
            )
        else:
            self.layers = nn.ModuleList(
                [
                    layer(in_channels, out_channels, 3, stride),
                    layer(out_channels, out_channels, 3, activate=False),
                ]
            )
        self.activation = ACT2FN[config.hidden_act]

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        # Not by a convolution with a stride. With fewer than 16 channels, channels last, its backward pass on a CPU
        # writes where it must not (https://github.com/uxlfoundation/oneDNN/issues/6035).
        residual = self.shortcut(hidden_states[:, :, :: self.stride, :: self.stride])
        for layer in self.layers:
            hidden_states = layer(hidden_states)
        return self.activation(hidden_states + residual)


class WaveFreqStage(nn.Module):
    """Residual layers; where configured, wavelet attention of their input and the frequency branch join the output."""

    def __init__(self, config: WaveFreqConfig, stage: int, in_channels: int):
        super().__init__()
        out_channels = config.hidden_sizes[stage]
        self.layers = nn.ModuleList(
            WaveFreqResidualLayer(
                config,
                out_channels if index else in_channels,
                out_channels,
                stride=1 if index else config.stage_strides[stage],
            )
            for index in range(config.depths[stage])
        )
        self.wavelet_attention = None
        # CODEPATH: the original network has it beside its second stage, the packaged one beside its second and third.
        if stage in config.wavelet_stages:
            self.wavelet_attention = WaveFreqWaveletAttention(config, in_channels, out_channels)

    def forward(self, hidden_states: torch.Tensor, frequency_features: torch.Tensor | None = None) -> torch.Tensor:
        stage_input = hidden_states
        for layer in self.layers:
            hidden_states = layer(hidden_states)
        if self.wavelet_attention is not None:
            hidden_states = hidden_states + self.wavelet_attention(stage_input)
        if frequency_features is not None:
            hidden_states = hidden_states + frequency_features
        return hidden_states


class WaveFreqEmbeddings(nn.Module):
    """Stem: one convolution and, where configured, wavelet attention in place of a ResNet's max-pool."""

    def __init__(self, config: WaveFreqConfig):
        super().__init__()
        size = config.embedding_size
        self.layer = WaveFreqConvLayer(
            config,
            config.num_channels,
            size,
            config.stem_kernel_size,
            config.stem_stride,
            bias=config.convolution_bias,
        )
        self.wavelet_attention = None
        # CODEPATH: the original network halves its map here, the packaged one keeps the full resolution.
        if config.stem_wavelet_attention:
            self.wavelet_attention = WaveFreqWaveletAttention(config, size, size)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        hidden_states = self.layer(pixel_values)
        return hidden_states if self.wavelet_attention is None else self.wavelet_attention(hidden_states)


@auto_docstring
class WaveFreqPreTrainedModel(PreTrainedModel):
    config: WaveFreqConfig
    config_class = WaveFreqConfig
    base_model_prefix = "wavefreq"
    main_input_name = "pixel_values"
    input_modalities = "image"
    _can_record_outputs = {"hidden_states": WaveFreqStage}
    _no_split_modules = ["WaveFreqEmbeddings", "WaveFreqStage", "WaveFreqFrequencyBranch", "WaveFreqLargeBranch"]

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *model_args, revision: str = "main", **kwargs):
        loaded = super().from_pretrained(pretrained_model_name_or_path, *model_args, revision=revision, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        # transformers does not keep them, and a pipeline loads from there what lies beside the model.
        model.config._commit_hash = revision
        model.cache_dir = kwargs.get("cache_dir")
        if not kwargs.get("trust_remote_code"):
            # The code of a repository that has it is not what runs, and not saved with a copy, which must not name it.
            for name in ("auto_map", "custom_pipelines"):
                vars(model.config).pop(name, None)
        return loaded

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif module.__class__.__name__ == "DWTForward":
            # The filters are buffers, and a checkpoint of another wavelet does not have them.
            for name, buffer in type(module)(J=1, wave=self.config.wavelet, mode="periodization").named_buffers():
                init.copy_(module.get_buffer(name), buffer)


@auto_docstring(custom_intro="The backbone of WaveFreq: images to a feature map and its mean over space.")
class WaveFreqModel(WaveFreqPreTrainedModel):
    def __init__(self, config: WaveFreqConfig):
        super().__init__(config)
        self.embedder = WaveFreqEmbeddings(config)
        self.stages = nn.ModuleList(
            WaveFreqStage(config, stage, [config.embedding_size, *config.hidden_sizes][stage])
            for stage in range(len(config.depths))
        )
        self.frequency_branch = None
        # CODEPATH: ablations and researchers' checkpoints may leave the branch out (frequency_stage=None).
        if config.frequency_stage is not None:
            self.frequency_branch = WaveFreqFrequencyBranch(config, config.frequency_stage)
        self.pooler = nn.AdaptiveAvgPool2d(1)
        self.post_init()

    def feature_maps(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        r"""
        The feature map of each stage, as `hidden_states` holds them on request. That needs hooks, which leave a model
        that can be neither copied nor pickled.

        Args:
            pixel_values (`torch.FloatTensor` of shape `(batch_size, num_channels, height, width)`):
                Normalized images from [`WaveFreqImageProcessor`].

        Returns:
            For each stage `torch.FloatTensor` of shape `(batch_size, hidden_sizes[stage], height / stride, width /
            stride)`, the finest first.

        Raises:
            ValueError: If the images have another number of channels or a size that the strides do not divide.
        """
        if pixel_values.ndim != 4 or pixel_values.shape[1] != self.config.num_channels:
            raise ValueError(
                f"pixel_values holds images of shape {tuple(pixel_values.shape[1:])}, expected "
                f"({self.config.num_channels}, height, width)"
            )
        height, width = pixel_values.shape[-2:]
        if height % self.config.total_stride or width % self.config.total_stride or min(height, width) < 4:
            raise ValueError(
                f"image size {height}x{width}: height and width must be multiples of {self.config.total_stride}, "
                "and at least 4"
            )
        pixel_values = pixel_values.to(self.embedder.layer.convolution.weight.dtype)
        hidden_states = self.embedder(pixel_values)
        maps = []
        for index, stage in enumerate(self.stages):
            frequency_features = None
            # CODEPATH: the original network's branch joins its first stage, the packaged one's its second.
            if self.frequency_branch is not None and index == self.config.frequency_stage:
                frequency_features = self.frequency_branch(pixel_values)
            hidden_states = stage(hidden_states, frequency_features)
            maps.append(hidden_states)
        return tuple(maps)

    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    @auto_docstring
    def forward(
        self, pixel_values: torch.Tensor, **kwargs: Unpack[TransformersKwargs]
    ) -> BaseModelOutputWithPoolingAndNoAttention:
        r"""
        pixel_values (`torch.FloatTensor` of shape `(batch_size, num_channels, height, width)`):
            Normalized images from [`WaveFreqImageProcessor`]; `config.total_stride` divides height and width.

        Returns:
            [`BaseModelOutputWithPoolingAndNoAttention`]. Its `last_hidden_state` has the shape `(batch_size,
            hidden_sizes[-1], height / total_stride, width / total_stride)`, its `pooler_output` `(batch_size,
            hidden_sizes[-1])`. On request it has `hidden_states`: the stem's output, then each stage's.

        Raises:
            ValueError: If the images have another number of channels or a size that the strides do not divide.
        """
        hidden_states = self.feature_maps(pixel_values)[-1]
        return BaseModelOutputWithPoolingAndNoAttention(
            last_hidden_state=hidden_states, pooler_output=self.pooler(hidden_states).flatten(1)
        )


@auto_docstring(custom_intro="Output of [`WaveFreqForImageClassification`].")
@dataclass
class WaveFreqImageClassifierOutput(ImageClassifierOutputWithNoAttention):
    r"""
    loss (`torch.FloatTensor` of shape `()`, *optional*, returned if there are labels):
        Cross entropy, or that of `config.problem_type`.
    logits (`torch.FloatTensor` of shape `(batch_size, config.num_labels)`):
        Of each label, divided by `config.temperature`.
    category_logits (`torch.FloatTensor` of shape `(batch_size, 1 + len(config.real_categories))`, *optional*):
        That the image is real and shows something else (always zero), or each of `config.real_categories`.
    evidence (`torch.FloatTensor` of shape `(batch_size, rows, columns)`, *optional*, returned in evaluation):
        What each place of the image adds to its logit of fake, less that of real. The sum is that difference, less
        a baseline by the branch that judged. For large pictures it is that of the average picture, for small ones
        that of no features at all. Only of models with the labels real and fake.
    """

    category_logits: torch.Tensor | None = None
    evidence: torch.Tensor | None = None


def _put(all_values: torch.Tensor, values: torch.Tensor, where: torch.Tensor, in_graph: bool) -> torch.Tensor:
    """`all_values` with others where that is true: `values` are of these rows alone, or in a graph of all."""
    values = values.to(all_values.dtype)
    if not in_graph:
        values = all_values.index_copy(0, where.nonzero()[:, 0], values)
    return torch.where(where.reshape(-1, *[1] * (values.ndim - 1)), values, all_values)


@auto_docstring(
    custom_intro="""
    WaveFreq with a linear head: real (0) or fake (1), or any other set of labels.

    Two labels have one degree of freedom, so the head then has a single output `z` and the logits are `(0, z)`. The
    softmax is `sigmoid(z)`, the cross entropy the binary one. With `config.real_categories`, the first logit is the
    log-sum-exp of zero and of the categories' logits.

    With `config.large_backbone` there is a second branch: a head on a frozen pretrained network. It judges the large
    pictures of a batch, the first network the small ones, so each learns from its own.
    """
)
class WaveFreqForImageClassification(WaveFreqPreTrainedModel):
    def __init__(self, config: WaveFreqConfig):
        config.validate()  # which what was set since it was made may contradict
        super().__init__(config)
        self.wavefreq = WaveFreqModel(config)
        self.category_classifier = None
        # CODEPATH: only detectors whose training data say what the images show know categories.
        if config.real_categories:
            self.category_classifier = nn.Linear(config.hidden_sizes[-1], len(config.real_categories))
        num_outputs = 1 if config.num_labels == 2 else config.num_labels
        self.classifier = nn.Linear(config.hidden_sizes[-1], num_outputs)  # type: ignore[arg-type]
        self.large: Any = None
        # CODEPATH: only detectors that learnt from large pictures too have the second branch.
        if config.large_backbone is not None:
            self.large = WaveFreqLargeBranch(config)
        self.post_init()

    def _maps(self, pixel_values: torch.Tensor, **kwargs) -> BaseModelOutputWithPoolingAndNoAttention:
        """The network's outputs for small images; where flips are averaged, map and features are means of both."""
        # CODEPATH: the packaged checkpoint averages flips at inference, the original network does not.
        if not self.config.average_flips or self.training:
            return self.wavefreq(pixel_values, return_dict=True, **kwargs)
        outputs = self.wavefreq(torch.cat([pixel_values, pixel_values.flip(-1)]), return_dict=True, **kwargs)
        image, mirrored = outputs.last_hidden_state.unflatten(0, (2, -1))
        outputs.last_hidden_state = (image + mirrored.flip(-1)) / 2
        outputs.pooler_output = outputs.pooler_output.unflatten(0, (2, -1)).mean(0)
        if outputs.hidden_states is not None:
            outputs.hidden_states = tuple(state.unflatten(0, (2, -1))[0] for state in outputs.hidden_states)
        return outputs

    def _small_evidence(self, last_hidden_state: torch.Tensor) -> torch.Tensor:
        """Evidence of small images, of the size of the map: integrated gradients from no features to their mean."""
        weight = self.classifier.weight[0]
        # CODEPATH: without categories the logit is linear, and its gradient the weight.
        if self.category_classifier is not None:
            steps = (torch.arange(PATH_STEPS, device=weight.device, dtype=weight.dtype) + 0.5) / PATH_STEPS
            pooled = last_hidden_state.mean((2, 3))
            shares = nn.functional.pad(self.category_classifier(steps[:, None, None] * pooled), (1, 0)).softmax(-1)
            weight = weight - shares.mean(0)[:, 1:] @ self.category_classifier.weight
        places = (last_hidden_state * weight[..., None, None]).sum(1)
        return places / (places.shape[1] * places.shape[2])

    def _check_large(self, large_pixel_values: torch.Tensor, image_sizes: torch.Tensor | None, count: int) -> None:
        size = self.config.large_image_size
        expected = (count, self.config.num_channels, size, size)
        if tuple(large_pixel_values.shape) != expected:
            raise ValueError(
                f"large_pixel_values: expected the shape {expected}, got {tuple(large_pixel_values.shape)}"
            )
        if image_sizes is None or tuple(image_sizes.shape) != (count, 2):
            got = None if image_sizes is None else tuple(image_sizes.shape)
            raise ValueError(f"image_sizes: expected height and width of {count} images, got the shape {got}")

    def _judge_small(self, pixel_values: torch.Tensor, **kwargs) -> WaveFreqImageClassifierOutput:
        """What the first network says of all images."""
        outputs = self._maps(pixel_values, **kwargs)
        logits, category_logits = self.classifier(outputs.pooler_output), None
        if self.config.num_labels == 2:
            logits = nn.functional.pad(logits, (1, 0))
        # CODEPATH: only detectors whose training data say what the images show know categories.
        if self.category_classifier is not None:
            category_logits = nn.functional.pad(self.category_classifier(outputs.pooler_output), (1, 0))
            logits = torch.cat([category_logits.logsumexp(1, keepdim=True), logits[:, 1:]], dim=1)
        evidence = None
        if self.config.num_labels == 2 and not self.training:
            evidence = self._small_evidence(outputs.last_hidden_state)  # type: ignore[arg-type]
            evidence = evidence / self.config.temperature
            # CODEPATH: with a second branch both give maps of one size, whatever else is in the batch.
            if self.large is not None:
                evidence = on_grid(evidence, self.config.large_image_size // CELL) * evidence[0].numel()
        return WaveFreqImageClassifierOutput(
            logits=logits / self.config.temperature,
            hidden_states=outputs.hidden_states,
            category_logits=category_logits,
            evidence=evidence,
        )

    def _judge_large(
        self,
        answer: WaveFreqImageClassifierOutput,
        large_pixel_values: torch.Tensor,
        large: torch.Tensor,
        in_graph: bool,
    ) -> None:
        """Puts what the second branch says of large pictures into an answer, in place of what the first said."""
        pictures = large_pixel_values if in_graph else large_pixel_values[large]
        maps = self.large.feature_maps(pictures.to(self.dtype))
        moments = moments_of(maps)
        logits = nn.functional.pad(self.large.head(moments)[:, None], (1, 0)) / self.config.large_temperature
        answer.logits = _put(answer.logits, logits, large, in_graph)  # type: ignore[arg-type]
        if not self.training:
            size = self.config.large_image_size // CELL
            evidence = self.large.head.evidence(maps, moments, size) / self.config.large_temperature
            before = answer.evidence
            if before is None:
                before = large_pixel_values.new_zeros(len(large), size, size)
            answer.evidence = _put(before, evidence, large, in_graph)

    @can_return_tuple
    @auto_docstring
    def forward(
        self,
        pixel_values: torch.Tensor,
        labels: torch.LongTensor | None = None,
        large_pixel_values: torch.Tensor | None = None,
        image_sizes: torch.LongTensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> WaveFreqImageClassifierOutput:
        r"""
        pixel_values (`torch.FloatTensor` of shape `(batch_size, num_channels, height, width)`):
            Normalized images from [`WaveFreqImageProcessor`]; `config.total_stride` divides height and width.
        labels (`torch.LongTensor` of shape `(batch_size,)`, *optional*):
            Indices in `[0, ..., config.num_labels - 1]`. The loss is the cross entropy, or what else
            `config.problem_type` says, for which labels are floats.
        large_pixel_values (`torch.FloatTensor` of shape `(batch_size, num_channels, height, width)`, *optional*):
            The same images at `config.large_image_size`, as the second branch sees them. Without them the first
            network judges all.
        image_sizes (`torch.LongTensor` of shape `(batch_size, 2)`, *optional*):
            Height and width of the images in pixels before they were resized: they tell which are large.

        Returns:
            [`WaveFreqImageClassifierOutput`] with `logits` of shape `(batch_size, config.num_labels)`, divided by
            the temperature of the branch that judged. It has a `loss` if labels were given, `category_logits` if the
            model knows categories, and in evaluation `evidence`.

        Raises:
            ValueError: If images have another number of channels or a size that does not fit, or `image_sizes` are not
                two numbers for each. Also if there are two labels, of which one excludes the other, and those given
                are floats.

        Example:

        ```python
        >>> import torch
        >>> from tellsign import WaveFreqConfig, WaveFreqForImageClassification

        >>> model = WaveFreqForImageClassification(WaveFreqConfig()).eval()
        >>> model(torch.zeros(1, 3, 32, 32)).logits.softmax(-1).shape
        torch.Size([1, 2])
        ```
        """
        large = None
        # CODEPATH: detectors without the second branch, and callers that give small images alone.
        if self.large is not None and large_pixel_values is not None:
            self._check_large(large_pixel_values, image_sizes, pixel_values.shape[0])
            large = is_large(self.config, image_sizes).to(pixel_values.device)  # type: ignore[arg-type]
        # In a graph no shape may depend on a value: both branches judge all images.
        in_graph = torch.compiler.is_compiling() or torch.jit.is_tracing()
        if large is None or in_graph or not large.all():
            answer = self._judge_small(pixel_values, **kwargs)
        else:
            answer = WaveFreqImageClassifierOutput(logits=pixel_values.new_empty(len(pixel_values), 2))
        if large is not None and (in_graph or large.any()):
            self._judge_large(answer, large_pixel_values, large, in_graph)  # type: ignore[arg-type]
        if labels is not None:
            if self.config.num_labels == 2 and labels.is_floating_point():
                raise ValueError(
                    f"labels: expected indices, since one of two labels excludes the other, got {labels.dtype}"
                )
            answer.loss = self.loss_function(labels, answer.logits, self.config, **kwargs)
        return answer

    def post_process_verdicts(
        self,
        logits: torch.Tensor,
        image_sizes: torch.LongTensor | None = None,
        operating_point: str = "cautious",
    ) -> list[str]:
        r"""
        What is said of each image, see [`verdicts_of`].

        Args:
            logits (`torch.FloatTensor` of shape `(batch_size, 2)`): As the model gives them.
            image_sizes (`torch.LongTensor` of shape `(batch_size, 2)`, *optional*):
                As the model takes them: large pictures have thresholds of their own.
            operating_point (`str`, *optional*, defaults to `"cautious"`): Or `"balanced"`, for large pictures.

        Returns:
            `list[str]`: `"real"`, `"fake"` or `"uncertain"` for each image.

        Raises:
            ValueError: If the labels are not real and fake, or there is no such operating point.
        """
        _, fake = real_and_fake(self.config)
        probabilities = logits.float().softmax(-1)[:, fake].tolist()
        return verdicts_of(self.config, probabilities, image_sizes, operating_point)


__all__ = ["WaveFreqForImageClassification", "WaveFreqModel", "WaveFreqPreTrainedModel"]
