"""Artifacts of texture: bleeding, and noise where it does not belong."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

from .places import (
    NoPlace,
    blur,
    detail,
    distance_outside,
    edges,
    luminance,
    noise,
    offsets,
    one_of,
    pixel,
    region,
    rotated,
    sample,
    signed_distance,
    spread,
    texture,
    thing,
    unit,
)
from .registry import Changed, operator


BLED = "Texture bleeding between adjacent regions"
NOISY_PLAIN = "Artificial noise patterns in uniform surfaces"
NOISY_DETAIL = "Random noise patterns in detailed areas"


def _border_part(mask: NDArray, image: NDArray, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    """Distance in units outside an object, and weights that pick a part of its border."""
    border = ndimage.binary_dilation(mask) & ~mask
    points = np.argwhere(border & (edges(image) >= np.median(edges(image)[border])))
    rows, columns = offsets(image, *one_of(points, rng))
    part = np.clip(3 - np.hypot(rows, columns) / (3.5 * unit(image)), 0, 1)
    return distance_outside(image, mask), part


@operator(BLED, "training")
def leak_in_fingers(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """The colors at an object's border run outward in fingers of random length."""
    mask = thing(image, rng)
    distance, part = _border_part(mask, image, rng)
    length = (1.5 + 4 * severity) * (0.5 + 0.5 * np.clip(noise(image, 2 * unit(image), rng), -1, 1))
    inside = ndimage.binary_erosion(mask, iterations=max(1, round(unit(image))))
    leaked = spread(image, inside if inside.any() else mask)
    return leaked, ((distance < length) & ~mask) * part


