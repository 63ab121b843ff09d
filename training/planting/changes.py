"""What is done to an image: ink and light, color, displacement, filters, outlines, parts carried off.

A change takes an image, a place, the map of a pattern (`form`), an amount and a generator. It returns the changed
image, and may return weights of its own with it.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage, special

from . import pixels as px
from .patterns import beyond_line, cells
from .pixels import Rng, unit
from .places import NoPlace, background, end_of
from .registry import Changed


NEAREST, BOX, BICUBIC = Image.Resampling.NEAREST, Image.Resampling.BOX, Image.Resampling.BICUBIC


def _local_extremes(image: NDArray, size: int) -> NDArray:
    """Halfway between the brightest and the darkest of the surroundings."""
    return (ndimage.maximum_filter(image, (size, size, 1)) + ndimage.minimum_filter(image, (size, size, 1))) / 2


def _cast(rng: Rng) -> NDArray:
    return px.direction(rng.uniform(0, 2 * np.pi))


def _around(image: NDArray, share: float, turn: float) -> NDArray:
    """Smeared away from the middle, or around it."""
    rows, columns = px.offsets(image, image.shape[0] / 2, image.shape[1] / 2)
    return px.smear(image, *(share * offset for offset in px.rotated(rows, columns, turn)))


def _sharper(image: NDArray, size: float, factor: float) -> NDArray:
    return image + factor * (image - px.blur(image, size))


def _even(image: NDArray, size: float) -> NDArray:
    """Fine contrast at the same height everywhere."""
    fine = image - px.blur(image, size)
    return image + 0.14 * fine / (np.sqrt(px.blur((fine**2).mean(-1, keepdims=True), 3 * size)) + 0.01)


def _mosaic(image: NDArray, size: float, rng: Rng) -> NDArray:
    """Irregular cells, each of one color."""
    cell = cells(image, 1.5 * size, rng)[0]
    numbers = np.arange(cell.max() + 1)
    return np.stack([ndimage.mean(channel, cell, numbers)[cell] for channel in np.moveaxis(image, -1, 0)], -1)


# Each of an image, a size in pixels and a generator.
FILTERS: dict[str, Callable[[NDArray, float, Rng], NDArray]] = {
    "gaussian": lambda image, size, rng: px.blur(image, size),
    "disc": lambda image, size, rng: px.disc_blur(image, 1.5 * size),
    "motion": lambda image, size, rng: px.smear(image, *(3 * size * _cast(rng)[1:])),
    "zoom": lambda image, size, rng: _around(image, size / unit(image) / 8, rng.choice([0, np.pi / 2])),
    "thumbnail": lambda image, size, rng: px.resized(image, 2 * size, BOX, BICUBIC),
    "halfway": lambda image, size, rng: px.blur(_local_extremes(image, 2 * round(size) + 1), 0.5 * unit(image)),
    "weak band": lambda image, size, rng: image - px.blur(image, size / 3) + px.blur(image, 1.3 * size),
    "blocks": lambda image, size, rng: px.resized(image, size, BOX, NEAREST),
    "mosaic": _mosaic,
    "ringing": lambda image, size, rng: _sharper(px.resized(image, size, BOX, BICUBIC), size, 0.6),
    "points": lambda image, size, rng: px.resized(image, max(2, size), NEAREST, NEAREST),
    "unsharp mask": lambda image, size, rng: _sharper(image, size, 3),
    "even contrast": lambda image, size, rng: _even(image, size),
}


def filtered(
    image: NDArray, place: NDArray, form: NDArray | None, amount: float, rng: Rng, kinds: str, toward: float = 0
) -> NDArray:
    """One of several filters, of `amount` units; or of `toward` pixels and mixed in by the amount."""
    kind = FILTERS[rng.choice(kinds.split(", "))]
    source = px.spread(image, place) if place.dtype == bool else image
    if toward:
        return image + amount * (kind(source, toward * px.pixel(image), rng) - image)
    return kind(source, amount * unit(image), rng)


def focus(image: NDArray, place: NDArray, form: NDArray, amount: float, rng: Rng) -> Changed:
    """Blur of up to `amount` units, by how far the map is above 0."""
    half, full = (px.blur(image, share * amount * unit(image)) for share in (0.5, 1))
    # From sharp over half to full, as mixing sharp with full would look like mist.
    return half + np.clip(2 * form - 1, 0, 1)[..., None] * (full - half), np.clip(2 * form, 0, 1)


def diffuse(image: NDArray, place: NDArray, form: None, amount: float, rng: Rng) -> NDArray:
    """Smooths within surfaces, not across edges (Perona & Malik, 1990)."""
    changed = image.astype(np.float64)
    for _ in range(round(amount * px.pixel(image))):
        for axis in (0, 1):
            step = np.diff(changed, axis=axis, append=np.take(changed, [-1], axis))
            step *= 0.24 * np.exp(-((np.linalg.norm(step, axis=-1, keepdims=True) / 0.13) ** 2))
            changed += np.diff(step, axis=axis, prepend=0)
    return changed


def drop_small_contrasts(image: NDArray, place: NDArray, form: None, amount: float, rng: Rng) -> NDArray:
    """In each band of frequencies small contrasts vanish, large ones remain."""
    changed, finer = np.zeros_like(image), image
    for sigma in (0.6, 1.2, 2.4):
        coarser = px.blur(image, sigma * px.pixel(image))
        power = ((finer - coarser) ** 2).sum(-1, keepdims=True)
        changed, finer = changed + (finer - coarser) * power / (power + amount**2), coarser
    return changed + finer


def dither(image: NDArray, place: NDArray, form: None, amount: float, rng: Rng) -> NDArray:
    """Each channel has few values, and every pixel is rounded to the one below or above at random."""
    return np.floor(image / amount + special.ndtr(px.noise(image, 0.6 * px.pixel(image), rng, 3))) * amount


def brighten(image: NDArray, place: NDArray, form: NDArray, amount: float, rng: Rng) -> NDArray:
    return image + (amount * form if form.ndim == 3 else (amount * form)[..., None])


def multiply(image: NDArray, place: NDArray, form: NDArray, amount: float, rng: Rng) -> NDArray:
    return image * (1 + amount * form[..., None])


def expose(image: NDArray, place: NDArray, form: NDArray, amount: float, rng: Rng, hue: float = 0) -> NDArray:
    """More and less light, by channels that differ by up to a share."""
    return image * np.exp(amount * (form if form.ndim == 3 else form[..., None]) * rng.uniform(1 - hue, 1, 3))


def ink(image: NDArray, place: NDArray, form: NDArray, amount: float, rng: Rng) -> NDArray:
    """Black or white, whichever stands out."""
    color = 0 if px.luminance(image)[place > 0].mean() > 0.4 else 1
    return image + amount * np.clip(form, 0, 1)[..., None] * (color - image)


def imprint(image: NDArray, place: NDArray, form: NDArray, amount: float, rng: Rng) -> NDArray:
    """A pattern in brightness, color, sharpness or saturation."""
    gray, fine = px.luminance(image)[..., None], image - px.blur(image, 1.5 * unit(image))
    pattern, color = rng.choice([-1, 1]) * amount * form[..., None], rng.uniform(-0.5, 1, 3)
    ways = (
        image + 0.3 * pattern * color / abs(color).max(),
        image + pattern * (3 * fine + 0.16),
        gray + (image - gray) * np.exp(1.8 * pattern) + 0.16 * pattern,
    )
    return ways[rng.integers(3)]


def shine(image: NDArray, place: NDArray, form: NDArray, amount: float, rng: Rng) -> Changed:
    return np.ones_like(image), form


def speckle(image: NDArray, place: NDArray, form: NDArray, amount: float, rng: Rng) -> Changed:
    """What a map of noise is highest at is black, white, gaudy or inverted."""
    hit = form[..., 0] > np.quantile(form[..., 0], 1 - rng.uniform(0.12, 0.4))
    gaudy = np.clip(0.5 + 0.5 * px.noise(image, 0.6 * px.pixel(image), rng, 3), 0, 1)
    speck = (np.round(gaudy[..., :1] + 0 * image), gaudy, 1 - image)[rng.integers(3)]
    return image + amount * (speck - image), place * hit


def mix_screen(image: NDArray, place: NDArray, form: NDArray, amount: float, rng: Rng) -> Changed:
    """Light as of a second exposure, tinted by what is around."""
    color = 0.75 + 0.25 * px.blur(image, 3 * unit(image))
    return 1 - (1 - image) * (1 - amount * form[..., None] * color), (form > 0.12).astype(float)


def mirror(image: NDArray, place: NDArray, form: NDArray, amount: float, rng: Rng) -> NDArray:
    """A reflection in a smooth surface."""
    return np.clip(px.blur(image, 0.8 * unit(image)) + 1.1 * (form[..., None] - 0.5), 0, 1)


def _lamp(rng: Rng) -> NDArray:
    """Color of a light, white or tinted."""
    color = 1 - rng.random() ** 2 * rng.uniform(0, 1, 3)
    return color / color.max()


def light_up(image: NDArray, place: NDArray, form: NDArray, amount: float, rng: Rng) -> Changed:
    """Light, of a lamp or of the thing's own color, as a veil, as a double exposure or as a lamp on what is there."""
    own = px.blur(px.spread(image, place > 0), unit(image))
    color = _lamp(rng) if rng.random() < 0.7 else own / np.maximum(own.max(-1, keepdims=True), 0.1)
    light = amount * np.clip(form, 0, 1)[..., None]
    ways = (
        image + 0.9 * light * (color - image),
        1 - (1 - image) * (1 - 0.85 * light * color),
        image * (1 + 1.5 * light * color) + 0.45 * light * color,
    )
    return ways[rng.integers(3)], (form > 0.06).astype(float)


