# Copyright 2026 The tellsign authors. SPDX-License-Identifier: Apache-2.0  (trf-ignore: TRF028)
"""Image processor class for WaveFreq."""

import json
from functools import lru_cache, partial
from typing import Any

import torch
from PIL import Image
from torchvision.transforms.v2.functional import jpeg
from transformers.feature_extraction_utils import BatchFeature
from transformers.image_utils import PILImageResampling
from transformers.utils import auto_docstring

from .image_bands import BandsBackend, size_of
from .image_files import JPEG_QUALITY
from .image_processing_large_picture import LargePictureImageProcessor, as_levels


@auto_docstring(
    custom_intro="""
    Brings images to `size` (32x32) without keeping the aspect ratio, and scales them to [0, 1]. It normalizes them by
    `image_mean` and `image_std`, which are near CIFAKE's. It encodes what it resizes as JPEG of quality 75 and decodes
    it again, since the packaged detector learned from such images alone.

    With `large_picture_processor`, the settings of a [`LargePictureImageProcessor`], it also gives large pictures as
    that processor sees them, for the second network of [`WaveFreqForImageClassification`].

    Takes what every image processor of transformers takes: PIL images, arrays or tensors, single or in lists. These
    are grey (with a channel), RGB or RGBA, with channels first or last. Pixels are uint8 in 0..255 or floats in the
    same range; pass `do_rescale=False` for floats in [0, 1]. It rounds floats to the levels of uint8 before it
    resizes them. So the same picture gives the same pixels whatever its dtype, and no gradient passes. Images of
    `size` stay as they are.

    Gives `pixel_values` of shape `(batch_size, 3, size["height"], size["width"])`, float32. Gives `image_sizes` of
    shape `(batch_size, 2)`, int64: height and width of the images as they came. With `large_picture_processor` gives
    `large_pixel_values` of shape `(batch_size, 3, height, width)` of its size, float32, with its `cuts` and
    `cut_boxes`. For small images they are zeros, and the boxes the whole. Raises a `ValueError` if an image holds NaN
    or infinite pixels.
    """
)
class WaveFreqImageProcessor(BandsBackend):
    resample = PILImageResampling.BICUBIC
    image_mean = [0.4852, 0.4745, 0.4325]
    image_std = [0.2380, 0.2355, 0.2588]
    size = {"height": 32, "width": 32}
    large_picture_processor: dict | None = None
    do_resize = True
    do_rescale = True
    do_normalize = True
    do_convert_rgb = True
    model_input_names = ["pixel_values", "large_pixel_values", "cuts", "cut_boxes", "image_sizes"]

    def resize(self, image: torch.Tensor | Image.Image, *args, **kwargs) -> torch.Tensor:
        resized = super().resize(image, *args, **kwargs)
        if size_of(resized) == size_of(image) or resized.dtype != torch.uint8:
            return resized
        return jpeg(resized.cpu(), JPEG_QUALITY).to(resized.device)

    def _preprocess(  # type: ignore[override]
        self, images: list[torch.Tensor | Image.Image], *, do_resize: bool, do_rescale: bool, **kwargs
    ) -> BatchFeature:
        pixels: list[Any] = list(images)
        extra: dict = {"image_sizes": [size_of(image) for image in images]}
        if self.large_picture_processor is not None:
            extra |= self._large_pictures(images, do_rescale)
        for index, image in enumerate(images):
            if isinstance(image, Image.Image):
                pixels[index] = self.resize(image, kwargs["size"], kwargs["resample"])
            elif do_resize and image.is_floating_point():
                scale = 1 if do_rescale else 255
                resized = self.resize(as_levels(image, do_rescale), kwargs["size"], kwargs["resample"])
                if resized.shape != image.shape:
                    pixels[index] = resized.to(torch.float32) / scale
        features = super()._preprocess(pixels, do_resize=do_resize, do_rescale=do_rescale, **kwargs)
        features.update(BatchFeature(extra, tensor_type=kwargs.get("return_tensors")))
        return features

    def _large_pictures(self, images: list[torch.Tensor | Image.Image], do_rescale: bool) -> dict[str, torch.Tensor]:
        """Images as [`LargePictureImageProcessor`] sees them, zeros where they are small."""
        processor = _processor_of(json.dumps(self.large_picture_processor))
        see = partial(processor, do_rescale=do_rescale, input_data_format="channels_first", return_tensors="pt")
        size: Any = processor.size
        shape = (len(images), processor.num_cuts)
        pictures = {
            "large_pixel_values": torch.zeros(len(images), 3, size.height, size.width),
            "cuts": torch.zeros(*shape, 3, processor.cut_size, processor.cut_size),
            "cut_boxes": torch.tensor([0.0, 0.0, 1.0, 1.0]).repeat(*shape, 1),
        }
        for row, image in enumerate(images):
            if min(size_of(image)) >= processor.smallest_side:
                for values, seen in zip(pictures.values(), see(image).values(), strict=True):
                    values[row] = seen[0]
        return pictures


@lru_cache
def _processor_of(settings: str) -> LargePictureImageProcessor:
    """The processor with these settings, in JSON; made once, not for each picture."""
    return LargePictureImageProcessor(**json.loads(settings))


__all__ = ["WaveFreqImageProcessor"]
