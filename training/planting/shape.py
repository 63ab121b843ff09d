"""Artifacts of shape: breaks, parts in the wrong place, duplicates."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .places import (
    NoPlace,
    background,
    blur,
    detail,
    distance_outside,
    edges,
    end_beyond_line,
    is_inside,
    luminance,
    moved_by,
    noise,
    offsets,
    one_of,
    position_along,
    region,
    rotated,
    sample,
    some_of,
    spread,
    subject,
    thing,
    unit,
)
from .registry import Changed, operator


BROKEN = "Discontinuous surfaces"
GHOST = "Ghosting effects: Semi-transparent duplicates of elements"
FLOATING = "Floating or disconnected components"


@operator(BROKEN, "training")
def slip_along_fault(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """One half of a disc is displaced along the line between the halves."""
    weight = region(edges(image), rng, 0.07, size=(0.24, 0.36))
    # Along the strongest gradient (structure tensor), as a surface that slips along its own stripes looks whole.
    slope_rows, slope_columns = np.gradient(luminance(blur(image, 0.6 * unit(image))))
    tensor = [(weight * product).sum() for product in (slope_rows * slope_columns, slope_columns**2 - slope_rows**2)]
    angle = 0.5 * np.arctan2(2 * tensor[0], tensor[1]) + rng.uniform(-0.4, 0.4) + np.pi * rng.integers(0, 2)
    rows, columns = offsets(image, *ndimage.center_of_mass(weight))
    across = rows * np.cos(angle) - columns * np.sin(angle)
    shift = (1 + 3.5 * severity) * unit(image)
    all_rows, all_columns = np.mgrid[: image.shape[0], : image.shape[1]]
    moved = sample(image, all_rows - shift * np.sin(angle), all_columns - shift * np.cos(angle))
    return moved, ((weight > 0) & (across > 0)).astype(float)


@operator(BROKEN, "training")
def leave_out_strip(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A strip is missing: what is on its two sides meets along a line."""
    weight = region(edges(image), rng, 0.07, size=(0.24, 0.36))
    angle, (row, column) = rng.uniform(0, 2 * np.pi), ndimage.center_of_mass(weight)
    rows, columns = offsets(image, row, column)
    across = rows * np.sin(angle) + columns * np.cos(angle)
    shift = (1.2 + 3.3 * severity) * unit(image)
    all_rows, all_columns = np.mgrid[: image.shape[0], : image.shape[1]]
    nearer = sample(image, all_rows + shift * np.sin(angle), all_columns + shift * np.cos(angle))
    return nearer, ((weight > 0) & (across > 0)).astype(float)


