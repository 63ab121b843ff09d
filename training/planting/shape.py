"""Artifacts of shape: outlines, breaks, parts in the wrong place, duplicates."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.spatial import KDTree

from .places import (
    NoPlace,
    blur,
    detail,
    distance_outside,
    edge_band,
    edges,
    luminance,
    noise,
    offsets,
    position_along,
    region,
    rotated,
    sample,
    signed_distance,
    spread,
    subject,
    thing,
    unit,
)
from .registry import Changed, operator


BROKEN = "Discontinuous surfaces"
WAVERING = "Inconsistent object boundaries"
JAGGED = "Jagged edges in curved structures"
CUT = "Abruptly cut off objects"
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
    seeds = np.argwhere(weight > 0)[(rng.random(count) * (weight > 0).sum()).astype(int)]
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


def both_sides(image: NDArray, mask: NDArray, size: int) -> tuple[NDArray, NDArray]:
    """The colors of an object and those around it, `size` pixels from its outline, each spread over the image."""
    inside = ndimage.binary_erosion(mask, iterations=size) if mask.sum() > 20 else mask
    outside = ndimage.binary_erosion(~mask, iterations=size)
    return spread(image, inside if inside.any() else mask), spread(image, outside if outside.any() else ~mask)


def redraw(image: NDArray, old: NDArray, new: NDArray) -> tuple[NDArray, NDArray]:
    """Gives an object, `old`, another outline, `new`, with colors from its inside and from around it."""
    size = max(1, round(0.7 * unit(image)))
    inner, outer = both_sides(image, old, size)
    # The border pixels of the old outline hold a mixture of both sides, so they are drawn anew.
    border = ndimage.binary_dilation(old, iterations=size) & ~ndimage.binary_erosion(old, iterations=size)
    near = ndimage.binary_dilation(old != new, np.ones((3, 3)), iterations=2 * size)
    return np.where(new[..., None], inner, outer), ((old != new) | (border & near)).astype(float)


@operator(WAVERING, "training")
def wave_outline(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A few long waves run around the outline."""
    mask = thing(image, rng)
    rows, columns = offsets(image, *ndimage.center_of_mass(mask))
    wave = np.sin(rng.integers(3, 6) * np.arctan2(rows, columns) + rng.uniform(0, 2 * np.pi))
    return redraw(image, mask, signed_distance(mask) < (0.3 + 2.7 * severity) * unit(image) * wave)


