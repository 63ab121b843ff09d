"""Corruptions of images, at five severities, with the strengths of CIFAR-10-C (Hendrycks & Dietterich, 2019)."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from tellsign.modeling.image_files import recode_uniformly


# The constants are those of the paper's code for CIFAR-10 (arXiv 1903.12261).
STRENGTHS: dict[str, tuple[float, ...]] = {
    "gaussian_noise": (0.04, 0.06, 0.08, 0.09, 0.10),  # standard deviation, of 1
    "gaussian_blur": (0.4, 0.6, 0.7, 0.8, 1.0),  # standard deviation, in pixels
    "resize": (0.95, 0.9, 0.85, 0.75, 0.65),  # side of the smaller image that it is brought to and back from
    "brightness": (0.05, 0.1, 0.15, 0.2, 0.3),  # added to the value in HSV, of 1
    "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),  # factor of the distance to the mean of each channel
    "jpeg": (80, 65, 58, 50, 40),  # quality
}


def jpeg(image: NDArray, quality: int) -> NDArray:
    """Compresses an image of shape `(height, width, 3)`, uint8, as JPEG with chroma subsampled 4:2:0."""
    return np.asarray(recode_uniformly(Image.fromarray(image), quality))


def corrupt(image: NDArray, name: str, severity: int, rng: np.random.Generator) -> NDArray:
    """An image, uint8, after one of `STRENGTHS` at a severity of 1 to 5."""
    strength = STRENGTHS[name][severity - 1]
    if name == "jpeg":
        return jpeg(image, int(strength))
    if name == "gaussian_blur":
        return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(strength)))
    if name == "resize":
        height, width = image.shape[:2]
        smaller = (max(1, int(strength * width)), max(1, int(strength * height)))
        shrunk = Image.fromarray(image).resize(smaller, Image.Resampling.BOX)
        return np.asarray(shrunk.resize((width, height), Image.Resampling.BOX))
    pixels = image / 255
    if name == "gaussian_noise":
        pixels = pixels + rng.normal(0, strength, image.shape)
    elif name == "contrast":
        mean = pixels.mean((0, 1), keepdims=True)
        pixels = mean + strength * (pixels - mean)
    else:
        # A brighter value at the same hue and saturation scales all channels alike.
        value = pixels.max(2, keepdims=True)
        brighter = np.clip(value + strength, 0, 1)
        pixels = np.where(value > 0, pixels * brighter / np.maximum(value, 1e-9), brighter)
    return (255 * pixels.clip(0, 1)).round().astype(np.uint8)