def stage(image: NDArray, place: NDArray, form: NDArray, amount: float, rng: Rng) -> NDArray:
    """Night, black or tinted, but where it is lit, by light that falls on things or hangs in the air."""
    night, air = rng.uniform(0.12, 0.32) * (1 - rng.uniform(0, 0.6) * rng.random(3)), rng.uniform(0.05, 0.55)
    lit = np.clip(form, 0, 1)[..., None] * _lamp(rng)
    return image + amount * (image * (night + (1.35 - air) * lit) + air * lit - image)


def bend_tones(image: NDArray, place: NDArray, form: NDArray, amount: float, rng: Rng) -> NDArray:
    """Middle tones or the black level, or something of both, rise and sink, by channels that differ."""
    along, share = form[..., None] * (1 + rng.uniform(-0.5, 0.5, 3)), rng.random()
    return image + amount * (share * image ** np.exp(-along) + (1 - share) * (image + 0.32 * along) - image)


def run_through_hues(image: NDArray, place: NDArray, form: NDArray, amount: float, rng: Rng) -> NDArray:
    """From place to place the light has another hue."""
    stretch = rng.uniform(0.8, 2.5) * rng.choice([-1, 1]) * form[..., None]
    tint = np.cos(rng.uniform(0, 2 * np.pi) + stretch + np.array([0, 2.1, 4.2]))
    return image * np.exp(0.6 * amount * (tint - 0.7 * tint.mean((0, 1))))


