"""What happens to a picture on its way: it is encoded again, and resized, once or more."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageOps


RESAMPLERS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
LEAST_SIDE = 64
"""No history makes a picture smaller than this, in pixels of its shorter side."""


def encoded(image: Image.Image, form: str, quality: int) -> Image.Image:
    """An RGB image after lossy encoding in a format of Pillow ("JPEG", "WEBP")."""
    content = io.BytesIO()
    image.save(content, form, quality=quality)
    return Image.open(content).convert("RGB")


def resized(image: Image.Image, factor: float, resample: Image.Resampling = Image.Resampling.BICUBIC) -> Image.Image:
    """An image with both sides multiplied by a factor."""
    return image.resize((max(1, round(factor * image.width)), max(1, round(factor * image.height))), resample)


def random_history(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A picture after one to three stations.

    Each may resize it (0.63 to 1). Then it encodes it (JPEG or WebP, quality 50 to 95) or, as a screenshot, keeps it.
    Repeated encodings, drawn alike for both classes, keep the codec from telling the class (AI-GenBench,
    arXiv 2504.20865).
    """
    for _ in range(rng.integers(1, 4)):
        factor = rng.uniform(0.63, 1)
        if rng.random() < 0.5 and factor * min(image.size) >= LEAST_SIDE:
            image = resized(image, factor, RESAMPLERS[rng.integers(len(RESAMPLERS))])
        form = rng.choice(["JPEG", "WEBP", "PNG"], p=[0.7, 0.2, 0.1])
        quality = int(rng.integers(50, 96))
        if form != "PNG":
            image = encoded(image, form, quality)
    return image


def random_look(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A picture that has lost its color in one of eight cases, and got a border in one of six.

    The border is white, black or of one color. It is on all sides or on two, and up to 0.15 of the shorter side wide.
    Drawn alike for both classes, neither tells the class.
    """
    if rng.random() < 1 / 8:
        image = _grey(image)
    if rng.random() < 1 / 6:
        width = max(1, round(rng.uniform(0.01, 0.15) * min(image.size)))
        color = [(255, 255, 255), (0, 0, 0), tuple(rng.integers(0, 256, 3).tolist())][rng.integers(3)]
        horizontal, vertical = [(width, width), (width, 0), (0, width)][rng.integers(3)]
        image = ImageOps.expand(image, (horizontal, vertical), color)
    return image


def _grey(image: Image.Image) -> Image.Image:
    return ImageOps.grayscale(image).convert("RGB")


def _reposted(image: Image.Image) -> Image.Image:
    return encoded(resized(encoded(image, "JPEG", 60), 0.8), "JPEG", 70)


def _cropped(image: Image.Image) -> Image.Image:
    width, height = image.size
    return image.crop((width // 10, height // 10, width - width // 10, height - height // 10))


def _rescaled(image: Image.Image) -> Image.Image:
    return resized(resized(image, 0.75, Image.Resampling.BILINEAR), 4 / 3, Image.Resampling.BILINEAR)


HISTORIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "reposted": _reposted,
    "JPEG quality 60": lambda image: encoded(image, "JPEG", 60),
    "WebP quality 60": lambda image: encoded(image, "WEBP", 60),
    "half size": lambda image: resized(image, 0.5),
    "middle four fifths": _cropped,
    "screenshot rescaled": _rescaled,
    "grey": _grey,
    "border of a tenth": lambda image: ImageOps.expand(image, round(0.1 * min(image.size)), "white"),
}
"""By which robustness is measured. "reposted": JPEG of quality 60, both sides times 0.8, JPEG of quality 70."""
