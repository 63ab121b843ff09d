"""Regular grids in a picture, which the decoders of generators leave: peaks of the spectrum of its fine detail.

Decoders enlarge by two, several times over. That leaves peaks at multiples of 1/8 cycles a pixel (Durall et al., 2020,
arXiv 2003.01826; Corvi et al., 2023, arXiv 2304.06408). Those on the axes are left out: JPEG's blocks have them too.
"""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .spectrum import BLOCK, middle_of, residual_spectrum


LOSSLESS = ("BMP", "GIF", "PNG", "PPM", "TIFF")
"""Formats of Pillow that keep the pixels. Of all others the picture is saved once more before it is measured."""
SAVE_QUALITY = 85
LEAST_SIDE = 384
LEAST_BLOCKS = 6
_RING = [(y, x) for y in range(-4, 5) for x in range(-4, 5) if 2 <= np.hypot(y, x) <= 4]
_LEAST_SPREAD = 0.1  # of the logarithms around a peak


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
    """How far a frequency stands out from those around it.

    Args:
        spectrum (`np.ndarray` of shape `(64, 33)`): From [`residual_spectrum`].
        row, column (`int`): The frequency, in multiples of 1/64 cycles a pixel, from -32 to 32.

    Returns:
        The logarithm there less the median of those 2 to 4 steps away, in units of their deviation: 1.4826 times their
        median distance from the median, and at least 0.1.
    """

    def value(y: int, x: int) -> float:
        y, x = y % BLOCK, x % BLOCK
        return spectrum[y, x] if x <= BLOCK // 2 else spectrum[-y % BLOCK, BLOCK - x]  # of a real picture

    around = np.asarray([value(row + y, column + x) for y, x in _RING])
    middle = np.median(around)
    return float((value(row, column) - middle) / max(1.4826 * np.median(np.abs(around - middle)), _LEAST_SPREAD))


def strength_of(grid: Grid, spectrum: NDArray[np.floating]) -> float:
    """How strong a grid is in a picture's spectrum, as [`peak`] measures it."""
    peaks = [peak(spectrum, row, column) for row, column in grid.frequencies]
    return float(np.mean(peaks) if grid.all_peaks else max(peaks))


def is_lossless(image: Image.Image) -> bool:
    """Whether a picture comes from a file that keeps its pixels."""
    return image.format in LOSSLESS


def measured_spectrum(image: Image.Image) -> tuple[NDArray[np.float64], int]:
    """The spectrum in which grids are looked for, see [`residual_spectrum`].

    A lossy file is saved once more, as JPEG of quality 85. Generators' grids outlast that, while most peaks that an
    earlier encoding left do not.

    Args:
        image (`PIL.Image.Image`): As its file holds it, neither turned nor resized.
    """
    if is_lossless(image):
        return residual_spectrum(np.asarray(middle_of(image).convert("L")))
    saved = io.BytesIO()
    middle_of(image).convert("RGB").save(saved, "JPEG", quality=SAVE_QUALITY)
    return residual_spectrum(np.asarray(Image.open(saved).convert("L")))
