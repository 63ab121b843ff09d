"""Regular grids in a picture, which the decoders of generators leave: peaks of the spectrum of its fine detail.

Decoders enlarge by two, several times over. That leaves peaks at multiples of 1/8 cycles a pixel (Durall et al., 2020,
arXiv 2003.01826; Corvi et al., 2023, arXiv 2304.06408). Those on the axes are left out: JPEG's blocks have them too.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .spectrum import BLOCK


LOSSLESS = ("BMP", "GIF", "PNG", "PPM", "TIFF")
"""Formats of Pillow that keep the pixels, TIFF by [`LOSSLESS_TIFF`] alone. In others illustrations show grids too."""
LOSSLESS_TIFF = (
    "raw",
    "packbits",
    "tiff_lzw",
    "tiff_adobe_deflate",
    "tiff_deflate",
    "lzma",
    "zstd",
    "tiff_ccitt",
    "group3",
    "group4",
)
"""What Pillow calls the compressions of TIFF that keep the pixels. Others, such as JPEG, do not, or not always."""
LEAST_SIDE = 384
LEAST_BLOCKS = 6
_RING = [(y, x) for y in range(-4, 5) for x in range(-4, 5) if 2 <= np.hypot(y, x) <= 4]


@dataclass(frozen=True)
class Grid:
    """A kind of grid, and how it is measured.

    Args:
        name (`str`): What it is called.
        frequencies (`tuple`): Where its peaks are, in multiples of 1/64 cycles a pixel, down and across.
        all_peaks (`bool`): Whether its strength is the mean of the peaks, or that of the strongest.
    """

    name: str
    frequencies: tuple[tuple[int, int], ...]
    all_peaks: bool = False


GRID_OF_4 = Grid("grid of 4 pixels", ((16, 16), (-16, 16)))
GRID_OF_8 = Grid("grid of 8 pixels", ((24, 24), (-24, 24)), all_peaks=True)
CHECKERBOARD = Grid("checkerboard of 2 pixels", ((32, 32),))
GRIDS = (GRID_OF_4, GRID_OF_8, CHECKERBOARD)


def peak(spectrum: NDArray[np.floating], row: int, column: int) -> float:
    """How far a frequency stands above all others around it.

    A grid is one frequency, where texture makes a broad hill.

    Args:
        spectrum (`np.ndarray` of shape `(64, 33)`): From [`residual_spectrum`].
        row, column (`int`): The frequency, in multiples of 1/64 cycles a pixel, from -32 to 32.

    Returns:
        The logarithm there less the largest of those 2 to 4 steps away.
    """

    def value(y: int, x: int) -> float:
        y, x = y % BLOCK, x % BLOCK
        return spectrum[y, x] if x <= BLOCK // 2 else spectrum[-y % BLOCK, BLOCK - x]  # of a real picture

    return float(value(row, column) - max(value(row + y, column + x) for y, x in _RING))


def strength_of(grid: Grid, spectrum: NDArray[np.floating]) -> float:
    """How strong a grid is in a picture's spectrum, as [`peak`] measures it."""
    peaks = [peak(spectrum, row, column) for row, column in grid.frequencies]
    return float(np.mean(peaks) if grid.all_peaks else max(peaks))
