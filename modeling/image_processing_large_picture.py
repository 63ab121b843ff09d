# Copyright 2026 The tellsign authors. SPDX-License-Identifier: Apache-2.0  (trf-ignore: TRF028)
"""Image processor class for LargePicture."""

from typing import Any

import torch
from PIL import Image
from torchvision.transforms.v2.functional import jpeg, pil_to_tensor
from transformers.feature_extraction_utils import BatchFeature
from transformers.image_utils import PILImageResampling, SizeDict
from transformers.utils import auto_docstring

from .image_bands import BandsBackend, part_of, size_of
from .image_files import JPEG_QUALITY, JPEG_SIDE


LARGEST_SHORT_SIDE = 272
"""That of the pictures that the packaged detector learned from, in pixels."""
CUT_QUALITY = 90
"""That of the JPEG in which every cut is saved once, whatever file it comes from."""
CUT_GRID = 16
"""Corners of cuts are multiples of it: the blocks of a JPEG file stay whole, those of its halved colors too."""
CUT_ONCE = 288
"""A picture with a shorter side below this has room for one cut, in pixels."""


@auto_docstring(
    custom_intro="""
    Brings pictures to a shorter side of at most 272 pixels, then to `size` (256x256) without keeping the aspect ratio,
    each time encoded as JPEG of quality 75 and decoded again. Also takes `num_cuts` (3) squares of `cut_size` (224)
    pixels a side out of them as they are, see [`corners_of_cuts`], each once encoded as JPEG of quality 90. Scales all
    to [0, 1], and normalizes them by `image_mean` and `image_std`.

    Takes what every image processor of transformers takes, see [`WaveFreqImageProcessor`]. `smallest_side` says from
    which shorter side on a picture is large; this processor takes smaller ones too.

    Gives `pixel_values` of shape `(batch_size, 3, size["height"], size["width"])`, float32. Gives `cuts` of shape
    `(batch_size, num_cuts, 3, cut_size, cut_size)`, float32. Gives `cut_boxes` of shape `(batch_size, num_cuts, 4)`,
    float32: left, top, right and bottom in sides of the picture, beyond 1 where it was mirrored. Raises a `ValueError`
    if a picture holds NaN or infinite pixels.
    """
)
class LargePictureImageProcessor(BandsBackend):
    resample = PILImageResampling.BICUBIC
    image_mean = [127 / 255] * 3
    image_std = [128 / 255] * 3
    size = {"height": 256, "width": 256}
    cut_size = 224
    num_cuts = 3
    smallest_side = 64
    do_resize = True
    do_rescale = True
    do_normalize = True
    do_convert_rgb = True
    model_input_names = ["pixel_values", "cuts", "cut_boxes"]

    def _preprocess(  # type: ignore[override]
        self,
        images: list[torch.Tensor | Image.Image],
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
        seen: dict[str, list[torch.Tensor]] = {name: [] for name in self.model_input_names}

        def normalized(levels: torch.Tensor) -> torch.Tensor:
            pixels = levels.to(torch.float32) / 255
            return self.normalize(pixels, image_mean, image_std) if do_normalize else pixels

        for image in images:
            picture: Any = as_levels(image, do_rescale).expand(3, -1, -1) if isinstance(image, torch.Tensor) else image
            cuts, boxes = self._cuts(picture)
            if do_resize:
                height, width = size_of(picture)
                factor = min(1.0, LARGEST_SHORT_SIDE / min(height, width))
                rows, columns = (min(JPEG_SIDE, max(1, round(factor * side))) for side in (height, width))
                reduced = SizeDict(height=rows, width=columns)
                for target in (reduced, size):
                    picture = jpeg(self.resize(picture, target, resample).cpu(), JPEG_QUALITY)
            for name, values in zip(seen, (normalized(picture), normalized(cuts), boxes), strict=True):
                seen[name].append(values)
        return BatchFeature(seen, tensor_type=kwargs.get("return_tensors"))

    def _cuts(self, picture: torch.Tensor | Image.Image) -> tuple[torch.Tensor, torch.Tensor]:
        """Cuts of a picture in levels of uint8, and their boxes."""
        height, width = size_of(picture)
        if min(height, width) < self.cut_size:
            picture = picture if isinstance(picture, torch.Tensor) else pil_to_tensor(picture)
            picture = _mirrored(picture, self.cut_size)
        cuts, boxes = [], []
        for top, left in corners_of_cuts(*size_of(picture), self.cut_size, self.num_cuts):
            cut = part_of(picture, top, left, self.cut_size)
            cuts.append(jpeg(cut.contiguous().cpu(), CUT_QUALITY))
            boxes.append([left, top, left + self.cut_size, top + self.cut_size])
        return torch.stack(cuts), torch.tensor(boxes, dtype=torch.float32) / torch.tensor(2 * [width, height])


def corners_of_cuts(height: int, width: int, cut_size: int, num_cuts: int) -> list[tuple[int, int]]:
    """Top and left of the cuts of a picture, in pixels: at equal distances along its diagonal, multiples of 16.

    A picture with a shorter side below 288 pixels is cut in the middle alone, and that cut repeats.

    Args:
        height, width (`int`): Of the picture in pixels, no less than a cut's.
        cut_size (`int`): Side of a cut in pixels.
        num_cuts (`int`): Number of cuts.
    """
    corners = []
    for number in range(1, num_cuts + 1):
        place = 0.5 if min(height, width) < CUT_ONCE else number / (num_cuts + 1)
        top, left = (int(place * (side - cut_size) / CUT_GRID) * CUT_GRID for side in (height, width))
        corners.append((top, left))
    return corners


def _mirrored(picture: torch.Tensor, side: int) -> torch.Tensor:
    """A picture mirrored at its right and lower edge as often as it takes to have a side."""
    for dim in (1, 2):
        if (count := picture.shape[dim]) < side:
            places = torch.arange(side) % (2 * count)
            picture = picture.index_select(dim, torch.minimum(places, 2 * count - 1 - places))
    return picture


def as_levels(image: torch.Tensor, do_rescale: bool) -> torch.Tensor:
    """An image in the levels of uint8; floats are in 0..255, or in [0, 1] if they are not to be rescaled."""
    if not image.is_floating_point():
        return image
    return ((1 if do_rescale else 255) * image.detach()).round().clamp(0, 255).to(torch.uint8)


__all__ = ["LargePictureImageProcessor", "corners_of_cuts"]