@operator(BLED, "training")
def intermingle(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """On both sides of an object's border, pixels are taken from random places across it."""
    mask = thing(image, rng)
    _, part = _border_part(mask, image, rng)
    distance = signed_distance(mask)
    normals = np.stack(np.gradient(blur(distance, unit(image))))
    reach = (1.5 + 3.5 * severity) * unit(image)
    shift = reach * np.clip(noise(image, 1.4 * unit(image), rng), -1, 1) * normals
    rows, columns = offsets(image, 0, 0)
    return sample(image, rows + shift[0], columns + shift[1], order=0), (abs(distance) < reach) * part


@operator(BLED, "training")
def slide_texture_out(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """An object's texture goes on beyond its border as if the object lay there too, with a ragged end."""
    mask = thing(image, rng)
    _, part = _border_part(mask, image, rng)
    outward = np.subtract(ndimage.center_of_mass(part * ~mask), ndimage.center_of_mass(mask))
    outward *= (3 + 4 * severity) * unit(image) / max(np.hypot(*outward), 1e-6)
    rows, columns = offsets(image, *outward)
    arrived = sample(mask, rows, columns)
    ragged = np.clip(1.2 * arrived + 0.5 * noise(image, 2 * unit(image), rng), 0, 1)
    return sample(image, rows, columns), ragged * (arrived > 0) * ~mask * part * (0.4 + 0.6 * severity)


@operator(BLED, "training")
def show_through(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """The fine contrast of an object lies over the colors beside it too, or theirs over its own."""
    mask = thing(image, rng)
    _, part = _border_part(mask, image, rng)
    from_inside = rng.random() < 0.5
    source, target = (mask, ~mask) if from_inside else (~mask, mask)
    shift = np.subtract(ndimage.center_of_mass(part * target), ndimage.center_of_mass(part * source))
    rows, columns = offsets(image, *shift)
    relief = luminance(image) - blur(luminance(image), 1.5 * unit(image))
    arrived = sample(relief, rows, columns)[..., None]
    soft = blur(image, 0.7 * unit(image))
    return soft + (0.8 + 1.6 * severity) * arrived, target * part * (0.4 + 0.6 * severity)


def _adjacent(image: NDArray, rng: np.random.Generator) -> tuple[NDArray, NDArray, NDArray]:
    """Mask of an area beside one of other color, a thing or a range of tones, and what `_border_part` gives for it."""
    scale, tones = unit(image), rng.random() < 0.5
    if tones:
        tone = blur(image, 1.6 * scale) @ rng.dirichlet([1, 1, 1])
        mask = tone > np.quantile(tone, rng.uniform(0.35, 0.65))
        mask = ndimage.binary_closing(ndimage.binary_opening(mask, iterations=round(scale)), iterations=round(scale))
        if not mask.any() or mask.all():
            raise NoPlace
    else:
        mask = thing(image, rng)
    mask = mask if rng.random() < 0.5 else ~mask
    for _ in range(12):
        distance, part = _border_part(mask, image, rng)
        beside = (distance < 6) & ~mask & (part > 0.5)
        source = (signed_distance(mask) > -5 * scale) & mask & (part > 0.5)
        if beside.sum() > 50 * scale**2 and source.sum() > 30 * scale**2:
            if np.linalg.norm(image[source].mean(0) - image[beside].mean(0)) > 0.27:
                return mask, distance, part
    raise NoPlace


def _outward(part: NDArray, mask: NDArray) -> NDArray:
    """Row and column of a vector of length 1 from an area to its neighbor, at a part of their border."""
    outward = np.subtract(ndimage.center_of_mass(part * ~mask), ndimage.center_of_mass(part * mask))
    return outward / max(np.hypot(*outward), 1e-6)


@operator(BLED, "training")
def run_with_the_wind(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """An area runs over its border all in one direction, in drips, streaks or a wash, smeared or with its texture."""
    mask, _, part = _adjacent(image, rng)
    scale, steps = unit(image), np.arange(1, 12)
    angle = np.arctan2(*_outward(part, mask)) + rng.uniform(-0.9, 0.9)
    sine, cosine = np.sin(angle), np.cos(angle)
    rows, columns = offsets(image, 0, 0)
    hit = [sample(mask, rows - s * scale * sine, columns - s * scale * cosine, order=0) > 0.5 for s in steps]
    far = np.where(np.any(hit, 0), 1 + np.argmax(hit, 0), 99)
    lane = (rows * cosine - columns * sine) / scale
    grain = rng.uniform(0.8, 3)
    lengths = np.interp(lane / grain, np.arange(-60, 60), rng.uniform(0.2, 1, 120) ** rng.choice([0.3, 1, 2]))
    back = scale * ((far, 0 * far + 10)[rng.integers(2)] + rng.uniform(0.5, 1.5))
    left = np.clip(1.5 + lengths * rng.uniform(6, 11) - far, 0, 1)
    fade = (1 - np.clip(far / 12, 0, 1)) ** rng.choice([0, 1])
    arrived = sample(image, rows - back * sine, columns - back * cosine)
    return arrived, left * fade * ~mask * part * (0.2 + 0.8 * severity)


@operator(BLED, "training")
def islands_beyond(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Spots, flecks or streaks of an area's texture lie in its neighbor, fewer and smaller farther from the border."""
    mask, distance, part = _adjacent(image, rng)
    scale, angle = unit(image), rng.uniform(0, np.pi)
    arrived = sample(image, *offsets(image, *(rng.uniform(7, 10) * scale * _outward(part, mask))))
    points = np.argwhere((distance < rng.uniform(5, 9)) & ~mask & (part > 0.3))
    if len(points) == 0:
        raise NoPlace
    points = points[np.argsort(distance[tuple(points.T)], kind="stable")]
    size, long, power = rng.uniform(1.1, 2.3), rng.uniform(1, 2.5), rng.choice([1, 2, 8])
    weight = np.zeros(mask.shape)
    for center in points[(rng.random(rng.integers(8, 20)) ** 1.5 * len(points)).astype(int)]:
        along, across = rotated(*offsets(image, *center), angle + 0.4 * rng.normal())
        radius = scale * size * rng.uniform(0.6, 1.3) * (1.2 - 0.08 * distance[tuple(center)])
        reach = (abs(along / (radius * long)) ** power + abs(across / radius) ** power) ** (1 / power)
        weight = np.maximum(weight, np.clip(2.5 * (1.2 - reach), 0, 1))
    return arrived, weight * ~mask * (0.2 + 0.8 * severity)


@operator(BLED, "evaluation")
def mirror_across_border(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """An object's texture, mirrored at its border, fades out over its surroundings."""
    mask = thing(image, rng)
    distance, part = _border_part(mask, image, rng)
    nearest = ndimage.distance_transform_edt(~mask, return_distances=False, return_indices=True)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    mirrored = sample(image, 2.0 * nearest[0] - rows, 2.0 * nearest[1] - columns)
    fade = np.clip(1.3 - distance / (2.5 + 4 * severity), 0, 1)
    return mirrored, np.minimum(fade, 0.4 + 0.6 * severity) * ~mask * part


@operator(NOISY_PLAIN, "training")
def grain_on_plain(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    weight = region(-detail(image), rng, at_least=-0.04, size=(0.16, 0.3))
    grain = noise(image, 0.6 * pixel(image), rng, channels=3)
    return image + (0.02 + 0.1 * severity) * grain, np.minimum(2 * weight, 1)


@operator(NOISY_PLAIN, "evaluation")
def speckles_on_plain(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Sparse dark and bright specks of a single size."""
    weight = region(-detail(image), rng, at_least=-0.04, size=(0.16, 0.3))
    size = max(1, round(pixel(image)))
    values = rng.random([-(-length // size) for length in image.shape[:2]])
    cells = np.kron(values, np.ones((size, size)))[: image.shape[0], : image.shape[1]]
    specks = (cells < 0.15).astype(np.float32) - (cells > 0.85)
    return image + (0.03 + 0.29 * severity) * specks[..., None], np.minimum(2 * weight, 1)


def _detailed_place(image: NDArray, rng: np.random.Generator) -> NDArray:
    weight = region(texture(image), rng, at_least=0.03, size=(0.22, 0.36))
    return np.minimum(2 * weight, 1)


@operator(NOISY_DETAIL, "training")
def grain_on_detail(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    weight = _detailed_place(image, rng)
    grain = noise(image, 0.6 * pixel(image), rng, channels=3)
    return image + (0.02 + 0.16 * severity) * grain, weight


@operator(NOISY_DETAIL, "training")
def color_noise_on_detail(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Noise in the colors alone, as of a picture taken in the dark."""
    weight = _detailed_place(image, rng)
    grain = noise(image, 0.6 * pixel(image), rng, channels=3)
    colors = grain - luminance(grain)[..., None]
    return image + (0.04 + 0.3 * severity) * colors, weight


@operator(NOISY_DETAIL, "training")
def flicker_on_detail(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Every grain is brighter or darker by a factor of its own."""
    weight = _detailed_place(image, rng)
    strength = 0.08 + 0.5 * severity
    factor = np.exp(strength * noise(image, 0.6 * pixel(image), rng) - strength**2 / 2)  # 1 in the mean
    return image * factor[..., None], weight


@operator(NOISY_DETAIL, "training")
def dither_detail(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Each channel has few values, and every pixel is rounded to the one below or above at random."""
    weight = _detailed_place(image, rng)
    step, chance = 0.1 + 0.35 * severity, special.ndtr(noise(image, 0.6 * pixel(image), rng, channels=3))
    return np.floor(image / step + chance) * step, weight


def _busy(image: NDArray, rng: np.random.Generator) -> NDArray:
    """Weights of one detailed area, or of all fine structure of the image."""
    if rng.random() < 0.5:
        return _detailed_place(image, rng)
    busy = blur(texture(image), 0.5 * unit(image))
    least = max(0.035, np.quantile(busy, rng.uniform(0.5, 0.8)))
    if busy.max() < 0.04:
        raise NoPlace
    return np.clip(2 * (busy / least - 0.75), 0, 1)


@operator(NOISY_DETAIL, "training")
def pepper_detail(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Random pixels or short dashes in fine structure are black or white, gaudy or inverted."""
    weight = _busy(image, rng)
    share, grain = rng.uniform(0.12, 0.4), rng.choice([0.6, 0.6, 1.8]) * pixel(image)
    chance = noise(image, grain, rng)
    dash = rng.integers(4)
    if dash < 2:
        chance = ndimage.maximum_filter1d(chance, max(2, round(rng.uniform(1.5, 2.5) * pixel(image))), axis=dash)
    hit = chance > np.quantile(chance, 1 - share)
    salt = np.where(noise(image, grain, rng) > rng.uniform(-1, 1), 1.0, 0.0)[..., None] * np.ones(3)
    gaudy = np.clip(0.5 + 0.5 * noise(image, grain, rng, channels=3), 0, 1)
    speck = (salt, gaudy, 1 - image)[rng.integers(3)]
    return image + (0.1 + 0.75 * severity) * (speck - image), weight * hit


@operator(NOISY_DETAIL, "training")
def noise_mixture_on_detail(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A mixture of noises lies over fine structure: gray and colored, sparse or even, streaked, strongest at edges."""
    weight = _busy(image, rng)
    grain, tail, hue = rng.choice([0.6, 1.3]) * pixel(image), rng.uniform(0.5, 1.6), rng.uniform(0, 1.2)
    field = noise(image, grain, rng)[..., None] + hue * noise(image, grain, rng, channels=3) * rng.uniform(0, 1, 3)
    axis = rng.integers(4)
    if axis < 2:
        field = ndimage.gaussian_filter1d(field, 0.8 * pixel(image), axis=axis)
    field = np.sign(field) * abs(field) ** tail
    at_edges = rng.choice([0, 1]) * (blur(edges(image), 0.6 * unit(image)) / edges(image).max() * 2 - 0.6)
    field = field * np.exp(at_edges)[..., None]
    return image + (0.02 + 0.24 * severity) * np.clip(field / field[weight > 0.5].std(), -3, 3), weight


@operator(NOISY_DETAIL, "evaluation")
def scramble_detail(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Takes pixels from somewhere near them."""
    weight = _detailed_place(image, rng)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]].astype(float)
    shift = (1 + 1.5 * severity) * pixel(image) * rng.standard_normal((2, *image.shape[:2]))
    shift = shift * (rng.random(image.shape[:2]) < 0.1 + 0.9 * severity)
    return sample(image, rows + shift[0], columns + shift[1], order=0), weight
