"""Random ways of a picture: it is encoded again, resized, cut and recolored, alike for both classes.

A view is a training image of one small size. A history leaves a large picture large.
"""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from tellsign.modeling.image_files import recode_uniformly
from tellsign.modeling.image_loading import load_image
from tellsign.modeling.image_processing_large_picture import LARGEST_SHORT_SIDE


Resampling = Image.Resampling
# What each draws from. Small views also meet bad encoders and resamplers, which large pictures rarely do.
RESAMPLERS: dict[str, tuple[Image.Resampling, ...]] = {
    "view": tuple(Resampling),
    "history": (Resampling.BILINEAR, Resampling.BICUBIC, Resampling.LANCZOS),
}
QUALITIES = {"view": (40, 95), "history": (50, 95)}
"""Lowest and highest quality of JPEG and WebP."""
LARGEST_WEBP = 16383
"""Longest side that the format holds, in pixels; a panorama may be longer."""
LEAST_SIDE = 64
"""No history makes a picture smaller than this, in pixels of its shorter side."""


def encode(image: Image.Image, form: str, quality: int, **options: Any) -> Image.Image:
    """An RGB image after lossy encoding in a format of Pillow ("JPEG", "WEBP")."""
    content = io.BytesIO()
    image.save(content, form, quality=quality, **options)
    return Image.open(content).convert("RGB")


def rescale(image: Image.Image, factor: float, resample: Image.Resampling = Resampling.BICUBIC) -> Image.Image:
    """An image with both sides multiplied by a factor."""
    return image.resize((max(1, round(factor * image.width)), max(1, round(factor * image.height))), resample)


def _quality(kind: str, rng: np.random.Generator) -> int:
    lowest, highest = QUALITIES[kind]
    return int(rng.integers(lowest, highest + 1))