def _vivid(image: NDArray, factor: float) -> NDArray:
    gray = px.luminance(image)[..., None]
    return gray + factor * (image - gray)


def _without_haze(image: NDArray, rng: Rng) -> NDArray:
    """Haze that is not there is taken away, by the darkest channel of the surroundings (He et al., 2009)."""
    darkest = ndimage.minimum_filter(image.min(-1), 2 * round(rng.uniform(1.5, 3) * unit(image)) + 1)
    haze = 0.8 * px.blur(darkest, 1.5 * unit(image))[..., None]
    return _vivid((image - haze) / np.maximum(1 - haze, 0.2), 1.5)


def _lifted_off_base(image: NDArray, rng: Rng) -> NDArray:
    """The detail is raised off a base, coarse or fine, and colors with it, as in photographs called HDR."""
    luma, size = px.luminance(image), rng.uniform(1.2, 4) * unit(image)
    coarse = ndimage.median_filter(luma, 2 * round(size) + 1) if unit(image) < 2 else px.blur(luma, size)
    base = (px.blur(luma, size), coarse)[rng.integers(2)]
    lifted = np.clip(luma + 1.4 * (luma - base), 0, 1) + 0.03
    return _vivid(image * (lifted / (luma + 0.03))[..., None], rng.uniform(1.3, 2))


