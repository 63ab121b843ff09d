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
"""Image processor class for WaveFreq."""

from typing import Any

import torch
from torchvision.transforms.v2.functional import jpeg
from transformers.feature_extraction_utils import BatchFeature
from transformers.image_processing_backends import TorchvisionBackend
from transformers.image_utils import PILImageResampling, SizeDict
from transformers.utils import auto_docstring

from tellsign.modeling.image_loading import JPEG_QUALITY


LARGEST_SHORT_SIDE = 272
"""That of the pictures that the packaged detector learned from, in pixels."""


@auto_docstring(
    custom_intro="""
    Brings images to `size` (32x32) without keeping the aspect ratio, and scales them to [0, 1]. It normalizes them by
    `image_mean` and `image_std`, which are near those of CIFAKE. What it resizes it encodes as JPEG of quality 75 and
    decodes again. All images that the packaged detector learned from were so encoded at 32x32.

    With `large_size`, large pictures also come as the second branch of [`WaveFreqForImageClassification`] sees them.
    These are pictures whose shorter side has at least `smallest_large_side` pixels. They are brought to a shorter side
    of at most 272 pixels, then to `large_size`, each time encoded as JPEG of quality 75.

    Takes what every image processor of transformers takes: PIL images, arrays or tensors, single or in lists. These
    are grey (with a channel), RGB or RGBA, with channels first or last. Pixels are uint8 in 0..255 or floats in the
    same range; pass `do_rescale=False` for floats in [0, 1]. Floats that it resizes it first rounds to the levels of
    uint8. So the same picture gives the same pixels whatever its dtype, and no gradient passes. Images of `size` stay
    as they are.

    Gives `pixel_values` of shape `(batch_size, 3, size["height"], size["width"])`, float32. Gives `image_sizes` of
    shape `(batch_size, 2)`, int64: height and width of the images as they came. With `large_size` gives
    `large_pixel_values` of shape `(batch_size, 3, large_size["height"], large_size["width"])`, float32, zeros for
    small images. Raises a `ValueError` if an image holds NaN or infinite pixels.
    """
)
class WaveFreqImageProcessor(TorchvisionBackend):
    resample = PILImageResampling.BICUBIC
    image_mean = [0.4852, 0.4745, 0.4325]
    image_std = [0.2380, 0.2355, 0.2588]
    size = {"height": 32, "width": 32}
    large_size: dict | None = None
    large_mean = [127 / 255] * 3
    large_std = [128 / 255] * 3
    smallest_large_side = 64
    do_resize = True
    do_rescale = True
    do_normalize = True
    do_convert_rgb = True
    model_input_names = ["pixel_values", "large_pixel_values", "image_sizes"]

    def resize(self, image: torch.Tensor, *args, **kwargs) -> torch.Tensor:
        resized = super().resize(image, *args, **kwargs)
        if resized.shape == image.shape or resized.dtype != torch.uint8:
            return resized
        return jpeg(resized.cpu(), JPEG_QUALITY).to(resized.device)

    def _preprocess(  # type: ignore[override]
        self, images: list[torch.Tensor], *, do_resize: bool, do_rescale: bool, **kwargs
    ) -> BatchFeature:
        images = list(images)
        extra: dict = {"image_sizes": [tuple(image.shape[-2:]) for image in images]}
        if self.large_size is not None:
            extra["large_pixel_values"] = torch.stack([self._large(image, do_rescale) for image in images])
        for index, image in enumerate(images):
            if do_resize and image.is_floating_point():
                scale = 1 if do_rescale else 255
                resized = self.resize(_levels(image, do_rescale), kwargs["size"], kwargs["resample"])
                if resized.shape != image.shape:
                    images[index] = resized.to(torch.float32) / scale
        features = super()._preprocess(images, do_resize=do_resize, do_rescale=do_rescale, **kwargs)
        features.update(BatchFeature(extra, tensor_type=kwargs.get("return_tensors")))
        return features

    def _large(self, image: torch.Tensor, do_rescale: bool) -> torch.Tensor:
        """An image as the second branch sees it, or zeros if it is small."""
        height, width = image.shape[-2:]
        size: Any = SizeDict(**self.large_size)  # type: ignore[arg-type]
        if min(height, width) < self.smallest_large_side:
            return torch.zeros(3, size.height, size.width)
        image = _levels(image, do_rescale).expand(3, -1, -1)
        factor = min(1.0, LARGEST_SHORT_SIDE / min(height, width))
        reduced = SizeDict(height=max(1, round(factor * height)), width=max(1, round(factor * width)))
        for target in (reduced, size):
            image = jpeg(super().resize(image, target, self.resample).cpu(), JPEG_QUALITY)
        return self.normalize(image.to(torch.float32) / 255, self.large_mean, self.large_std)

    def process_image(self, image, *args, **kwargs) -> torch.Tensor:
        processed = super().process_image(image, *args, **kwargs)
        if processed.is_floating_point() and not torch.isfinite(processed).all():
            raise ValueError(
                f"image of shape {tuple(processed.shape)} has NaN or infinite pixels, expected finite ones"
            )
        return processed


def _levels(image: torch.Tensor, do_rescale: bool) -> torch.Tensor:
    """An image in the levels of uint8; floats are in 0..255, or in [0, 1] if they are not to be rescaled."""
    if not image.is_floating_point():
        return image
    return ((1 if do_rescale else 255) * image.detach()).round().clamp(0, 255).to(torch.uint8)


__all__ = ["WaveFreqImageProcessor"]