def random_history(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A picture after one to three steps of sharing.

    Each may resize it (0.63 to 1), and encodes it (JPEG or WebP, quality 50 to 95) or, as a screenshot, keeps it.
    Drawn alike for both classes, encodings keep the codec from telling the class (AI-GenBench, arXiv 2504.20865).
    """
    for _ in range(rng.integers(1, 4)):
        factor = rng.uniform(0.63, 1)
        if rng.random() < 0.5 and factor * min(image.size) >= LEAST_SIDE:
            resamplers = RESAMPLERS["history"]
            image = rescale(image, factor, resamplers[rng.integers(len(resamplers))])
        form = rng.choice(["JPEG", "WEBP", "PNG"], p=[0.7, 0.2, 0.1])
        quality = _quality("history", rng)
        if form == "WEBP" and max(image.size) > LARGEST_WEBP:
            form = "JPEG"
        if form != "PNG":
            image = encode(image, form, quality)
    return image


def random_look(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A picture that has lost its color in one of eight cases, and got a border in one of six.

    The border is white, black or of one color, on all sides or on two, and up to 0.15 of the shorter side wide.
    """
    if rng.random() < 1 / 8:
        image = _grey(image)
    if rng.random() < 1 / 6:
        width = max(1, round(rng.uniform(0.01, 0.15) * min(image.size)))
        color = [(255, 255, 255), (0, 0, 0), tuple(rng.integers(0, 256, 3).tolist())][rng.integers(3)]
        horizontal, vertical = [(width, width), (width, 0), (0, width)][rng.integers(3)]
        image = ImageOps.expand(image, (horizontal, vertical), color)
    return image


def random_part(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The largest part of a picture with a random aspect ratio, at a random place.

    The ratio is 1 in two of five cases and otherwise between 2:3 and 3:2, uniform in its logarithm. Most generators
    draw squares and most cameras do not: so the shape of a training picture does not tell its class.
    """
    ratio = 1.0 if rng.random() < 0.4 else float(np.exp(rng.uniform(-1, 1) * np.log(1.5)))
    width, height = min(image.width, round(image.height * ratio)), min(image.height, round(image.width / ratio))
    left, top = int(rng.integers(image.width - width + 1)), int(rng.integers(image.height - height + 1))
    return image.crop((left, top, left + width, top + height))


def _grey(image: Image.Image) -> Image.Image:
    return ImageOps.grayscale(image).convert("RGB")


VERSIONS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "as it is": lambda image: image,
    "JPEG quality 70": lambda image: encode(image, "JPEG", 70),
    "three quarters of the size": lambda image: rescale(image, 0.75),
    "a tenth cut off": lambda image: image.crop((image.width // 10, image.height // 10, *image.size)),
    "grey": _grey,
    "screenshot": lambda image: rescale(image, 0.85, Resampling.BILINEAR),
    "reposted": lambda image: encode(rescale(encode(image, "JPEG", 60), 0.8), "JPEG", 70),
}
"""Of one picture, by which it is measured whether the verdict stays. "screenshot": as the screen showed it, kept
without loss. A PNG has the same pixels."""
SQUEEZED = "squeezed"
"""A history that leaves the shape: wide and tall pictures are squeezed into a square, as the detector sees them."""
REDUCED = {f"reduced to {side} pixels": side for side in (LARGEST_SHORT_SIDE, 96, 64)}
"""Histories that leave the shape, and make small copies of a picture, by their shorter side in pixels."""


def _reduced(image: Image.Image, side: int) -> Image.Image:
    factor = side / min(image.size)
    if factor >= 1:
        return image
    return image.resize([max(side, round(factor * length)) for length in image.size], Resampling.LANCZOS)


def whole_as_seen(content: bytes, history: str | int | None, row_seed: int) -> Image.Image:
    """The middle square of a picture or of one of its `VERSIONS`, since the shape tells the class.

    Or a number draws a random part and history. `SQUEEZED` and `REDUCED` keep the shape. For versions a picture that
    was reduced for the data is first enlarged: they are made of files.
    """
    image = load_image(content)
    if history in REDUCED:
        return _reduced(image, REDUCED[history])
    if history == SQUEEZED:
        return image
    if isinstance(history, int):
        rng = np.random.default_rng([history, row_seed])
        return random_history(random_look(random_part(image, rng), rng), rng)
    if history is not None:
        image = VERSIONS[history](rescale(image, 2) if min(image.size) < 2 * LARGEST_SHORT_SIDE else image)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def cut_as_seen(content: bytes, history: str | int | None, row_seed: int, cut_size: int) -> Image.Image:
    """What a cut is taken from: the picture, one of `REDUCED` or `VERSIONS`, or by a number a random place.

    From 1 on the number also draws a history.
    """
    image = load_image(content)
    if history is None:
        return image
    if isinstance(history, str):
        return _reduced(image, REDUCED[history]) if history in REDUCED else VERSIONS[history](image)
    rng = np.random.default_rng([history, row_seed])
    if history:
        image = random_history(random_look(image, rng), rng)
    left, top = (int(rng.integers(max(0, side - cut_size) + 1)) for side in image.size)
    return image.crop((left, top, min(left + cut_size, image.width), min(top + cut_size, image.height)))


def _recode(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The image after a pass through JPEG or WebP of a random quality."""
    quality = _quality("view", rng)
    if rng.random() < 0.8:
        return encode(image, "JPEG", quality, subsampling=int(rng.integers(0, 3)))
    return encode(image, "WEBP", quality)


def _resize(image: Image.Image, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """The image at another size, by a random resampler."""
    resamplers = RESAMPLERS["view"]
    resampler = resamplers[rng.integers(len(resamplers))]
    if resampler == Resampling.NEAREST:  # alone it would alias as no camera or program does
        image = image.filter(ImageFilter.GaussianBlur(0.4 * max(image.size) / max(size)))
    return image.resize(size, resampler)


def _disturb(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The image with another brightness, contrast or saturation, or with noise."""
    enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    choice = int(rng.integers(len(enhancers) + 1))
    if choice < len(enhancers):
        return enhancers[choice](image).enhance(rng.uniform(0.3, 1.7))
    pixels = np.asarray(image) + rng.normal(0, rng.uniform(2, 20), (image.height, image.width, 3))
    return Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8))


def random_view(image: Image.Image, image_size: int, rng: np.random.Generator) -> np.ndarray:
    """A random part of an image as a square, stored and resized in a random way: an array of uint8.

    Half of the views hold as much of the image as a random aspect ratio between 3:4 and 4:3 allows, the others a part
    whose side is drawn log-uniformly. It is resized by a random resampler, perhaps over a size in between. Before or
    after that, it is perhaps stored as JPEG or WebP of a random quality. A quarter of the views get another look. Half
    end as JPEG of quality 75, 4:2:0, a quarter as they are, a quarter in another random encoding.

    Images are first brought to at most five times the wanted size: the original's size shows as little as can be.
    """
    target = (image_size, image_size)
    # Resizing would blur the finest traces of images of the wanted size.
    if image.size != target or rng.random() < 0.25:
        shrink = min(image.size) / (5 * image_size)
        if shrink > 1:
            image = image.resize([max(1, round(side / shrink)) for side in image.size], Resampling.LANCZOS)
        image = image.crop(_random_box(image.size, image_size, rng))
        stored_first = rng.random() < 0.5
        if stored_first and rng.random() < 0.5:
            image = _recode(image, rng)
        if rng.random() < 0.25:
            between = np.exp(rng.uniform(np.log(image_size), np.log(max(*image.size, image_size + 1))))
            image = _resize(image, (round(between), round(between)), rng)
        image = _resize(image, target, rng)
        if not stored_first and rng.random() < 0.5:
            image = _recode(image, rng)
    if rng.random() < 0.25:
        image = _disturb(image, rng)
    ending = rng.random()
    if ending < 0.5:
        image = recode_uniformly(image)
    elif ending < 0.75:
        image = _recode(image, rng)
    return np.array(image)


def _random_box(size: tuple[int, int], image_size: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a random part, at least `image_size` wide and high where the image is."""
    width, height = size
    aspect = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
    largest = min(width / np.sqrt(aspect), height * np.sqrt(aspect))
    smallest = min(largest, image_size * np.sqrt(max(aspect, 1 / aspect)))
    side = largest if rng.random() < 0.5 else np.exp(rng.uniform(np.log(smallest), np.log(largest)))
    box_width = min(width, max(1, round(side * np.sqrt(aspect))))
    box_height = min(height, max(1, round(side / np.sqrt(aspect))))
    left, top = int(rng.integers(width - box_width + 1)), int(rng.integers(height - box_height + 1))
    return left, top, left + box_width, top + box_height