@operator(WAVERING, "training")
def warp_outline(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """What is near the outline swells and shrinks by a random field, as if seen through uneven glass."""
    mask = thing(image, rng)
    near = np.clip(1.6 - abs(signed_distance(mask)) / (4 * unit(image)), 0, 1)
    shift = near * (0.8 + 1.8 * severity) * unit(image)
    rows, columns = (offset + shift * noise(image, 4 * unit(image), rng) for offset in offsets(image, 0, 0))
    return sample(image, rows, columns), (near > 0).astype(float)


@operator(WAVERING, "training")
def dissolve_arcs(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """The outline breaks off: over some arcs the object passes gradually into what is around it."""
    mask = thing(image, rng)
    rows, columns = offsets(image, *ndimage.center_of_mass(mask))
    turns = np.sin(rng.integers(2, 5) * np.arctan2(rows, columns) + rng.uniform(0, 2 * np.pi))
    distance, width = signed_distance(mask), (1.2 + 3.3 * severity) * unit(image)
    inner, outer = both_sides(image, mask, max(1, round(0.7 * unit(image))))
    share = np.clip(0.5 - distance / (2 * width), 0, 1)[..., None]
    return share * inner + (1 - share) * outer, np.clip(3 * turns + 0.6, 0, 1) * (abs(distance) < width)


@operator(WAVERING, "training")
def halves_of_two_sizes(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """On one side of a line the outline is drawn as that of a smaller or larger object, and does not meet the rest."""
    mask = thing(image, rng)
    rows, columns = offsets(image, *ndimage.center_of_mass(mask))
    angle, sign = rng.uniform(0, 2 * np.pi), 1 if rng.random() < 0.5 else -1
    side = rows * np.sin(angle) + columns * np.cos(angle) > rng.uniform(-2, 2) * unit(image)
    return redraw(
        image, mask, np.where(side, signed_distance(mask) < sign * (0.6 + 2.6 * severity) * unit(image), mask)
    )


@operator(WAVERING, "training")
def straighten_outline(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """The outline runs straight between a few of its points, whatever the object's form."""
    mask = thing(image, rng)
    center = np.array(ndimage.center_of_mass(mask))
    rows, columns = np.argwhere(mask & ~ndimage.binary_erosion(mask)).T - center[:, None]
    bearings, corners = np.arctan2(rows, columns), []
    for bearing in np.sort(rng.uniform(-np.pi, np.pi) + 2 * np.pi * (np.arange(5) + rng.uniform(-0.25, 0.25, 5)) / 5):
        apart = abs((bearings - bearing + np.pi) % (2 * np.pi) - np.pi)
        nearest = np.argmin(apart)
        corners.append((columns[nearest] + center[1], rows[nearest] + center[0]))
    polygon = Image.new("1", mask.shape[::-1])
    ImageDraw.Draw(polygon).polygon(corners, fill=1)
    straight = np.asarray(polygon)
    if not straight.any():
        raise NoPlace
    share = 0.25 + 0.75 * severity
    return redraw(image, mask, (1 - share) * signed_distance(mask) + share * signed_distance(straight) < 0)


@operator(WAVERING, "training")
def outline_in_pieces(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """The outline consists of pieces that do not meet: each lies too far in or out, or runs away at a slant."""
    mask = thing(image, rng)
    rows, columns = offsets(image, *ndimage.center_of_mass(mask))
    along = position_along(image, rng.uniform(0, np.pi))
    along = (along - along[mask].min()) / np.ptp(along[mask])
    place = ((np.arctan2(rows, columns) / (2 * np.pi) + rng.random()) % 1, along)[rng.integers(2)]
    # Few pieces for a small object, as short ones would look like teeth.
    joints = np.cumsum(rng.uniform(0.6, 1.4, rng.integers(2, 4 + int(np.sqrt(mask.sum()) / (5 * unit(image))))))
    joints = np.concatenate([[0], joints / joints[-1]])
    piece = np.clip(np.searchsorted(joints, place) - 1, 0, len(joints) - 2)
    share = np.clip((place - joints[piece]) / np.diff(joints)[piece], 0, 1)
    levels = rng.uniform(0.4, 1.3, len(joints) - 1) * (1 - 2 * (np.arange(len(joints) - 1) % 2))
    level = levels[piece] * (1 - rng.choice([0, 1, 2]) * share)
    return redraw(image, mask, signed_distance(mask) < (0.5 + 2.3 * severity) * unit(image) * level)


@operator(WAVERING, "training")
def shiver_along_edges(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """The strongest edges of a place meander, with waves of changing length, kinks or a shaky hand."""
    weight = region(edges(image), rng, 0.07, size=(0.28, 0.45))
    slopes = np.gradient(luminance(blur(image, 0.6 * unit(image))))
    tensor = [(weight * product).sum() for product in (slopes[0] * slopes[1], slopes[1] ** 2 - slopes[0] ** 2)]
    angle = 0.5 * np.arctan2(2 * tensor[0], tensor[1]) + rng.uniform(-0.3, 0.3)
    along = position_along(image, angle + np.pi / 2) / unit(image)
    phase = 2 * np.pi * (along / rng.uniform(7, 13) + rng.random()) + rng.uniform(0, 2) * np.sin(along / 6)
    shaky = np.interp(along, np.arange(-64, 129, 4), rng.uniform(-1, 1, 49))
    waves = np.stack([np.sin(phase), np.sin(phase) ** 5, abs(np.sin(phase / 2)), shaky])
    wave = np.tensordot(rng.dirichlet(np.full(4, 0.4)), waves, 1)
    near = np.minimum(2.5 * weight, 1) * edge_band(image, 6)
    shift = (0.9 + 2.3 * severity) * unit(image) * near * (wave - np.median(wave)) / np.ptp(wave) * 2
    rows, columns = offsets(image, 0, 0)
    return sample(image, rows + shift * np.sin(angle), columns + shift * np.cos(angle)), (near > 0).astype(float)


@operator(WAVERING, "training")
def stray_contour(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A drawn contour follows the outline only roughly: thick here, thin or broken there, off it elsewhere."""
    mask = thing(image, rng)
    rows, columns = offsets(image, *ndimage.center_of_mass(mask))
    bearing, scale = np.arctan2(rows, columns), unit(image)
    waves = noise(image, 9 * scale, rng), 1.3 * np.sin(rng.integers(1, 5) * bearing + rng.uniform(0, 2 * np.pi))
    wander, thickness = (waves[pick] for pick in rng.integers(2, size=2))
    middle = (rng.choice([0.2, 0.7, 1.3]) * wander + rng.uniform(-0.8, 0.8)) * scale
    width = np.clip(0.75 + rng.choice([0.3, 0.6]) * thickness, 0, 1.3) * scale
    line = np.clip((width - abs(signed_distance(mask) - middle)) / (0.6 * scale) + 0.3, 0, 1) * (width > 0.3 * scale)
    own, ground = image[mask].mean(0), image[~mask].mean(0)
    color = (0.3 * own, np.minimum(np.clip(2 * own - ground, 0, 1), 0.7 * own), 0.3 * ground)[rng.integers(3)]
    return np.broadcast_to(color, image.shape), line * (0.3 + 0.65 * severity)


@operator(WAVERING, "evaluation")
def bite_outline(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Round pieces are taken from the outline, or added to it."""
    mask = thing(image, rng)
    points = np.argwhere(mask & ~ndimage.binary_erosion(mask))
    new = mask.copy()
    for index, point in enumerate(points[(rng.random(3) * len(points)).astype(int)]):
        disc = np.hypot(*offsets(image, *point)) < (0.8 + 2.8 * severity) * unit(image)
        new = new | disc if index == 1 else new & ~disc
    return redraw(image, mask, new)


@operator(JAGGED, "training")
def tooth_outline(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Adds saw teeth to the outline of an object."""
    mask = thing(image, rng)
    scale = unit(image)
    distance = signed_distance(mask)
    normal_row, normal_column = np.gradient(blur(distance, scale))
    saws = [2 * abs((offset / (3.4 * scale) + rng.random()) % 1 * 2 - 1) - 1 for offset in offsets(image, 0, 0)]
    # Teeth along the outline: counted by columns where it runs from left to right, by rows where it goes up.
    saw = (normal_column**2 * saws[0] + normal_row**2 * saws[1]) / (normal_row**2 + normal_column**2 + 1e-6)
    return redraw(image, mask, distance < (0.4 + 1.8 * severity) * scale * saw)


@operator(JAGGED, "training")
def step_outline(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Draws the outline of an object on a coarse lattice."""
    mask = thing(image, rng)
    block = round((2 + 3 * severity) * unit(image))
    start = (rng.random(2) * block).astype(int)
    rows, columns = (
        np.clip((np.arange(length) + first) // block * block - first + block // 2, 0, length - 1)
        for length, first in zip(mask.shape, start, strict=True)
    )
    new = mask[rows[:, None], columns]
    if (new == mask).all():
        raise NoPlace
    return redraw(image, mask, new)


@operator(JAGGED, "training")
def shift_bands(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """The outline is torn into narrow bands that are displaced against each other."""
    mask = thing(image, rng)
    angle = rng.uniform(0, np.pi)
    band = np.floor(position_along(image, angle) / (rng.uniform(1.3, 2.4) * unit(image))).astype(int)
    band -= band.min()
    length = (0.5 + 1.5 * severity) * unit(image) * rng.uniform(0.7, 1.5, band.max() + 1)[band] * (1 - 2 * (band % 2))
    rows, columns = offsets(image, 0, 0)
    new = sample(mask, rows + length * np.cos(angle), columns - length * np.sin(angle)) > 0.5
    if (new == mask).all():
        raise NoPlace
    return redraw(image, mask, new)


@operator(JAGGED, "training")
def outline_of_cells(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """The outline follows the sides of cells: of a turned lattice, of bricks, of diamonds or of splinters."""
    mask = thing(image, rng)
    size = rng.uniform(3.5, 6) * unit(image)
    along, across = rotated(*offsets(image, 0, 0), rng.uniform(0.3, 1.2))
    grid = np.moveaxis(np.mgrid[-16:17, -16:17], 0, -1).reshape(-1, 2) + rng.random(2)
    grid[:, 1] += rng.choice([0, 0.5]) * (np.floor(grid[:, 0]) % 2)
    grid = (grid + rng.choice([0, 0.35]) * rng.standard_normal(grid.shape)) * size * [1, rng.uniform(0.6, 1)]
    nearest = KDTree(grid).query(np.stack([along, across], -1))[1]
    stepped = np.bincount(nearest.ravel(), mask.ravel() - 0.5, len(grid))[nearest] > 0
    if not stepped.any():
        raise NoPlace
    share = 0.3 + 0.7 * severity
    return redraw(image, mask, (1 - share) * signed_distance(mask) + share * signed_distance(stepped) < 0)


@operator(JAGGED, "evaluation")
def spike_outline(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Triangles stand out from the outline of an object, or are cut into it, at random points."""
    mask = thing(image, rng)
    scale = unit(image)
    normals = np.stack(np.gradient(blur(signed_distance(mask), scale)), axis=-1)
    chosen: list[NDArray] = []
    for point in rng.permutation(np.argwhere(mask & ~ndimage.binary_erosion(mask))):
        if all(np.hypot(*(point - other)) >= 2.8 * scale for other in chosen):
            chosen.append(point)
    drawing = Image.fromarray(mask.astype(np.uint8))
    pen = ImageDraw.Draw(drawing)
    for index, point in enumerate(chosen):
        normal = normals[tuple(point)] / max(np.hypot(*normals[tuple(point)]), 1e-6)
        out, along = normal * scale * (1 if index % 2 == 0 else -1), normal[::-1] * [scale, -scale]
        corners = [point - 0.6 * out + along, point - 0.6 * out - along, point + (0.8 + 2.4 * severity) * out]
        pen.polygon([(float(column), float(row)) for row, column in corners], fill=(index + 1) % 2)
    new = np.asarray(drawing).astype(bool)
    if (new == mask).all():
        raise NoPlace
    return redraw(image, mask, new)


def _end(image: NDArray, mask: NDArray, severity: float, angle: float) -> NDArray:
    """What an object has beyond a straight line across it, with its soft border."""
    return _beyond(image, mask, severity, position_along(image, angle))


def _beyond(image: NDArray, mask: NDArray, severity: float, along: NDArray) -> NDArray:
    """The part of an object where a map is highest, the larger the severer, with its soft border."""
    end = mask & (along > np.quantile(along[mask], 0.9 - 0.45 * severity))
    return ndimage.binary_dilation(end, iterations=max(1, round(2 * unit(image)))) & ~(mask & ~end)


def _moved(image: NDArray, mask: NDArray, length: float, angle: float) -> tuple[NDArray, NDArray]:
    """The image moved by `length` pixels, and where in it a part of the image then is, as weights in [0, 1]."""
    rows, columns = offsets(image, length * np.sin(angle), length * np.cos(angle))
    inside = (rows >= 0) & (columns >= 0) & (rows < mask.shape[0]) & (columns < mask.shape[1])
    return sample(image, rows, columns), sample(mask, rows, columns) * inside


def _background(image: NDArray, mask: NDArray) -> NDArray:
    """The image with the colors around an object in its place."""
    around = ~ndimage.binary_dilation(mask, iterations=max(1, round(2 * unit(image))))
    return blur(spread(image, around if around.any() else ~mask), 1.2 * unit(image))


@operator(CUT, "training")
def dissolve_end(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Beyond a line the object gives way to the colors around it."""
    mask = subject(image)
    return _background(image, mask), _end(image, mask, severity, rng.uniform(0, 2 * np.pi)).astype(float)


@operator(CUT, "training")
def slide_behind_line(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """The object moves on but ends where it ended before, as if it slid behind a straight edge."""
    mask = subject(image)
    angle = rng.uniform(0, 2 * np.pi)
    along = position_along(image, angle)
    line = np.quantile(along[mask], 0.9)
    copy, weight = _moved(image, mask, (0.1 + 0.35 * severity) * np.ptp(along[mask]), angle)
    arrived = (weight > 0.5) & (along <= line)
    changed = np.where(arrived[..., None], copy, _background(image, mask))
    old = ndimage.binary_dilation(mask, iterations=max(1, round(2 * unit(image))))
    return changed, (arrived | old).astype(float)


@operator(CUT, "training")
def cut_corner_out(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """The object ends at two straight lines that meet at a right angle, before a ground with grain."""
    mask = subject(image)
    angle = rng.uniform(0, 2 * np.pi)
    fine = (image - blur(image, 1.2 * unit(image)))[~mask]
    ground = _background(image, mask) + 0.5 * fine[rng.integers(len(fine), size=mask.shape)]
    ends = [_end(image, mask, 0.7 * severity, turned) for turned in (angle, angle + np.pi / 2)]
    return ground, (ends[0] | ends[1]).astype(float)


@operator(CUT, "training")
def stretch_ground_over_end(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Beyond a line the nearest pixels around the object are drawn out over it."""
    mask = subject(image)
    around = ~ndimage.binary_dilation(mask, iterations=max(1, round(1.5 * unit(image))))
    if not around.any():
        raise NoPlace
    ground = spread(image, around) + 0.03 * noise(image, 1, rng)[..., None]
    return ground, _end(image, mask, severity, rng.uniform(0, 2 * np.pi)).astype(float)


@operator(CUT, "training")
def tear_off_end(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """The end of the object is torn off along a ragged line, and the ground shows dots of its own colors there."""
    mask = subject(image)
    angle = rng.uniform(0, 2 * np.pi)
    along = position_along(image, angle) + 1.2 * unit(image) * noise(image, 2.5 * unit(image), rng)
    end = _beyond(image, mask, severity, along)
    cells = tuple((offset // max(1, round(unit(image)))).astype(int) for offset in offsets(image, 0, 0))
    colors = image[~mask]
    drawn = colors[rng.integers(len(colors), size=[index.max() + 1 for index in cells])]
    return 0.5 * _background(image, mask) + 0.5 * blur(drawn[cells], 0.4 * unit(image)), end.astype(float)


@operator(CUT, "training")
def patch_hides_end(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A rectangle of ground lies over the object's end and over what is around it."""
    mask = thing(image, rng)
    angle = rng.choice([0, 0.5, 1, 1.5, rng.uniform(0, 2)]) * np.pi
    along, across = rotated(*offsets(image, *ndimage.center_of_mass(mask)), angle)
    end = mask & (along > np.quantile(along[mask], 0.88 - 0.45 * severity))
    margins = rng.uniform(0.5, 4, 3) * unit(image)
    patch = (along >= along[end].min()) & (along < along[end].max() + margins[0])
    patch &= (across > across[end].min() - margins[1]) & (across < across[end].max() + margins[2])
    near = ndimage.binary_dilation(mask, iterations=round(4 * unit(image))) & ~mask & (along > 0)
    if not near.any():
        raise NoPlace
    ground, plain = _background(image, mask), np.median(image[near], axis=0)
    fades = plain + (along / np.ptp(along[mask]))[..., None] * rng.uniform(-0.3, 0.3)
    grain = rng.uniform(0, 0.04) * noise(image, rng.uniform(1, 3) * unit(image), rng)[..., None]
    shares = rng.dirichlet([1, 0.5, 0.5])
    return shares[0] * ground + shares[1] * plain + shares[2] * fades + grain, patch.astype(float)


@operator(CUT, "training")
def box_in(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Of the object only what lies within a box or a slice is left, before ground that is smeared one way."""
    mask = thing(image, rng)
    angle = rng.choice([0, rng.uniform(0, np.pi)])
    along, across = rotated(*offsets(image, *ndimage.center_of_mass(mask)), angle)
    sides = rng.permutation(np.stack([along, -along, across, -across]))[: rng.integers(2, 5)]
    far = [rng.uniform(0.6, 1) * side / np.quantile(side[mask], 0.95) for side in sides]
    end = _beyond(image, mask, severity, np.max(far, axis=0))
    solid = (~ndimage.binary_dilation(mask, iterations=max(1, round(unit(image))))).astype(float)
    if not solid.any():
        raise NoPlace
    spans = rng.permutation([rng.uniform(0.6, 3), rng.uniform(3, 16)]) * unit(image)
    smeared = ndimage.gaussian_filter(image * solid[..., None], (*spans, 0))
    ground = (smeared + 1e-9) / (ndimage.gaussian_filter(solid, spans) + 1e-9)[..., None]
    grain = rng.uniform(0, 0.05) * noise(image, rng.uniform(1, 2) * unit(image), rng)
    return np.clip(ground, 0, 1) + grain[..., None], end.astype(float)


@operator(CUT, "training")
def draw_border_in(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """From a border of the image its outermost pixels are drawn in up to a line, where all that comes ends."""
    mask = thing(image, rng)
    free = [turn for turn in range(4) if np.rot90(mask, turn)[0].mean() < 0.15]
    if not free:
        raise NoPlace
    turn = free[int(rng.random() * len(free))]
    turned, part = np.rot90(image, turn), np.rot90(mask, turn)
    rows, columns = np.mgrid[: part.shape[0], : part.shape[1]] / unit(image)
    depth = rows + rng.choice([0, rng.uniform(-0.7, 0.7)]) * columns
    width = rng.uniform(0.5, 6) if rng.random() < 0.6 else 64
    near = ndimage.distance_transform_edt(~part.any(0)) / unit(image) < width
    border = turned[: max(1, round(1.5 * unit(image)))].mean(0)
    border = ndimage.gaussian_filter1d(border, rng.choice([0.3, 1, 4]) * unit(image), axis=0, mode="nearest")
    fade = rng.uniform(-0.012, 0.012) * rows + rng.uniform(0, 0.03) * noise(turned, unit(image), rng)
    beyond = (depth < np.quantile(depth[part], 0.12 + 0.43 * severity)) & near
    return np.rot90(border + fade[..., None], -turn), np.rot90(beyond, -turn).astype(float)


@operator(CUT, "evaluation")
def cover_end(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A piece of background from elsewhere in the image, with its texture, covers the end of the object."""
    mask = subject(image)
    angle = rng.uniform(0, 2 * np.pi)
    # The piece must be large enough for the highest severity, so that any severity takes the same one.
    rows, columns = np.nonzero(_end(image, mask, 1, angle))
    best, free = image, 0.7
    for shift in rng.integers(-np.array(mask.shape), mask.shape, (200, 2)):
        from_rows, from_columns = rows + shift[0], columns + shift[1]
        if min(from_rows.min(), from_columns.min()) < 0:
            continue
        if from_rows.max() >= mask.shape[0] or from_columns.max() >= mask.shape[1]:
            continue
        share = 1 - mask[from_rows, from_columns].mean()
        if share > free:
            best, free = image.copy(), share
            best[rows, columns] = image[from_rows, from_columns]
    if best is image:
        raise NoPlace
    return (best, _end(image, mask, severity, angle).astype(float))


@operator(GHOST, "training")
def shifted_copy(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A translucent copy of an object beside it."""
    mask = thing(image, rng)
    angle, length = rng.uniform(0, 2 * np.pi), max(4 * unit(image), rng.uniform(0.35, 0.7) * np.sqrt(mask.sum()))
    copy, weight = _moved(image, mask, length, angle)
    return copy, weight * (0.2 + 0.5 * severity)


@operator(GHOST, "training")
def trail_of_copies(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """An object draws a trail of copies behind it, each fainter than the one before."""
    mask = thing(image, rng)
    angle, step = rng.uniform(0, 2 * np.pi), max(2.5 * unit(image), rng.uniform(0.15, 0.3) * np.sqrt(mask.sum()))
    changed, covered = image, np.zeros(mask.shape)
    for count in (3, 2, 1):
        copy, weight = _moved(image, mask, count * step, angle)
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
    return image + amount * color * echoes, np.ones(weight.shape) if whole else np.minimum(2 * weight, 1)


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
            inside = [(0 <= index) & (index < length) for index, length in zip(source, mask.shape, strict=True)]
            share = sample(mask, *source) * inside[0] * inside[1] * (0.2 + 0.5 * severity) * 0.85 ** (count - 1)
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
    place = places[int(rng.random() * len(places))]
    depth = ndimage.distance_transform_edt(mask)
    points = np.argwhere(depth >= min(2 * unit(image), depth.max()))
    source = points[int(rng.random() * len(points))]
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
    copy, weight = _moved(image, end, length, angle)
    arrived = weight > 0.5
    left = ndimage.binary_dilation(end, iterations=max(1, round(unit(image)))) & ~(mask & ~end)
    changed = np.where(arrived[..., None], copy, _background(image, mask))
    return changed, (arrived | left).astype(float)


@operator(FLOATING, "training")
def crumble_end(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """The end of the object falls apart into islands with background between."""
    mask = subject(image)
    end = _end(image, mask, severity, rng.uniform(0, 2 * np.pi))
    gaps = noise(image, 3 * unit(image), rng) < 0.25
    return _background(image, mask), (end & (gaps | ~mask)).astype(float)


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
    for place in places[(rng.random(rng.integers(2, 6)) * len(places)).astype(int)]:
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
    seeds = points[(rng.random(count) * len(points)).astype(int)]
    part = np.argmin([np.hypot(*offsets(image, *seed)) for seed in seeds], axis=0)
    drift, turns = rng.uniform(1.5, 4.5, count), rng.uniform(-0.7, 0.7, count)
    wind = rng.choice([0, 3]) * rng.standard_normal(2)
    changed, covered = _background(image, mask), ndimage.binary_dilation(mask, iterations=max(1, round(unit(image))))
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
    source = strange[int(rng.random() * len(strange))]
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
    target, source = places[int(rng.random() * len(places))], ndimage.center_of_mass(end)
    rows, columns = rotated(*offsets(image, *target), rng.uniform(-2, 2))
    shown, mirrored = size * (0.75 + 0.25 * severity), rng.choice([-1, 1])
    rows, columns = source[0] + rows / shown, source[1] + mirrored * columns / shown
    within = (rows >= 0) & (columns >= 0) & (rows < mask.shape[0]) & (columns < mask.shape[1])
    arrived = sample(end, rows, columns) * within * ~mask
    left = ndimage.binary_dilation(end, iterations=max(1, round(unit(image)))) & ~(mask & ~end)
    left = left * (1 - arrived) * rng.integers(0, 2)
    changed = np.where(arrived[..., None] > 0, sample(image, rows, columns), _background(image, mask))
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
    return _background(image, mask), gap.astype(float)