def _two_hues(image: NDArray, rng: Rng) -> NDArray:
    """Two opposite hues, one for the shadows and one for the lights."""
    ycc, hue = px.to_ycc(image), _cast(rng)
    along = ycc @ hue + 0.4 * (ycc[..., 0] - np.median(ycc[..., 0]))
    return px.to_rgb(ycc * [1, 0.1, 0.1] + along[..., None] * hue)


def _mixed(image: NDArray, rng: Rng) -> NDArray:
    """Each channel takes something of the others, or loses it."""
    mixture = rng.standard_normal((3, 3))
    return image + image @ (mixture - np.trace(mixture) / 3 * np.eye(3)) / np.linalg.norm(mixture)


# Each of an image and a generator, at full strength.
COLORS: dict[str, Callable[[NDArray, Rng], NDArray]] = {
    "exponents": lambda image, rng: image**2 ** rng.permutation([-1.1, rng.uniform(-0.6, 0.6), 1.1]),
    "gains": lambda image, rng: image * np.exp(rng.choice([-1, 1]) * rng.permutation([-0.35, 0.35, -0.35])),
    "contrasts": lambda image, rng: (
        image + rng.permutation([1.1, rng.uniform(-0.4, 0.4), -0.75]) * (image - image.mean((0, 1)))
    ),
    "wrong bath": lambda image, rng: (
        image
        + rng.permutation([1.0, -1.0, 0.0]) * np.sin(2 * np.pi * (image - 0.5)) / 5
        + rng.uniform(-1, 1, 3) * image * (1 - image)
    ),
    "mixed": _mixed,
    "turned": lambda image, rng: px.to_rgb(
        px.turn_hue(px.to_ycc(image), rng.choice([-1, 1]) * rng.uniform(0.6, 1.5)) + 0.1 * _cast(rng)
    ),
    "two hues": _two_hues,
    "false": lambda image, rng: np.stack([image.max(-1), 1 - px.luminance(image), image.min(-1)], -1)[
        ..., rng.permutation(3)
    ],
    "clear": lambda image, rng: _vivid(image + 0.8 * (image - px.blur(image, rng.uniform(3, 6) * unit(image))), 2),
    "no haze": _without_haze,
    "lifted": _lifted_off_base,
}


def recast(image: NDArray, place: NDArray, form: None, amount: float, rng: Rng, kinds: str) -> NDArray:
    """The image goes toward one of several versions of itself with other colors."""
    return image + amount * (COLORS[rng.choice(kinds.split(", "))](image, rng) - image)


def recolor(image: NDArray, place: NDArray, form: NDArray, amount: float, rng: Rng) -> Changed:
    """Hues turned, channels exchanged and tinted, or colors bleached or only tinted, where a map says so."""
    ycc = px.turn_hue(px.to_ycc(image[..., rng.permutation(3)]), rng.choice([-1, 1]) * rng.uniform(0.3, 1) * np.pi)
    ycc[..., 0] = 0.75 * px.luminance(image) + rng.uniform(0.08, 0.16)  # white and black could take no tint
    tint = px.to_rgb(rng.uniform(0.2, 0.3) * _cast(rng))
    other = (px.to_rgb(ycc) + tint, px.to_rgb(ycc) + tint, image + tint, _vivid(image, 0))[rng.integers(4)]
    return other, place * form * amount


