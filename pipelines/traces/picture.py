"""The spectrum of a picture, as a picture."""

import itertools
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from .grids import GRIDS
from .spectrum import BLOCK, middle_of, residual_spectrum


SCALE = 4
"""Pixels of a side for each frequency."""
RING_COLOR = "#d55e00"


def spectrum_pictures(image: Image.Image, traces: Sequence[str]) -> list[Image.Image]:
    """The spectrum of a picture's fine detail, once for each trace, whose peaks are ringed.

    Args:
        image (`PIL.Image.Image`): The picture.
        traces (`Sequence[str]`): Names of [`Grid`]s.

    Returns:
        For each a `PIL.Image.Image` in mode RGB, 256 pixels a side. Frequency zero is in the middle, light stands for
        strong.
    """
    if not traces:
        return []
    half, _ = residual_spectrum(np.asarray(middle_of(image).convert("L")))
    # The spectrum of a real picture is symmetric.
    rest = np.roll(half[::-1, BLOCK // 2 - 1 : 0 : -1], 1, axis=0)
    whole = np.fft.fftshift(np.concatenate([half, rest], axis=1))
    low, high = np.quantile(whole, (0.02, 0.995))
    levels = (255 * np.clip((whole - low) / max(high - low, 1e-6), 0, 1)).astype(np.uint8)
    side = SCALE * BLOCK
    plain = Image.fromarray(levels).resize((side, side), Image.Resampling.NEAREST).convert("RGB")
    frequencies = {grid.name: grid.frequencies for grid in GRIDS}
    return [_ringed(plain, frequencies[trace]) for trace in traces]


def _ringed(plain: Image.Image, frequencies: Sequence[tuple[int, int]]) -> Image.Image:
    """A copy of the picture of a spectrum with rings around frequencies."""
    picture, side = plain.copy(), plain.width
    draw = ImageDraw.Draw(picture)
    for row, column in {(sign * row, sign * column) for row, column in frequencies for sign in (1, -1)}:
        y, x = (SCALE * ((part + BLOCK // 2) % BLOCK) + SCALE / 2 for part in (row, column))
        for left, top in itertools.product((0, side), repeat=2):  # the highest frequency is at both ends
            draw.circle((x + left, y + top), 3 * SCALE, outline=RING_COLOR, width=2)
    return picture
