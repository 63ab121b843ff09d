"""The spectrum of the fine detail of a picture."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft
from scipy.ndimage import gaussian_filter


BLOCK = 64
"""Side in pixels of the blocks whose spectra are averaged."""
MOST_BLOCKS = 240
LEAST_DEVIATION = 0.15
"""Blocks of one color have no spectrum: least standard deviation of a block's detail, in levels of 255."""
MOST_PIXELS = 4_000_000
MIDDLE = 2000
"""Of pictures with more than `MOST_PIXELS` the middle of this side is measured."""
_SIGMA, _MARGIN = 1.0, 4  # scipy cuts the kernel at four deviations


def middle_of(image: Image.Image) -> Image.Image:
    """The part of a picture that is measured: all of it, or the middle 2000 x 2000 of one above 4 megapixels."""
    width, height = image.size
    if height * width <= MOST_PIXELS:
        return image
    left, top = max(0, width - MIDDLE) // 2, max(0, height - MIDDLE) // 2
    return image.crop((left, top, min(left + MIDDLE, width), min(top + MIDDLE, height)))


def residual_spectrum(grey: NDArray[np.uint8]) -> tuple[NDArray[np.float64], int]:
    """Averaged power spectrum of what a Gaussian blur of one pixel takes away from a picture.

    Blocks of 64 x 64 pixels lie side by side, and come in a random order that is always the same. Each block's mean is
    taken away, and a Hann window laid over it. Its power spectrum is divided by its mean, so blocks count alike.

    Args:
        grey (`np.ndarray` of shape `(height, width)`): Levels from 0 to 255.

    Returns:
        The natural logarithm of the average, of shape `(64, 33)`, as `numpy.fft.rfft2` orders frequencies, and how
        many blocks were averaged, at most 240. Zeros if there was none.
    """
    height, width = grey.shape
    corners = [(y, x) for y in range(0, height - BLOCK + 1, BLOCK) for x in range(0, width - BLOCK + 1, BLOCK)]
    np.random.default_rng(0).shuffle(corners)
    padded = np.pad(grey.astype(np.float32), _MARGIN, mode="symmetric")
    window = np.outer(np.hanning(BLOCK), np.hanning(BLOCK)).astype(np.float32)
    total, count = np.zeros((BLOCK, BLOCK // 2 + 1)), 0
    while corners and count < MOST_BLOCKS:
        some, corners = corners[:MOST_BLOCKS], corners[MOST_BLOCKS:]
        # With a margin, so that a block's blur is the whole picture's.
        blocks = np.stack([padded[y : y + BLOCK + 2 * _MARGIN, x : x + BLOCK + 2 * _MARGIN] for y, x in some])
        detail = (blocks - gaussian_filter(blocks, (0, _SIGMA, _SIGMA)))[:, _MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
        detail = detail[detail.std(axis=(1, 2)) >= LEAST_DEVIATION][: MOST_BLOCKS - count]
        waves = fft.rfft2((detail - detail.mean(axis=(1, 2), keepdims=True)) * window)  # unlike NumPy's, in float32
        power = waves.real**2 + waves.imag**2
        total += (power / power.mean(axis=(1, 2), keepdims=True)).sum(0)
        count += len(detail)
    return (np.log(total / count) if count else total), count
