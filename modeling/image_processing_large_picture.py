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
"""Image processor class for LargePicture."""

import torch
from torchvision.transforms.v2.functional import jpeg
from transformers.feature_extraction_utils import BatchFeature
from transformers.image_processing_backends import TorchvisionBackend
from transformers.image_utils import PILImageResampling, SizeDict
from transformers.utils import auto_docstring

from .image_loading import JPEG_QUALITY


LARGEST_SHORT_SIDE = 272
"""That of the pictures that the packaged detector learned from, in pixels."""


@auto_docstring(
    custom_intro="""
    Brings pictures to a shorter side of at most 272 pixels, then to `size` (256x256) without keeping the aspect ratio,
    each time encoded as JPEG of quality 75 and decoded again. Scales them to [0, 1], and normalizes them by
    `image_mean` and `image_std`.

    Takes what every image processor of transformers takes, see [`WaveFreqImageProcessor`]. `smallest_side` says from
    which shorter side on a picture is large; this processor takes smaller ones too.

    Gives `pixel_values` of shape `(batch_size, 3, size["height"], size["width"])`, float32. Raises a `ValueError` if
    a picture holds NaN or infinite pixels.
    """
)
class LargePictureImageProcessor(TorchvisionBackend):
    resample = PILImageResampling.BICUBIC
    image_mean = [127 / 255] * 3
    image_std = [128 / 255] * 3
    size = {"height": 256, "width": 256}
    smallest_side = 64
    do_resize = True
    do_rescale = True
    do_normalize = True
    do_convert_rgb = True
    model_input_names = ["pixel_values"]

    def process_image(self, image, *args, **kwargs) -> torch.Tensor:
        return finite(super().process_image(image, *args, **kwargs))

    def _preprocess(  # type: ignore[override]
        self,
        images: list[torch.Tensor],
        *,
        do_resize: bool,
        do_rescale: bool,
        do_normalize: bool,
        size: SizeDict,
        resample: PILImageResampling,
        image_mean: list[float],
        image_std: list[float],
        **kwargs,
    ) -> BatchFeature:
        pictures = []
        for image in images:
            picture = as_levels(image, do_rescale).expand(3, -1, -1)
            if do_resize:
                height, width = picture.shape[-2:]
                factor = min(1.0, LARGEST_SHORT_SIDE / min(height, width))
                reduced = SizeDict(height=max(1, round(factor * height)), width=max(1, round(factor * width)))
                for target in (reduced, size):
                    picture = jpeg(self.resize(picture, target, resample).cpu(), JPEG_QUALITY)
            picture = picture.to(torch.float32) / 255
            pictures.append(self.normalize(picture, image_mean, image_std) if do_normalize else picture)
        return BatchFeature({"pixel_values": pictures}, tensor_type=kwargs.get("return_tensors"))


def finite(image: torch.Tensor) -> torch.Tensor:
    """The image itself.

    Raises:
        ValueError: If it has NaN or infinite pixels.
    """
    if image.is_floating_point() and not torch.isfinite(image).all():
        raise ValueError(f"image of shape {tuple(image.shape)} has NaN or infinite pixels, expected finite ones")
    return image


def as_levels(image: torch.Tensor, do_rescale: bool) -> torch.Tensor:
    """An image in the levels of uint8; floats are in 0..255, or in [0, 1] if they are not to be rescaled."""
    if not image.is_floating_point():
        return image
    return ((1 if do_rescale else 255) * image.detach()).round().clamp(0, 255).to(torch.uint8)


__all__ = ["LargePictureImageProcessor"]