def quantize(image: NDArray, place: NDArray, form: None, amount: float, rng: Rng) -> NDArray:
    """A soft course is reduced to a few colors, or to a few tints of the brightness that goes on."""
    ycc = px.to_ycc(image)
    soft, step = px.blur(ycc, 0.8 * unit(image)), amount * np.array([1, 0.6, 0.6])
    bands = np.round(soft / step + rng.random(3)) * step
    bands += (place[..., None] * (soft - bands)).sum((0, 1)) / place.sum()
    return px.to_rgb(bands if rng.random() < 0.5 else ycc * [1, 0, 0] + bands * [0, 1.5, 1.5])


def band(image: NDArray, place: NDArray, form: NDArray, amount: float, rng: Rng) -> NDArray:
    """A course falls into bands of unequal width, each off in tint and brightness, with hard or speckled borders."""
    offs = rng.standard_normal((13, 3))
    offs -= 0.5 * np.roll(offs, 1, axis=0)  # neighbors differ
    offs /= np.linalg.norm(offs, axis=-1, keepdims=True)
    dithered = form + rng.choice([0, 0.25]) * px.noise(image, unit(image), rng)
    return image + px.to_rgb(amount * offs[np.searchsorted(np.cumsum(rng.uniform(0.25, 1.3, 12)) - 3.5, dithered)])


def part_channels(image: NDArray, place: NDArray, form: None, amount: float, rng: Rng) -> NDArray:
    """Along a soft course of colors, each channel runs ahead of the others or behind them."""
    soft, angle = px.blur(image, unit(image)), rng.uniform(0, 2 * np.pi)
    ahead = rng.permutation([-1.0, rng.uniform(-0.3, 0.3), 1.0]) * (1.5 + 5 * amount) * unit(image)
    places = (
        np.stack(px.offsets(image, 0, 0))[..., None]
        + ahead * np.array([np.sin(angle), np.cos(angle)])[:, None, None, None]
    )
    moved = [px.sample(soft[..., channel], *places[..., channel]) for channel in range(3)]
    return image + (1 + amount) * (np.stack(moved, -1) - soft)


def tint_sides(image: NDArray, place: NDArray, form: NDArray, amount: float, rng: Rng) -> NDArray:
    """One tint near a border on one side and another on the other."""
    near = np.exp(-((px.signed_distance(form > 0.5) / 4 / unit(image)) ** 2))[..., None]
    return px.to_rgb(px.to_ycc(image) + amount * near * np.where(form[..., None] > 0.5, _cast(rng), _cast(rng)))


def jump(image: NDArray, place: NDArray, form: NDArray, amount: float, rng: Rng) -> NDArray:
    """From some point of a course on, one or two channels jump or dip and return, once or often."""
    past = (form - rng.uniform(-0.6, 0.4)) * rng.choice([-1, 1])
    jumps = (
        np.clip(1 - abs(past) / 0.9, 0, 1),
        (past > 0) * np.exp(-1.2 * abs(past)),
        (past > 0) * (1 - 1.5 * past % 1),
    )
    return image + amount * jumps[rng.integers(3)][..., None] * rng.permutation([1, 0, rng.choice([-1, 0])])


def resample(image: NDArray, place: NDArray, form: NDArray, amount: float, rng: Rng) -> NDArray:
    """What is at other coordinates."""
    return px.sample(image, *form)


def displace(image: NDArray, place: NDArray, form: NDArray, amount: float, rng: Rng) -> Changed:
    """What is at other coordinates, where these are others, with a dark or bright seam or none."""
    moved = np.hypot(*(form - px.offsets(image, 0, 0))) > 0.3
    seam = px.blur(ndimage.morphological_gradient(moved.astype(float), 3), 0.5 * unit(image))[..., None]
    changed = px.sample(px.spread(image, place) if place.dtype == bool else image, *form)
    return changed + rng.choice([0, 0, 0.8]) * seam * (rng.integers(2) - changed), (place > 0) * moved * 1.0


