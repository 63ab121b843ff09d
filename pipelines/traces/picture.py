"""The spectrum of a picture, as a picture."""

import itertools

import numpy as np
from PIL import Image, ImageDraw

from .grids import GRIDS
from .spectrum import BLOCK, middle_of, residual_spectrum


SCALE = 4
"""Pixels of a side for each frequency."""
RING_COLOR = "#d55e00"


def spectrum_picture(image: Image.Image, trace: str) -> Image.Image:
    """The spectrum of a picture's fine detail, with the peaks of a trace ringed.

    Args:
        image (`PIL.Image.Image`): The picture.
        trace (`str`): Name of a [`Grid`].

    Returns:
        `PIL.Image.Image` in mode RGB, 256 pixels a side. Frequency zero is in the middle, light stands for strong.
    """
    half, _ = residual_spectrum(middle_of(np.asarray(image.convert("L"))))
    # The spectrum of a real picture is symmetric.
    rest = np.roll(half[::-1, BLOCK // 2 - 1 : 0 : -1], 1, axis=0)
    whole = np.fft.fftshift(np.concatenate([half, rest], axis=1))
    low, high = np.quantile(whole, (0.02, 0.995))
    levels = (255 * np.clip((whole - low) / max(high - low, 1e-6), 0, 1)).astype(np.uint8)
    side = SCALE * BLOCK
    picture = Image.fromarray(levels).resize((side, side), Image.Resampling.NEAREST).convert("RGB")
    draw = ImageDraw.Draw(picture)
    (grid,) = (grid for grid in GRIDS if grid.name == trace)
    for row, column in {(sign * row, sign * column) for row, column in grid.frequencies for sign in (1, -1)}:
        y, x = (SCALE * ((part + BLOCK // 2) % BLOCK) + SCALE / 2 for part in (row, column))
        for left, top in itertools.product((0, side), repeat=2):  # the highest frequency is at both ends
            draw.circle((x + left, y + top), 3 * SCALE, outline=RING_COLOR, width=2)
    return picture