@operator(BROKEN, "training")
def enlarge_disc(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A disc shows its middle enlarged, so that nothing goes on across its rim."""
    weight = region(edges(image), rng, 0.07, size=(0.16, 0.28))
    row, column = ndimage.center_of_mass(weight > 0)
    rows, columns = offsets(image, row, column)
    factor = 1.25 + 0.9 * severity
    return sample(image, row + rows / factor, column + columns / factor), (weight > 0).astype(float)


@operator(BROKEN, "training")
def slide_strips(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Neighboring strips of a surface slide along each other, each the other way."""
    weight = region(edges(image), rng, 0.07, size=(0.22, 0.34))
    angle, width = rng.uniform(0, np.pi), rng.uniform(3, 5) * unit(image)
    strip = np.floor(position_along(image, angle) / width + rng.random())
    shift = (0.8 + 2.7 * severity) * unit(image) * (1 - 2 * (strip % 2))
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    return sample(image, rows + shift * np.cos(angle), columns - shift * np.sin(angle)), (weight > 0).astype(float)


def _with_seam(changed: NDArray, apart: NDArray, severity: float, rng: np.random.Generator) -> NDArray:
    """Draws a dark or a bright seam, or none, where `apart`, the distance from it in pixels, is small."""
    tone, width = rng.choice([0, 0.1, 0.9, np.nan]), rng.uniform(0.6, 1) * unit(changed)
    share = (0.7 * severity * np.clip(1.3 - apart / width, 0, 1))[..., None]
    return changed if np.isnan(tone) else changed + share * (tone - changed)


@operator(BROKEN, "training")
def shatter(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A surface is broken into shards, angular or boxy, each of which lies shifted."""
    weight = region(edges(image), rng, 0.07, size=(0.26, 0.42))
    count, power, stretch = rng.integers(3, 10), rng.choice([1, 2, 2, 8]), rng.uniform(0.5, 1)
    seeds = some_of(np.argwhere(weight > 0), rng, count)
    apart = [rotated(*offsets(image, *seed), 0.7 * power) for seed in seeds]
    distances = np.stack([(abs(a) ** power + abs(stretch * b) ** power) ** (1 / power) for a, b in apart])
    shard, sorted_distances = distances.argmin(0), np.sort(distances, 0)
    bearing = rng.uniform(0, 2 * np.pi, count)[shard]
    shift = (0.2 + 0.8 * severity) * rng.uniform(2.5, 5.5, count)[shard] * unit(image)
    rows, columns = offsets(image, 0, 0)
    moved = sample(image, rows + shift * np.sin(bearing), columns + shift * np.cos(bearing))
    seam = (sorted_distances[1] - sorted_distances[0]) / 2
    return _with_seam(moved, seam, severity, rng), (weight > 0).astype(float)


@operator(BROKEN, "training")
def slip_sectors(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Sectors or arms of a spiral around a point are slid in and out against their neighbors."""
    weight = region(edges(image), rng, 0.07, size=(0.26, 0.45))
    row, column = np.array(ndimage.center_of_mass(weight)) + rng.uniform(-3, 3, 2) * unit(image)
    rows, columns = offsets(image, row, column)
    radius, bearing = np.hypot(rows, columns), np.arctan2(rows, columns)
    rings, sectors = radius / (rng.uniform(3.5, 6.5) * unit(image)), bearing / np.pi * rng.integers(1, 4)
    part = np.floor((sectors, rings + sectors)[rng.integers(2)] + rng.random()) % 2
    signed = (part, 2 * part - 1)[rng.integers(2)] * (0.2 + 0.8 * severity)
    radius = radius + rng.uniform(2.5, 4.2) * unit(image) * signed
    return sample(image, row + radius * np.sin(bearing), column + radius * np.cos(bearing)), (weight > 0).astype(float)


def _line(image: NDArray, center: NDArray | tuple, rng: np.random.Generator) -> tuple[NDArray, float]:
    """Signed distance from a line at a point, straight, curved, waving, in zigzag or with a corner; and its angle."""
    angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(7, 16) * unit(image)
    along, across = rotated(*offsets(image, *center), angle)
    turns = along / length + rng.random()
    forms = (
        0 * along,
        along**2 / (2 * length),
        0.2 * length * np.sin(2 * np.pi * turns),
        0.5 * length * abs(turns % 1 - 0.5),
        abs(along),
    )
    return across + forms[rng.integers(len(forms))], angle


@operator(BROKEN, "training")
def go_on_differently_behind(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """What is behind an object goes on at another height, turned or larger on the object's other side."""
    mask = subject(image)
    near = ndimage.binary_dilation(mask, iterations=max(1, round(unit(image))))
    ground = spread(image, ~near if not near.all() else ~mask)
    center = np.array(ndimage.center_of_mass(mask))
    beyond, angle = _line(image, center + rng.uniform(-2, 2, 2) * unit(image), rng)
    sides, strength = ((beyond > 0) & ~mask, (beyond < 0) & ~mask), edges(ground)
    # On a plain side nothing could be seen to go on differently.
    side = max(sides, key=lambda side: (strength * side).sum() / (side.sum() + 1))
    if not 0.08 <= side.mean() <= 0.8 or strength[side].mean() < 0.03:
        raise NoPlace
    shift, turn, growth = rng.uniform([3, -0.5, 0], [7, 0.5, 0.5]) * (0.25 + 0.75 * severity)
    shift *= rng.choice([-1, 1]) * unit(image)
    rows, columns = rotated(*offsets(image, *center), turn)
    rows, columns = rows / (1 + growth) + shift * np.cos(angle), columns / (1 + growth) + shift * np.sin(angle)
    return sample(ground, center[0] + rows, center[1] + columns), side.astype(float)


@operator(BROKEN, "training")
def break_at_line(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Beyond a line across the whole image, the surfaces are bent, leaning, foreshortened or offset along the line."""
    weight = region(edges(image), rng, 0.07, size=(0.25, 0.4))
    row, column = ndimage.center_of_mass(weight)
    beyond, angle = _line(image, (row, column), rng)
    amounts = rng.uniform(0.3, 1, 3) * rng.choice([-1, 1], 3) * (rng.random(3) < 0.7) * (0.25 + 0.75 * severity)
    along, across = rotated(*offsets(image, row, column), angle)
    offset = (1.5 + 3 * severity) * unit(image) * rng.choice([-1, 1])
    along, across = along + offset + 0.8 * amounts[0] * across, across * np.exp(0.7 * amounts[1])
    rows, columns = rotated(along, across, 0.6 * amounts[2] - angle)
    broken = _with_seam(sample(image, row + rows, column + columns), abs(beyond), severity, rng)
    limits = (weight > 0, np.ones(weight.shape, bool), abs(beyond) < rng.uniform(4, 9) * unit(image))
    return broken, (limits[rng.integers(3)] & (beyond > 0)).astype(float)


@operator(BROKEN, "training")
def gape_at_crack(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A crack with rough edges gapes, dark, light or showing a strange color, and its sides are moved apart."""
    weight = region(edges(image), rng, 0.05, size=(0.26, 0.45))
    center = ndimage.center_of_mass(weight)
    beyond, angle = _line(image, center, rng)
    beyond = beyond + rng.uniform(0.2, 1.2) * unit(image) * noise(image, 2 * unit(image), rng)
    taper = rng.choice([0, 1]) * (1 - blur(weight, unit(image)))
    gap = (0.4 + 0.7 * severity) * unit(image) * np.clip(rng.uniform(1, 1.6) - taper, 0, None)
    # Each side moves away from the crack, and the one also along it.
    apart, slip = np.sign(beyond) * gap, rng.choice([-3, 0, 3]) * severity * unit(image) * (beyond > 0)
    rows, columns = rotated(*offsets(image, 0, 0), angle)
    rows, columns = rotated(rows + slip, columns - 1.5 * apart, -angle)
    depth = (0.03, 0.03, 0.95, image[tuple((rng.random(2) * image.shape[:2]).astype(int))])[rng.integers(4)]
    open_share = ((0.35 + 0.65 * severity) * np.clip((gap - abs(beyond)) / unit(image) + 0.5, 0, 1))[..., None]
    moved = sample(image, rows, columns)
    return moved + open_share * (depth - moved), (weight > 0).astype(float)


@operator(BROKEN, "evaluation")
def turn_piece(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A square piece is turned in its place."""
    weight = region(edges(image), rng, 0.07, size=(0.16, 0.24), square=True)
    center = ndimage.center_of_mass(weight > 0)
    rows, columns = offsets(image, *center)
    angle = np.radians(12 + 70 * severity) * (1 if rng.random() < 0.5 else -1)
    turned = sample(
        image,
        center[0] + rows * np.cos(angle) - columns * np.sin(angle),
        center[1] + rows * np.sin(angle) + columns * np.cos(angle),
    )
    return turned, (weight > 0).astype(float)


@operator(GHOST, "training")
def shifted_copy(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A translucent copy of an object beside it."""
    mask = thing(image, rng)
    angle, length = rng.uniform(0, 2 * np.pi), max(4 * unit(image), rng.uniform(0.35, 0.7) * np.sqrt(mask.sum()))
    copy, weight = moved_by(image, mask, length, angle)
    return copy, weight * (0.2 + 0.5 * severity)


@operator(GHOST, "training")
def trail_of_copies(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """An object draws a trail of copies behind it, each fainter than the one before."""
    mask = thing(image, rng)
    angle, step = rng.uniform(0, 2 * np.pi), max(2.5 * unit(image), rng.uniform(0.15, 0.3) * np.sqrt(mask.sum()))
    changed, covered = image, np.zeros(mask.shape)
    for count in (3, 2, 1):
        copy, weight = moved_by(image, mask, count * step, angle)
        weight = weight * (0.2 + 0.55 * severity) * (1.15 - 0.25 * count) * ~mask
        changed = changed + weight[..., None] * (copy - changed)
        covered = np.maximum(covered, weight)
    return changed, (covered > 0.05).astype(float)


@operator(GHOST, "training")
def echo_of_place(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Everything within a large place is seen twice, as if the camera had moved between two exposures."""
    weight = region(edges(image), rng, 0.06, size=(0.3, 0.45))
    angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(3, 6) * unit(image)
    rows, columns = offsets(image, length * np.sin(angle), length * np.cos(angle))
    return sample(image, rows, columns), np.minimum(2 * weight, 1) * (0.2 + 0.35 * severity)


@operator(GHOST, "training")
def larger_shadow_of_itself(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A larger translucent copy of an object stands around it."""
    mask = thing(image, rng)
    row, column = ndimage.center_of_mass(mask)
    rows, columns = offsets(image, row, column)
    factor = rng.uniform(1.3, 1.6)
    source = row + rows / factor, column + columns / factor
    weight = sample(mask, *source) * ~mask
    return sample(image, *source), weight * (0.2 + 0.5 * severity)


@operator(GHOST, "training")
def leaning_echo(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Everything around a point is seen twice, the second time leaning to one side."""
    weight = region(edges(image), rng, 0.06, size=(0.3, 0.45))
    rows, columns = offsets(image, 0, 0)
    slope, foot = rng.uniform(0.5, 1.1) * rng.choice([-1, 1]), np.argwhere(weight > 0)[:, 0].max()
    leaning = sample(image, rows, columns + slope * (rows - foot))
    return leaning, np.minimum(2 * weight, 1) * (0.2 + 0.35 * severity)


@operator(GHOST, "training")
def echo_contours(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Only the contrasts come again beside themselves, once or more, light or dark, as in bad television reception."""
    weight = region(edges(image), rng, 0.06, size=(0.3, 0.5))
    whole = rng.random() < 0.5
    rows, columns = offsets(image, 0, 0)
    relief = image - blur(image, rng.uniform(2, 8) * unit(image))
    bearing, step = rng.choice([0, np.pi, rng.uniform(0, 2 * np.pi)]), rng.uniform(3, 6.5) * unit(image)
    color = np.where(rng.random() < 0.6, 1, rng.uniform(0, 1.8, 3))
    sign, fading, echoes = rng.choice([-1, 1, 1]), rng.uniform(0.5, 0.9), np.zeros(image.shape)
    for count in range(1, 1 + rng.integers(1, 4)):
        length = count * step
        echo = sample(relief, rows - length * np.sin(bearing), columns - length * np.cos(bearing))
        echoes += (sign * fading) ** (count - 1) * echo
    amount = (0.25 + 0.5 * severity) * rng.choice([-1, 1, 1])
    return image + amount * color * echoes, None if whole else np.minimum(2 * weight, 1)


def _overlay(rng: np.random.Generator) -> Callable[[NDArray, NDArray], NDArray]:
    """A way in which a copy lies over an image: as it is, tinted, added or as a filter."""
    tint = rng.uniform(0.5, 1.3, 3)
    ways = (
        lambda image, copy: copy,
        lambda image, copy: copy * tint,
        lambda image, copy: image + copy - copy.mean((0, 1)),
        lambda image, copy: image * (0.4 + copy),
    )
    return ways[rng.choice([0, 0, 1, 2, 3])]


@operator(GHOST, "training")
def swing_copies(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Faint copies of an object swing around a point, growing or shrinking, with colors of their own or not."""
    mask = thing(image, rng)
    center = np.array(ndimage.center_of_mass(mask))
    bearing, arm = rng.uniform(0, 2 * np.pi), rng.uniform(0.4, 1.3) * np.sqrt(mask.sum())
    pivot = center + arm * np.array([np.sin(bearing), np.cos(bearing)])
    step, growth = rng.uniform(0.45, 0.9) * rng.choice([-1, 1]), rng.uniform(0.75, 1.3)
    both_ways, overlay, behind = rng.random() < 0.4, _overlay(rng), rng.random() < 0.5
    changed, covered = image, np.zeros(mask.shape)
    for count in range(1, 1 + rng.integers(1, 4)):
        for way in (1, -1)[: 1 + both_ways]:
            rows, columns = rotated(*offsets(image, *pivot), way * count * step)
            source = pivot[0] + rows / growth**count, pivot[1] + columns / growth**count
            share = sample(mask, *source) * is_inside(mask, *source) * (0.2 + 0.5 * severity) * 0.85 ** (count - 1)
            share = share * ~(mask & behind)
            changed = changed + share[..., None] * (overlay(image, sample(image, *source)) - changed)
            covered = np.maximum(covered, share)
    return changed, (covered > 0.05).astype(float)


@operator(GHOST, "evaluation")
def double_exposure(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A piece of the image, enlarged, mirrored and blurred, is exposed over another place."""
    weight = region(edges(image), rng, 0.05, size=(0.26, 0.4))
    center = np.array(ndimage.center_of_mass(weight))
    striking = ndimage.uniform_filter(edges(image), round(6 * unit(image))) * (weight < 0.5)
    source = np.unravel_index(np.argmax(striking), weight.shape)
    rows, columns = offsets(image, *center)
    copy = sample(blur(image, 0.6 * unit(image)), source[0] + rows / 1.4, source[1] - columns / 1.4)
    return copy, np.minimum(2 * weight, 1) * (0.2 + 0.45 * severity)


@operator(FLOATING, "training")
def paste_piece(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A piece of the object hangs in a plain place at some distance."""
    mask = subject(image)
    radius = (1.4 + 1.6 * severity) * unit(image)
    distance = ndimage.distance_transform_edt(~mask)
    # Not at the border of the image, where it would look like an object that enters the frame.
    frame = np.ones(mask.shape, bool)
    frame[round(3 * unit(image)) : -round(3 * unit(image)), round(3 * unit(image)) : -round(3 * unit(image))] = False
    places = np.argwhere((distance > 6 * unit(image)) & ~frame & (detail(image) < 0.06))
    if len(places) == 0:
        raise NoPlace
    place = one_of(places, rng)
    depth = ndimage.distance_transform_edt(mask)
    points = np.argwhere(depth >= min(2 * unit(image), depth.max()))
    source = one_of(points, rng)
    rows, columns = offsets(image, *place)
    outline = radius * (1 + 0.25 * noise(image, 3 * unit(image), rng))
    piece = np.hypot(rows, columns) < np.maximum(outline, 1)
    return sample(image, source[0] + rows, source[1] + columns, order=0), piece.astype(float)


@operator(FLOATING, "training")
def push_end_away(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """The end of the object moves away from the rest and leaves a gap."""
    mask = subject(image)
    angle = rng.uniform(0, 2 * np.pi)
    along = position_along(image, angle)
    end = mask & (along > np.quantile(along[mask], rng.uniform(0.55, 0.75)))
    length = (1.2 + 2.6 * severity) * unit(image)
    copy, weight = moved_by(image, end, length, angle)
    arrived = weight > 0.5
    left = ndimage.binary_dilation(end, iterations=max(1, round(unit(image)))) & ~(mask & ~end)
    changed = np.where(arrived[..., None], copy, background(image, mask))
    return changed, (arrived | left).astype(float)


@operator(FLOATING, "training")
def crumble_end(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """The end of the object falls apart into islands with background between."""
    mask = subject(image)
    end = end_beyond_line(image, mask, severity, rng.uniform(0, 2 * np.pi))
    gaps = noise(image, 3 * unit(image), rng) < 0.25
    return background(image, mask), (end & (gaps | ~mask)).astype(float)


@operator(FLOATING, "training")
def shed_crumbs(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Crumbs of the object hang around it on one side."""
    mask = subject(image)
    distance, angle = distance_outside(image, mask), rng.uniform(0, 2 * np.pi)
    along = position_along(image, angle)
    places = np.argwhere((distance > 2.5) & (distance < 6.5) & (along > np.median(along[mask])))
    if len(places) == 0:
        raise NoPlace
    crumbs = np.zeros(mask.shape, bool)
    for place in some_of(places, rng, rng.integers(2, 6)):
        rows, columns = offsets(image, *place)
        stretch = rng.uniform(0.6, 1.6)
        crumbs |= np.hypot(rows * stretch, columns / stretch) < (0.8 + 1.1 * severity) * unit(image)
    inside = ndimage.binary_erosion(mask, iterations=max(1, round(unit(image))))
    return spread(image, inside if inside.any() else mask), (crumbs & (distance > 1)).astype(float)


@operator(FLOATING, "training")
def explode_parts(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """The object has come apart into several parts that turn and drift away from each other."""
    mask = subject(image)
    points, center = np.argwhere(mask), np.array(ndimage.center_of_mass(mask))
    count = rng.integers(4, 8)
    seeds = some_of(points, rng, count)
    part = np.argmin([np.hypot(*offsets(image, *seed)) for seed in seeds], axis=0)
    drift, turns = rng.uniform(1.5, 4.5, count), rng.uniform(-0.7, 0.7, count)
    wind = rng.choice([0, 3]) * rng.standard_normal(2)
    changed, covered = background(image, mask), ndimage.binary_dilation(mask, iterations=max(1, round(unit(image))))
    for index, seed in enumerate(seeds):
        away = (seed - center) / (np.hypot(*(seed - center)) + 1e-6) * drift[index] + wind * index / count
        target = seed + (0.25 + 0.75 * severity) * unit(image) * away
        rows, columns = rotated(*offsets(image, *target), severity * turns[index])
        inside = sample(mask & (part == index), seed[0] + rows, seed[1] + columns) > 0.5
        changed = np.where(inside[..., None], sample(image, seed[0] + rows, seed[1] + columns), changed)
        covered |= inside
    return changed, covered.astype(float)


@operator(FLOATING, "training")
def hang_stray_forms(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Bars, rings, arcs, hooks or rows of beads that belong to nothing hang in a plain place."""
    scale, plain = unit(image), detail(image)
    weight = region(0.2 - plain, rng, 0.1, size=(0.2, 0.3))
    center, smooth = ndimage.center_of_mass(weight), blur(image, 0.7 * scale)
    local = image[weight > 0].mean(0)
    strange = np.argwhere((np.linalg.norm(smooth - local, axis=-1) > 0.25) & (weight == 0))
    if len(strange) == 0:
        raise NoPlace
    source = one_of(strange, rng)
    drawn = np.zeros(weight.shape)
    for _ in range(rng.integers(1, 4)):
        place = np.clip(center + rng.uniform(-4, 4, 2) * scale, 7 * scale, np.array(plain.shape) - 7 * scale)
        along, across = rotated(*offsets(image, *place), rng.uniform(0, np.pi))
        length, girth = rng.uniform(2.5, 5) * scale, rng.uniform(0.7, 1.2) * scale * (0.6 + 0.4 * severity)
        ring = abs(np.hypot(along, across * rng.uniform(0.7, 1.8)) - 0.7 * length)
        bar = np.maximum(abs(across), abs(along) - length + girth)
        beads = np.hypot(across, (along + length) % (3.2 * scale) - 1.6 * scale) + 9 * scale * (abs(along) > length)
        arc = np.where(along < 0, ring, np.inf)
        hook = np.minimum(arc, np.maximum(abs(across - 0.7 * length), abs(along - length / 2) - length / 2))
        tip = np.maximum(1.6 * abs(across) + 0.8 * along, -along - length)
        distance = (ring, bar, beads, arc, hook, tip)[rng.integers(6)]
        drawn = np.maximum(drawn, np.clip((girth - distance) / scale + 0.5, 0, 1))
    shift = source - np.round(center)
    fine = sample(image - smooth, *offsets(image, *-shift))
    return smooth[tuple(source)] + fine, drawn * (0.45 + 0.55 * severity)


@operator(FLOATING, "training")
def carry_end_off(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """The end of the object hangs elsewhere, turned, of another size, and is missing where it belongs or not."""
    mask = subject(image)
    line = _line(image, ndimage.center_of_mass(mask), rng)[0]
    end = mask & (line > np.quantile(line[mask], rng.uniform(0.6, 0.85)))
    apart = ndimage.distance_transform_edt(~mask) / unit(image)
    frame = np.pad(np.zeros(mask.shape, bool), 1, constant_values=True)
    inner = ndimage.distance_transform_edt(~frame)[1:-1, 1:-1] / unit(image)
    radius = np.sqrt(end.sum() / np.pi) / unit(image)
    size = min(rng.uniform(0.7, 1.3), 4.5 / radius)
    places = np.argwhere((apart > 1.5 + size * radius) & (inner > min(4, 1 + size * radius)))
    if len(places) == 0:
        raise NoPlace
    target, source = one_of(places, rng), ndimage.center_of_mass(end)
    rows, columns = rotated(*offsets(image, *target), rng.uniform(-2, 2))
    shown, mirrored = size * (0.75 + 0.25 * severity), rng.choice([-1, 1])
    rows, columns = source[0] + rows / shown, source[1] + mirrored * columns / shown
    arrived = sample(end, rows, columns) * is_inside(mask, rows, columns) * ~mask
    left = ndimage.binary_dilation(end, iterations=max(1, round(unit(image)))) & ~(mask & ~end)
    left = left * (1 - arrived) * rng.integers(0, 2)
    changed = np.where(arrived[..., None] > 0, sample(image, rows, columns), background(image, mask))
    return changed, np.maximum(arrived, left) * (0.5 + 0.5 * severity)


@operator(FLOATING, "evaluation")
def sever_part(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A strip of background separates a part of the object from the rest."""
    mask = subject(image)
    angle = rng.uniform(0, 2 * np.pi)
    along = position_along(image, angle)
    beside = abs(along - np.quantile(along[mask], rng.uniform(0.25, 0.4)))
    gap = ndimage.binary_dilation(mask, iterations=max(1, round(unit(image)))) & (
        beside < (0.6 + 1.8 * severity) * unit(image)
    )
    return background(image, mask), gap.astype(float)