def redraw(image: NDArray, place: NDArray, form: NDArray, amount: float, rng: Rng) -> Changed:
    """Gives an object another outline, with colors from its inside and from around it."""
    size = max(1, round(0.7 * unit(image)))
    inside = ndimage.binary_erosion(place, iterations=size) if place.sum() > 20 else place
    outside = ndimage.binary_erosion(~place, iterations=size)
    inner = px.spread(image, inside if inside.any() else place)
    outer = px.spread(image, outside if outside.any() else ~place)
    # The border pixels of the old outline hold a mixture of both sides, so they are drawn anew.
    border = ndimage.binary_dilation(place, iterations=size) & ~ndimage.binary_erosion(place, iterations=size)
    near = ndimage.binary_dilation(place != form, np.ones((3, 3)), iterations=2 * size)
    return np.where(form[..., None], inner, outer), ((place != form) | (border & near)).astype(float)


def redraw_by_map(image: NDArray, place: NDArray, form: NDArray, amount: float, rng: Rng) -> Changed:
    """Moves an outline out and in by up to `amount` units, as a map says."""
    return redraw(image, place, px.signed_distance(place) < amount * unit(image) * form, amount, rng)


def redraw_by_cells(image: NDArray, place: NDArray, form: None, amount: float, rng: Rng) -> Changed:
    """An outline goes toward the sides of cells: of a lattice, of bricks, of honeycomb or of splinters."""
    cell = cells(image, rng.uniform(3.5, 6) * unit(image), rng)[0]
    stepped = ndimage.mean(place, cell, np.arange(cell.max() + 1))[cell] > 0.5
    if not stepped.any():
        raise NoPlace
    between = (1 - amount) * px.signed_distance(place) + amount * px.signed_distance(stepped)
    return redraw(image, place, between < 0, amount, rng)


def carry_off(image: NDArray, place: NDArray, form: None, amount: float, rng: Rng) -> Changed:
    """The end of an object, or a piece, hangs elsewhere, turned, of another size, and is missing at home or not."""
    beyond = beyond_line(image, place, rng)[0]
    end = place & (beyond > np.quantile(beyond[place], rng.uniform(0.6, 0.9)))
    apart = ndimage.distance_transform_edt(~place) / unit(image)
    frame = np.pad(np.ones(np.array(place.shape) - 2, bool), 1)
    inner, radius = ndimage.distance_transform_edt(frame) / unit(image), np.sqrt(end.sum() / np.pi) / unit(image)
    size = min(rng.uniform(0.7, 1.3), 4.5 / radius)
    free = (apart > rng.uniform(1, 2) + size * radius) & (inner > min(4, 1 + size * radius))
    if not free.any():
        raise NoPlace
    target, source = px.one_of(np.argwhere(free), rng), ndimage.center_of_mass(end)
    rows, columns = np.asarray(px.rotated(*px.offsets(image, *target), rng.uniform(-2, 2))) / (size * amount)
    arrived = px.sample(end, source[0] + rows, source[1] + columns)
    arrived *= (np.hypot(rows, columns) < 4 * radius * unit(image)) & ~place
    left = ndimage.binary_dilation(end, iterations=max(1, round(unit(image)))) & ~(place & ~end) & (rng.random() < 0.5)
    carried = px.sample(image, source[0] + rows, source[1] + columns)
    return np.where(arrived[..., None] > 0, carried, background(image, place)), np.maximum(arrived, left)


def crumble(image: NDArray, place: NDArray, form: NDArray, amount: float, rng: Rng) -> Changed:
    """The end of an object falls apart into islands, or crumbs of it hang around it on one side."""
    end = end_of(image, place, amount, rng.uniform(0, 2 * np.pi))
    if rng.random() < 0.5:
        return background(image, place), end * np.maximum(form, ~place)
    near = ndimage.distance_transform_edt(~place) / unit(image)
    along = px.position_along(image, rng.uniform(0, 2 * np.pi))
    return px.spread(image, place), form * (near > 1.5) * (near < 7) * (along > np.median(along[place])) * amount
