"""Artifacts of texture: noise, repetition, lattices, bleeding."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special
from scipy.spatial import KDTree

from .places import (
    NoPlace,
    blur,
    detail,
    distance_outside,
    edges,
    luminance,
    noise,
    offsets,
    pixel,
    position_along,
    region,
    rotated,
    sample,
    signed_distance,
    spread,
    subject,
    texture,
    thing,
    unit,
)
from .registry import Changed, operator


BLED = "Texture bleeding between adjacent regions"
TILED = "Texture repetition patterns"
REPEATED = "Repeated element patterns"
NOISY_PLAIN = "Artificial noise patterns in uniform surfaces"
NOISY_DETAIL = "Random noise patterns in detailed areas"
GRID = "Regular grid-like artifacts in textures"
FREQUENCY = "Frequency domain signatures"


def _border_part(mask: NDArray, image: NDArray, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    """Distance in units outside an object, and weights that pick a part of its border."""
    border = ndimage.binary_dilation(mask) & ~mask
    points = np.argwhere(border & (edges(image) >= np.median(edges(image)[border])))
    rows, columns = offsets(image, *points[int(rng.random() * len(points))])
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
    size, long, power = rng.uniform(1.1, 2.3), rng.uniform(1, 2.5), rng.choice([1, 2, 8])
    weight = np.zeros(mask.shape)
    for index in (rng.random(rng.integers(8, 20)) ** 1.5 * len(points)).astype(int):
        center = points[np.argsort(distance[tuple(points.T)], kind="stable")[index]]
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


def _tiles(
    image: NDArray, severity: float, rng: np.random.Generator
) -> tuple[NDArray, int, NDArray, NDArray, NDArray]:
    """Place, size of a tile, and the rows and columns from its upper left corner."""
    score = texture(image)
    weight = region(score, rng, at_least=0.025, size=(0.3, 0.45))
    size = round(rng.integers(4, 7) * unit(image))
    row, column = np.unravel_index(np.argmax(score * (weight > 0.5)), score.shape)
    first = np.clip([row - size // 2, column - size // 2], 0, np.array(score.shape) - size)
    rows, columns = offsets(image, *first)
    return np.minimum(3 * weight, 1) * (0.15 + 0.85 * severity), size, rows, columns, first


def _cells(rows: NDArray, columns: NDArray, size: int) -> tuple[NDArray, NDArray]:
    """Row and column of the tile that each pixel is in, counted from 0."""
    return rows // size - rows.min() // size, columns // size - columns.min() // size


@operator(TILED, "training")
def tile_texture(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A patch is laid out again and again."""
    tiles = _tiles(image, severity, rng)
    weight, size, rows, columns, first = tiles
    return image[first[0] + rows % size, first[1] + columns % size], weight


@operator(TILED, "training")
def turn_tiles(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A patch is laid out again and again, each time turned by a random number of quarter turns."""
    tiles = _tiles(image, severity, rng)
    weight, size, rows, columns, first = tiles
    cells = _cells(rows, columns, size)
    turns = rng.integers(0, 4, [cell.max() + 1 for cell in cells])[cells]
    sides = [rows % size, columns % size, size - 1 - rows % size, size - 1 - columns % size]
    down = np.choose(turns, sides)
    right = np.choose((turns + 1) % 4, sides)
    return image[first[0] + down, first[1] + right], weight


@operator(TILED, "training")
def repeat_along(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A strip of texture is repeated side by side in any one direction, and goes on freely in the other."""
    tiles = _tiles(image, severity, rng)
    weight, size, rows, columns, first = tiles
    angle, period = rng.uniform(0, np.pi), size * rng.uniform(0.6, 1.1)
    along = (rows - size / 2) * np.sin(angle) + (columns - size / 2) * np.cos(angle)
    back = np.round(along / period) * period
    return sample(image, first[0] + rows - back * np.sin(angle), first[1] + columns - back * np.cos(angle)), weight


@operator(TILED, "training")
def scatter_patch(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Round copies of a patch with soft rims lie at uneven distances from each other."""
    tiles = _tiles(image, severity, rng)
    weight, size, rows, columns, first = tiles
    cells = _cells(rows, columns, size)
    jitter = rng.uniform(-0.2, 0.2, (2, cells[0].max() + 1, cells[1].max() + 1))[:, *cells] * size
    middle = (size - 1) / 2
    down, right = rows % size - middle - jitter[0], columns % size - middle - jitter[1]
    disc = np.clip(1.5 * (0.7 * size - np.hypot(down, right)) / (0.3 * size), 0, 1)
    return sample(image, first[0] + middle + down, first[1] + middle + right), weight * disc


@operator(TILED, "training")
def repeat_fine_detail(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Only the fine detail of a patch, raised, is laid out again and again, on light and colors that go on below."""
    tiles = _tiles(image, severity, rng)
    weight, size, rows, columns, first = tiles
    soft = blur(image, 1.5 * unit(image))
    fine = image - soft
    return soft + 1.5 * fine[first[0] + rows % size, first[1] + columns % size], weight


@operator(TILED, "training")
def repeat_ever_wider(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A strip of texture is repeated ever wider toward one side, as on a floor that is seen at a slant."""
    tiles = _tiles(image, severity, rng)
    weight, size, rows, columns, first = tiles
    angle, middle = rng.uniform(0, 2 * np.pi), (size - 1) / 2
    along, across = rotated(columns - middle, rows - middle, angle)
    from_start = along - along[weight > 0].min()
    turns = 2.5 * np.log(np.maximum(1 + from_start / (1.2 * size), 0.1))
    within = (turns % 1 - 0.5) * size
    right, down = rotated(within, across, -angle)
    return sample(image, first[0] + middle + down, first[1] + middle + right), weight


def _papered(image: NDArray, rng: np.random.Generator) -> tuple[NDArray, NDArray, float]:
    """Where a wallpaper lies, a textured area or an object, the middle of its patch, and the size of that."""
    score, size = texture(image), rng.uniform(4.5, 7.5) * unit(image)
    if rng.random() < 0.6:
        weight = np.minimum(3 * region(score, rng, at_least=0.02, size=(0.3, 0.48)), 1)
    else:
        weight = np.clip(0.5 - signed_distance(thing(image, rng)) / unit(image), 0, 1)
    margin = int(np.ceil(0.5 * size))
    average = ndimage.uniform_filter(score * (weight > 0.5), round(size))
    inner = average[margin : average.shape[0] - margin, margin : average.shape[1] - margin]
    if inner.max() < 0.015:
        raise NoPlace
    candidates = np.argwhere(inner >= np.quantile(inner, 0.97))
    return weight, candidates[int(rng.random() * len(candidates))] + margin, size


@operator(TILED, "training")
def paper_in_lattice(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A patch covers an area or an object in an oblique lattice, each second copy upside down or not."""
    weight, middle, size = _papered(image, rng)
    angle, skew, brick = rng.uniform(0, np.pi), rng.choice([0, rng.uniform(-0.7, 0.7)]), rng.choice([0, 0, 0.5])
    aspect, turned_over = rng.uniform(0.6, 1), rng.integers(2)
    down, right = (offset / size for offset in rotated(*offsets(image, *middle), angle))
    down = down / aspect
    row = np.round(down)
    right = right + skew * down + brick * (row % 2)
    column = np.round(right)
    side = size * (1 - 2 * turned_over * ((row + column) % 2))
    rows, columns = rotated((down - row) * aspect * side, (right - column) * side, -angle)
    return sample(image, middle[0] + rows, middle[1] + columns), weight * (0.15 + 0.85 * severity)


@operator(TILED, "training")
def paper_bent(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A patch covers an area or an object along bent lines: waves, a bulge, or a plane that recedes."""
    weight, middle, size = _papered(image, rng)
    kind, turned, phase = rng.integers(3), rng.uniform(0, 2 * np.pi), rng.uniform(0, 2 * np.pi)
    center = np.array(ndimage.center_of_mass(weight)) + rng.uniform(-3, 3, 2) * unit(image)
    rows, columns = (offset / size for offset in offsets(image, *center))
    down, right = rotated(rows, columns, turned)
    if kind == 0:
        down = down + rng.uniform(0.2, 0.5) * np.sin(rng.uniform(1.2, 2.5) * right + phase)
    elif kind == 1:
        growth = 0.75 + rng.uniform(0.1, 0.25) * np.hypot(down, right)
        down, right = growth * down, growth * right
    else:
        depth = np.clip(1 + rng.uniform(0.12, 0.22) * down, 0.4, None)
        down, right = 4 * np.log(depth) / 0.7, right / depth
    within, beside = (offset - np.round(offset) for offset in (down, right))
    changed = sample(image, middle[0] + size * within, middle[1] + size * beside)
    if rng.random() < 0.5:  # on light that goes on below
        soft = blur(image, 3 * unit(image))
        changed = changed * ((soft + 0.1) / (blur(changed, 3 * unit(image)) + 0.1))
    return changed, weight * (0.15 + 0.85 * severity)


@operator(TILED, "evaluation")
def mirror_texture(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A patch is unfolded by mirroring, each column of tiles half a tile lower than the one before."""
    tiles = _tiles(image, severity, rng)
    weight, size, rows, columns, first = tiles
    rows = rows + columns // size * (size // 2)
    rows, columns = rows % (2 * size), columns % (2 * size)
    rows, columns = np.minimum(rows, 2 * size - 1 - rows), np.minimum(columns, 2 * size - 1 - columns)
    return image[first[0] + rows, first[1] + columns], weight


def _striking(image: NDArray) -> tuple[int, int]:
    """Row and column of the most striking element, not at the border."""
    margin = round(4 * unit(image))
    salience = ndimage.uniform_filter(edges(image), 2 * round(3 * unit(image)) + 1)
    salience[:margin], salience[-margin:], salience[:, :margin], salience[:, -margin:] = 0, 0, 0, 0
    if salience.max() < 0.05:
        raise NoPlace
    row, column = np.unravel_index(np.argmax(salience), salience.shape)
    return int(row), int(column)


@operator(REPEATED, "training")
def stamp_in_a_row(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """The most striking element is stamped at equal distances along a line through it."""
    element = _striking(image)
    radius, angle = rng.uniform(2.6, 3.8) * unit(image), rng.uniform(0, np.pi)
    step = (2 * radius + unit(image)) * np.array([np.sin(angle), np.cos(angle)])
    changed, weight = image, np.zeros(image.shape[:2])
    for count in (-3, -2, -1, 1, 2, 3):
        rows, columns = offsets(image, *np.round(count * step))
        copy = np.clip((radius - np.hypot(rows - element[0], columns - element[1])) / unit(image) + 0.5, 0, 1)
        changed = np.where(copy[..., None] > 0, sample(image, rows, columns, order=0), changed)
        weight = np.maximum(weight, copy)
    return changed, weight * (0.3 + 0.7 * severity)


@operator(REPEATED, "training")
def line_up_small_copies(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Small copies of the whole object stand in a row across the image."""
    mask = subject(image)
    center = np.array(ndimage.center_of_mass(mask))
    shrink, copies, angle = rng.uniform(0.36, 0.5), rng.integers(3, 6), rng.uniform(-0.5, 0.5)
    extent = np.ptp(np.argwhere(mask) @ [np.sin(angle), np.cos(angle)]) * shrink + 1.5 * unit(image)
    start = rng.uniform(0.3, 0.7, 2) * mask.shape
    changed, weight = image, np.zeros(mask.shape)
    for count in np.arange(copies) - (copies - 1) / 2:
        rows, columns = offsets(image, *(start + count * extent * np.array([np.sin(angle), np.cos(angle)])))
        source = center[0] + rows / shrink, center[1] + columns / shrink
        inside = (source[0] >= 0) & (source[1] >= 0) & (source[0] < mask.shape[0]) & (source[1] < mask.shape[1])
        copy = sample(mask, *source) * inside
        changed = np.where(copy[..., None] > weight[..., None], sample(image, *source), changed)
        weight = np.maximum(weight, copy)
    return changed, weight * (0.3 + 0.7 * severity)


@operator(REPEATED, "training")
def dwindle_along_arc(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """The most striking element stands again and again along an arc, each copy smaller than the one before."""
    element = _striking(image)
    radius, shrink = rng.uniform(3, 4.2) * unit(image), rng.uniform(0.72, 0.88)
    middle = (np.array(image.shape[:2]) - 1) / 2
    angle, bend = np.arctan2(*(middle - element)) + rng.uniform(-0.8, 0.8), rng.uniform(-0.5, 0.5)
    place, size = np.array(element, float), 1.0
    changed, weight = image, np.zeros(image.shape[:2])
    for _ in range(rng.integers(3, 6)):
        place = place + radius * size * (1 + shrink) * np.array([np.sin(angle), np.cos(angle)])
        angle, size = angle + bend, size * shrink
        rows, columns = (offset / size for offset in offsets(image, *place))
        copy = np.clip((radius - np.hypot(rows, columns)) / unit(image) + 0.5, 0, 1)
        changed = np.where(
            copy[..., None] > weight[..., None], sample(image, rows + element[0], columns + element[1]), changed
        )
        weight = np.maximum(weight, copy)
    return changed, weight * (0.3 + 0.7 * severity)


@operator(REPEATED, "training")
def twin_beside(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """The object stands beside itself once more, turned the other way around."""
    mask = subject(image)
    (place,) = ndimage.find_objects(mask.astype(int))
    left, right = place[1].start, place[1].stop
    side = right if right + left < mask.shape[1] else left
    axis = side - 0.5 + (1 if side == right else -1) * rng.uniform(0.8, 1.5) * unit(image)
    rows, columns = offsets(image, 0, 0)
    twin = 2 * axis - columns
    inside = (twin >= 0) & (twin <= mask.shape[1] - 1)
    copy = sample(mask, rows, twin) * inside
    if (copy > 0.5).sum() < 0.5 * mask.sum():  # most of it would be outside of the image
        raise NoPlace
    return sample(image, rows, twin), copy * ~mask * (0.3 + 0.7 * severity)


def _element(image: NDArray, rng: np.random.Generator) -> NDArray:
    """Row and column of one of the striking elements, not at the border."""
    margin = round(4 * unit(image))
    salience = ndimage.uniform_filter(edges(image), 2 * round(2 * unit(image)) + 1)[margin:-margin, margin:-margin]
    if salience.max() < 0.06:
        raise NoPlace
    candidates = np.argwhere(salience >= max(0.06, np.quantile(salience, 0.94)))
    return candidates[int(rng.random() * len(candidates))] + margin


def _stamped(
    image: NDArray, element: NDArray, copies: list[tuple[NDArray, float, float, int]], rng: np.random.Generator
) -> tuple[NDArray, NDArray]:
    """Copies of an element, cut out as a lozenge, an ellipse or a rectangle, and where they lie.

    Each has a place, an angle by which it is turned, a size, and -1 if it is mirrored, else 1.
    """
    power, extent = rng.uniform(1.1, 5), rng.uniform(2.4, 4, 2) * unit(image)
    changed, weight = image, np.zeros(image.shape[:2])
    for place, turn, size, flip in copies:
        rows, columns = offsets(image, *place)
        down, right = rotated(rows / size, columns / size, turn)
        reach = ((abs(down) / extent[0]) ** power + (abs(right) / extent[1]) ** power) ** (1 / power)
        copy = np.clip((1 - reach) * extent.min() / unit(image) + 0.5, 0, 1)
        looked_at = sample(image, element[0] + down, element[1] + flip * right)
        changed = np.where((copy > weight)[..., None], looked_at, changed)
        weight = np.maximum(weight, copy)
    return changed, weight


@operator(REPEATED, "training")
def clone_here_and_there(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """An element turns up everywhere like one face in a crowd: in ranks or scattered, alike or of many sizes."""
    element, step = _element(image, rng), rng.uniform(6.5, 9, 2) * unit(image)
    disorder, spread_of_sizes, lean = rng.choice([0, 0.12, 0.25]), rng.choice([0, 0.25]), rng.choice([0, 0.5])
    may_flip, may_turn = rng.choice([0, 0.5]), rng.choice([0, 0.4])
    chance, copies = rng.uniform(0.6, 1), []
    for down, right in np.argwhere(np.ones((4, 5))) - 2.0:
        place = element + step * (np.array([down, right + lean * (down % 2)]) + disorder * rng.standard_normal(2))
        turn, size = may_turn * rng.standard_normal(), 0.85 + spread_of_sizes * rng.uniform(-1, 1)
        flip, stands = 1 - 2 * (rng.random() < may_flip), rng.random() < chance
        if stands and (down or right):
            copies.append((place, turn, size, flip))
    changed, weight = _stamped(image, element, copies, rng)
    return changed, weight * (0.3 + 0.7 * severity)


@operator(REPEATED, "training")
def stud_outline(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """One piece of an object's outline, or another element, is repeated along a part of the outline."""
    distance = signed_distance(thing(image, rng))
    rim = np.argwhere(abs(distance - rng.uniform(-2, 2) * unit(image)) < max(0.6, 0.6 * unit(image)))
    rim = rim[np.argsort(np.arctan2(*(rim - rim.mean(0)).T))]
    count = int(np.clip(len(rim) / (rng.uniform(8, 14) * unit(image)), 3, 8))
    share = rng.uniform(0.2, 0.35)  # of the outline
    rim = np.roll(rim, -int(rng.random() * len(rim)), axis=0)
    places = rim[(np.arange(count) * share * len(rim) / count).astype(int)]
    element = places[0] if rng.random() < 0.6 else _element(image, rng)
    sizes = rng.choice([0.9, 1, 1.1]) ** np.arange(count) * rng.uniform(0.6, 1)
    flips = rng.choice([-1, 1]) ** np.arange(count)
    copies = [(place, 0.0, size, flip) for place, size, flip in zip(places, sizes, flips, strict=True)]
    changed, weight = _stamped(image, element, copies, rng)
    return changed, weight * (0.3 + 0.7 * severity)


@operator(REPEATED, "training")
def frieze(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A piece of a band, straight or bent, returns along it: shifted, upside down, or ever smaller."""
    element, angle = _element(image, rng), rng.choice([0, np.pi / 2, rng.uniform(0, np.pi)])
    period, half_width = rng.uniform(4, 7.5) * unit(image), rng.uniform(2.5, 5) * unit(image)
    along, across = rotated(*offsets(image, *element), angle)
    across = across + rng.choice([0, rng.uniform(-0.02, 0.02)]) / unit(image) * along**2
    if rng.random() < 0.35:  # ever smaller toward one end
        shrink = np.clip(1 - rng.choice([-1, 1]) * along / (24 * unit(image)), 0.35, 1.3)
        along, across = along / shrink, across / shrink
    count = np.round(along / period)
    flips = 1 - 2 * (count % 2)
    within, beside = along - count * period, across * (flips if rng.random() < 0.5 else 1)
    weight = np.clip((half_width - abs(across)) / unit(image) + 0.5, 0, 1) * (abs(count) <= rng.integers(2, 5))
    down, right = rotated(within, beside, -angle)
    return sample(image, element[0] + down, element[1] + right), weight * (0.3 + 0.7 * severity)


@operator(REPEATED, "training")
def row_of_studs(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Equal studs, holes, petals or bars of a color of the image stand in a line, a zigzag or an arc."""
    count, radius = rng.integers(5, 9), rng.uniform(1.8, 3) * unit(image)
    lobes, depth = rng.integers(2, 7), rng.choice([0, rng.uniform(0.1, 0.4)])
    slim = rng.choice([1, rng.uniform(1.3, 2)])
    hole, bulge, turned = rng.choice([-1, -1, rng.uniform(0.4, 0.55)]), rng.choice([0, 0.5]), rng.integers(2)
    bend, zigzag = ((0, 0), (0, 0.7), (rng.uniform(-0.2, 0.2), 0))[rng.integers(3)]
    angles = rng.uniform(0, 2 * np.pi) + bend * np.arange(count) + zigzag * (-1) ** np.arange(count)
    places = np.cumsum(rng.uniform(2.3, 3.2) * radius * np.array([np.sin(angles), np.cos(angles)]).T, axis=0)
    places += rng.uniform(0.35, 0.65, 2) * image.shape[:2] - places.mean(0)
    shade, weight = np.ones(image.shape[:2]), np.zeros(image.shape[:2])
    for place, angle in zip(places, angles, strict=True):
        rows, columns = (offset / radius for offset in offsets(image, *place))
        down, right = rotated(rows, columns, turned * angle)
        distance, rim = np.hypot(down, slim * right), 1 - depth + depth * np.cos(lobes * np.arctan2(down, right))
        stud = np.clip(2.5 * (rim - distance) + 0.3, 0, 1) * np.clip(2.5 * (distance - hole) + 0.3, 0, 1)
        shade = np.where(stud > weight, np.exp(-bulge * (rows + columns)), shade)
        weight = np.maximum(weight, stud)
    colors = image[tuple((rng.random((2, 32)).T * image.shape[:2]).astype(int).T)]
    beneath = (weight[..., None] * image).sum((0, 1)) / weight.sum()
    color = colors[np.argmax(np.linalg.norm(colors - beneath, axis=-1))]
    return color * shade[..., None], weight * (0.25 + 0.7 * severity)


@operator(REPEATED, "evaluation")
def repeat_around_center(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A sector of a disc is repeated around its center, as in a kaleidoscope without mirrors."""
    weight = region(edges(image), rng, 0.06, size=(0.3, 0.45))
    center = ndimage.center_of_mass(weight)
    rows, columns = offsets(image, *center)
    sector = 2 * np.pi / rng.integers(4, 7)
    angle = (np.arctan2(rows, columns) + rng.uniform(0, 2 * np.pi)) % (2 * np.pi)
    turned = np.arctan2(rows, columns) - angle // sector * sector
    radius = np.hypot(rows, columns)
    repeated = sample(image, center[0] + radius * np.sin(turned), center[1] + radius * np.cos(turned))
    return repeated, np.minimum(3 * weight, 1) * (angle >= sector) * (0.3 + 0.7 * severity)


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


def _lattice_place(image: NDArray, rng: np.random.Generator) -> NDArray:
    """Weights of a large textured area."""
    weight = region(texture(image), rng, at_least=0.025, size=(0.3, 0.48))
    return np.minimum(3 * weight, 1)


def _ink(image: NDArray, weight: NDArray) -> int:
    """Black or white, whichever stands out from a place."""
    return 0 if luminance(image)[weight > 0].mean() > 0.4 else 1


@operator(GRID, "training")
def draw_grid(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Lines at equal distances, dark or bright."""
    weight = _lattice_place(image, rng)
    period, width = round(rng.integers(3, 6) * unit(image)), max(1, round(0.8 * unit(image)))
    start = rng.integers(0, period, 2)
    rows, columns = offsets(image, *start)
    lines = (rows % period < width) | (columns % period < width)
    return image + (0.08 + 0.35 * severity) * lines[..., None] * (_ink(image, weight) - image), weight


@operator(GRID, "training")
def weave(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Bright and dark knots alternate as in a woven cloth: the product of two sines."""
    weight = _lattice_place(image, rng)
    rows, columns = (
        np.sin(2 * np.pi * (offset / (rng.uniform(4, 7) * unit(image)) + rng.random()))
        for offset in offsets(image, 0, 0)
    )
    return image + ((0.03 + 0.2 * severity) * rows * columns)[..., None], weight


@operator(GRID, "training")
def dot_lattice(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Round dots, dark or bright, in a lattice that is square or hexagonal and turned by any angle."""
    weight = _lattice_place(image, rng)
    angle, between = rng.uniform(0, np.pi), np.pi / rng.integers(2, 4)
    period = rng.uniform(2.8, 4.8) * unit(image)
    waves = [
        np.cos(2 * np.pi * (position_along(image, turned) / period + rng.random()))
        for turned in (angle, angle + between)
    ]
    dots = np.clip(sum(waves) - 0.3, 0, 1)[..., None]
    return image + (0.1 + 0.5 * severity) * dots * (_ink(image, weight) - image), weight


@operator(GRID, "training")
def engrave_lozenges(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Oblique grooves cross each other, with one flank lit and the other in the shade."""
    weight = _lattice_place(image, rng)
    slope, relief = rng.uniform(0.45, 1.1), np.zeros(image.shape[:2])
    period = rng.uniform(4, 6.5) * unit(image)
    for angle in (slope, -slope):
        from_groove = (position_along(image, angle) / period + rng.random()) % 1 - 0.5
        across = from_groove * period / (0.8 * unit(image))
        relief += across * np.exp(0.5 - across**2 / 2)
    return image * np.exp((0.05 + 0.38 * severity) * relief)[..., None], weight


@operator(GRID, "training")
def glass_bricks(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Seen as through a wall of glass bricks: each shows a little more than what is behind it."""
    weight = _lattice_place(image, rng)
    period, start = rng.uniform(3.5, 6.5, 2) * unit(image), rng.random(2)
    looked_at = [
        offset + (0.2 + 1.2 * severity) * (((offset / step + first) % 1) - 0.5) * step
        for offset, step, first in zip(offsets(image, 0, 0), period, start, strict=True)
    ]
    return sample(image, *looked_at), weight


@operator(GRID, "training")
def stripe_exposure(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Rows or columns are exposed more and less in turn, with a sudden change on one side of each stripe."""
    weight = _lattice_place(image, rng)
    offset = offsets(image, 0, 0)[rng.integers(2)] / (rng.uniform(2.5, 5.5) * unit(image))
    ramp = (offset + rng.random()) % 1 - 0.5
    return image * np.exp((0.2 + 0.9 * severity) * ramp)[..., None], weight


@operator(GRID, "training")
def lay_bricks(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Joints of a wall, dark or bright: rows of bricks, each half a brick further than the one below."""
    weight = _lattice_place(image, rng)
    height, width = rng.uniform(2.8, 4.2) * unit(image), rng.uniform(4.5, 7) * unit(image)
    down, right = offsets(image, *(-rng.random(2) * (height, width)))
    course = np.floor(down / height)
    joint = max(1, 0.8 * unit(image))
    joints = (down % height < joint) | ((right + course % 2 * width / 2) % width < joint)
    return image + (0.08 + 0.37 * severity) * joints[..., None] * (_ink(image, weight) - image), weight


@operator(GRID, "training")
def quilt_pads(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Bulging pads side by side: each is bright in its middle and darkens toward its seams."""
    weight = _lattice_place(image, rng)
    angle, period = rng.uniform(0, np.pi / 2), rng.uniform(3.2, 6) * unit(image)
    bulge = np.ones(image.shape[:2])
    for turned in (angle, angle + np.pi / 2):
        bulge *= abs(np.sin(np.pi * (position_along(image, turned) / period + rng.random())))
    return image * np.exp((0.12 + 0.75 * severity) * (bulge - 0.4))[..., None], weight


@operator(GRID, "training")
def bevel_tiles(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Tiles with slanted rims: two rims of each are lit, the two opposite ones lie in the shade."""
    weight = _lattice_place(image, rng)
    relief, lit = np.zeros(image.shape[:2]), rng.choice([-1, 1], 2)
    for offset, sign in zip(offsets(image, 0, 0), lit, strict=True):
        period = rng.uniform(4, 7) * unit(image)
        place = (offset + rng.random() * period) % period
        rim = 1.1 * unit(image)
        relief += sign * ((place < rim).astype(float) - (place > period - rim))
    return image * np.exp((0.08 + 0.5 * severity) * relief)[..., None], weight


@operator(GRID, "training")
def honeycomb(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Walls of hexagonal cells, dark or bright."""
    weight = _lattice_place(image, rng)
    period = rng.uniform(3.6, 6) * unit(image)
    across = np.arange(-1, max(image.shape[:2]) / period * 1.3 + 2)
    down, right = (index.ravel() for index in np.meshgrid(across, across, indexing="ij"))
    sites = period * (np.stack([down * 0.75**0.5, right + down % 2 / 2], axis=-1) - rng.random(2))
    nearest = KDTree(sites).query(np.stack(offsets(image, 0, 0), axis=-1), 2)[0]
    walls = (np.diff(nearest)[..., 0] < 1.2 * unit(image))[..., None]
    return image + (0.08 + 0.4 * severity) * walls * (_ink(image, weight) - image), weight


@operator(GRID, "training")
def displaced_panes(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Seen through small panes, of which each shows what lies a little beside it, in a direction of its own."""
    weight = _lattice_place(image, rng)
    size = rng.uniform(3.5, 6) * unit(image)
    rows, columns = offsets(image, 0, 0)
    first = rng.random(2)
    cell = np.floor(rows / size + first[0]).astype(int), np.floor(columns / size + first[1]).astype(int)
    turned = rng.uniform(0, 2 * np.pi, [index.max() + 1 for index in cell])[cell]
    length = (0.7 + 2.3 * severity) * unit(image)
    return sample(image, rows + length * np.sin(turned), columns + length * np.cos(turned)), weight


@operator(GRID, "training")
def fish_scales(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Rows of overlapping round scales, each darkening toward its rim."""
    weight = _lattice_place(image, rng)
    width = rng.uniform(4, 6.5) * unit(image)
    height = width * rng.uniform(0.4, 0.55)
    down, right = offsets(image, *(-rng.random(2) * (height, width)))
    row = np.floor(down / height)
    shade = np.ones(image.shape[:2])
    # A scale covers the upper part of those in the next row.
    for above in (0, 1):
        scale_row = row - above
        beside = (right + scale_row % 2 * width / 2) % width - width / 2
        reach = np.hypot(down - scale_row * height, beside) / (0.62 * width)
        shade = np.where(reach < 1, reach, shade)
    return image * np.exp((0.12 + 0.75 * severity) * (0.6 - shade))[..., None], weight


@operator(GRID, "training")
def wicker(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Wickerwork: bundles of canes that run level and upright in turn."""
    weight = _lattice_place(image, rng)
    size = rng.uniform(4, 6) * unit(image)
    rows, columns = (offset / size + rng.random() for offset in offsets(image, 0, 0))
    level = (np.floor(rows) + np.floor(columns)) % 2 == 0
    canes = np.cos(2 * np.pi * 2 * np.where(level, rows, columns))
    return image * np.exp((0.06 + 0.4 * severity) * canes)[..., None], weight


# Forms of a line or block of a lattice, in [-1, 1] over a phase that counts periods.
PROFILES = (
    lambda phase: np.cos(2 * np.pi * phase),
    lambda phase: 1.6 * np.exp(-((((phase + 0.5) % 1 - 0.5) / 0.15) ** 2)) - 0.6,
    lambda phase: 2 * (phase % 1) - 1,
    lambda phase: 1 - 2 * abs(np.sin(np.pi * phase)),
)


def _imprint(image: NDArray, pattern: NDArray, severity: float, rng: np.random.Generator) -> NDArray:
    """The image with a pattern of values in [-1, 1] in its brightness, color, sharpness or saturation."""
    way, color = rng.integers(5), rng.uniform(-0.5, 1, 3)
    level, pattern = rng.choice([-1, 1]) * (0.12 + 0.88 * severity), pattern[..., None]
    if way == 0:
        return image + 0.2 * level * pattern
    if way == 1:
        return image * np.exp(0.55 * level * pattern)
    if way == 2:  # a color, with some brightness
        return image + 0.3 * level * pattern * color / abs(color).max()
    if way == 3:  # rough and smooth in turn, and a little brighter and darker
        return image + level * pattern * (3 * (image - blur(image, 1.5 * unit(image))) + 0.16)
    # vivid and gray in turn
    gray = luminance(image)[..., None]
    return gray + (image - gray) * np.exp(1.8 * level * pattern) + 0.16 * level * pattern


@operator(GRID, "training")
def imprint_mesh(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Lines, saws or waves cross in two or three directions, or run in a single one."""
    weight = _lattice_place(image, rng)
    directions, join = rng.choice([1, 2, 2, 2, 3]), rng.integers(2)
    angle = rng.choice([0, np.pi / 4, rng.uniform(0, np.pi)])
    profile, period = PROFILES[rng.integers(len(PROFILES))], rng.uniform(4, 6.5) * unit(image)
    waves = []
    for turned in angle + np.pi / directions * np.arange(directions):
        along, _ = rotated(*offsets(image, 0, 0), turned)
        waves.append(profile(along / (period * rng.uniform(0.8, 1.2)) + rng.random()))
    pattern = (np.mean(waves, 0) * directions**0.5, np.max(waves, 0))[join]
    return _imprint(image, np.clip(pattern, -1, 1), severity, rng), weight


@operator(GRID, "training")
def blocks_with_insides(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Blocks, each with a slope, a wave or a rim of its own, as after strong compression."""
    weight = _lattice_place(image, rng)
    size = unit(image) * rng.uniform(3, 5.5) * np.exp([0, rng.normal() * 0.25])
    down, right = rotated(*offsets(image, 0, 0), rng.choice([0, 0, np.pi / 4, rng.uniform(0, np.pi)]))
    down = (down - down.min()) / size[0] + rng.random()
    right = (right - right.min()) / size[1] + rng.random() + np.floor(down) * rng.choice([0, 0, 0.5])
    row, column = np.floor(down).astype(int), np.floor(right).astype(int)
    own = np.clip(rng.standard_normal((3, row.max() + 1, column.max() + 1)), -1.5, 1.5)[:, row, column]
    y, x = down % 1 - 0.5, right % 1 - 0.5
    wave = np.where(own[0] > own[1], np.cos(2 * np.pi * x), np.cos(2 * np.pi * y))
    rim = 2 * (np.maximum(abs(x), abs(y)) > 0.36) - 1
    pattern = (2 * (own[0] * x + own[1] * y), wave * own[2], (0.5 + 0.5 * abs(own[0])) * rim)[rng.integers(3)]
    return _imprint(image, np.clip(pattern, -1, 1), severity, rng), weight


@operator(GRID, "training")
def bent_mesh(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """The two families of lines are bent: spokes and rings, a floor seen at a slant, a rippled or draped net."""
    weight = _lattice_place(image, rng)
    scale, middle = unit(image), rng.uniform(0.2, 0.8, 2) * image.shape[:2]
    rows, columns = (offset / scale for offset in offsets(image, *middle))
    rows, columns = rotated(rows, columns, rng.uniform(0, 2 * np.pi))
    depth, reach = 24 / np.maximum(rows + rng.uniform(16, 26), 5), np.hypot(rows, columns)
    ripple, length = rng.uniform(0.8, 1.8), rng.uniform(9, 16)
    relief = blur(luminance(image), 1.5 * scale) * rng.uniform(5, 9)
    profile, period, spokes = PROFILES[rng.integers(len(PROFILES))], rng.uniform(3.6, 5.5), rng.integers(8, 15)
    first, second = (
        (reach, np.arctan2(rows, columns) * spokes * period / (2 * np.pi)),
        (16 * depth, columns * depth),
        (rows + ripple * np.sin(columns * 6.3 / length), columns + ripple * np.sin(rows * 6.3 / length)),
        (rows + relief, columns - relief),
    )[rng.integers(4)]
    waves = []
    for place in (first, second):
        tightness = np.hypot(*np.gradient(place / period))  # too tight a line would only look like noise
        waves.append(profile(place / period + rng.random()) * np.clip(2.2 - 4 * tightness, 0, 1))
    pattern = (np.max(waves, 0), np.mean(waves, 0) * 1.4)[rng.integers(2)]
    return _imprint(image, np.clip(pattern, -1, 1), severity, rng), weight


@operator(GRID, "training")
def print_cells(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Dots, diamonds, squares, crosses or strokes in rows, each of one color, on a lighter or darker ground."""
    weight = _lattice_place(image, rng)
    angle, period = rng.choice([0, np.pi / 4, rng.uniform(0, np.pi)]), rng.uniform(3, 5.2) * unit(image)
    down, right = (place / period + rng.random() for place in rotated(*offsets(image, 0, 0), angle))
    right = right + np.floor(down) * rng.choice([0, 0.5])
    y, x = down % 1 - 0.5, right % 1 - 0.5
    rows, columns = offsets(image, 0, 0)
    back = [place * period for place in rotated(y, x, -angle)]
    tone = sample(blur(image, 0.3 * period), rows - back[0], columns - back[1])
    cross = np.minimum(abs(x + y), abs(x - y)) / 0.8 + 0.1
    forms = (np.hypot(x, y), (abs(x) + abs(y)) / 1.3, np.maximum(abs(x), abs(y)), cross, abs(y) / 0.7)
    grown = rng.choice([-0.25, 0, 0.25]) * (luminance(tone) - 0.5)
    shown = np.clip((0.34 + grown - forms[rng.integers(5)]) * period / unit(image) + 0.5, 0, 1)[..., None]
    ground = tone if rng.random() < 0.5 else image
    ground = ground + rng.uniform(0.35, 0.6) * (_ink(image, weight) - ground)
    return ground + shown * (tone - ground), weight * (0.15 + 0.75 * severity)


@operator(GRID, "training")
def cloth_of_threads(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """The texture is drawn out into threads that go over and under each other: in twill or satin."""
    weight = _lattice_place(image, rng)
    scale, angle = unit(image), rng.choice([0, np.pi / 4, rng.uniform(0, np.pi)])
    width = scale * rng.uniform(2, 3.2)
    along, across = (place / width + rng.random() for place in rotated(*offsets(image, 0, 0), angle))
    modulus, step = [(3, 1), (4, 1), (5, 2)][rng.integers(3)]
    over = (np.floor(along) * step + np.floor(across)) % modulus < modulus / 2
    rows, columns = offsets(image, 0, 0)
    shifts = [scale * shift for shift in np.linspace(-3, 3, 7)]
    drawn = [
        np.mean([sample(image, rows + s * np.sin(turn), columns + s * np.cos(turn)) for s in shifts], 0)
        for turn in (np.pi / 2 - angle, -angle)
    ]
    tones = rng.standard_normal((2, 64)) * rng.uniform(0, 0.5)
    threads = [np.floor(place).astype(int) % 64 for place in (across, along)]
    round_off = rng.uniform(0.6, 1.2)
    cloth = [
        color * np.exp(0.55 * (tone[thread] + round_off * (abs(np.sin(np.pi * place)) - 0.64) + lift))[..., None]
        for color, tone, thread, place, lift in zip(drawn, tones, threads, (across, along), (0.25, -0.25), strict=True)
    ]
    return np.where(over[..., None], *cloth), weight * (0.15 + 0.85 * severity)


@operator(GRID, "evaluation")
def step_blocks(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Square blocks that differ in brightness, as after coarse quantization of their means."""
    weight = _lattice_place(image, rng)
    period = round(rng.integers(3, 6) * unit(image))
    rows, columns = (offset.astype(int) // period for offset in offsets(image, *(-rng.integers(0, period, 2))))
    # Neighbors differ in sign, so that no two blocks join.
    level = rng.uniform(0.6, 1.4, (rows.max() + 1, columns.max() + 1))[rows, columns] * (
        1 - 2 * ((rows + columns) % 2)
    )
    return image + ((0.02 + 0.1 * severity) * level)[..., None], weight


@operator(FREQUENCY, "training")
def add_gratings(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Two oblique sine gratings: single peaks in the spectrum."""
    pattern = np.zeros(image.shape[:2])
    for angle in rng.uniform(0, np.pi) + np.array([0, np.pi * rng.uniform(0.3, 0.5)]):
        frequency = rng.uniform(0.22, 0.36) / pixel(image)
        pattern += np.sin(2 * np.pi * (frequency * position_along(image, angle) + rng.random()))
    return image + ((0.015 + 0.07 * severity) * pattern)[..., None], None


@operator(FREQUENCY, "training")
def add_same_residue(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """The same random residue is left in every square of a few pixels: a lattice of peaks in the spectrum."""
    size = rng.integers(4, 8)
    residue = rng.standard_normal((size, size, 1)) + 0.5 * rng.standard_normal((size, size, 3))
    cells = [np.floor(offset / pixel(image)).astype(int) % size for offset in offsets(image, 0, 0)]
    return image + (0.01 + 0.06 * severity) * (residue - residue.mean())[*cells], None


@operator(FREQUENCY, "training")
def interlace(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Every second row or column is displaced, as in a frame of interlaced video."""
    if detail(image).mean() < 0.04:
        raise NoPlace
    axis, places = rng.integers(2), list(offsets(image, 0, 0))
    sign = 1 - 2 * (np.floor(places[axis] / pixel(image)) % 2)
    places[1 - axis] = places[1 - axis] + (0.1 + 0.8 * severity) * pixel(image) * sign
    return sample(image, places[0], places[1]), None


@operator(FREQUENCY, "evaluation")
def uneven_upsampling(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Gains that repeat every few pixels, as a transposed convolution leaves them (Odena et al., 2016,
    "Deconvolution and Checkerboard Artifacts"): replicas of the whole spectrum."""
    gain = np.zeros(image.shape[:2])
    for offset, period in zip(offsets(image, 0, 0), rng.permutation([2, 3]), strict=True):
        gain += rng.permutation(np.linspace(-1, 1, period))[np.floor(offset / pixel(image)).astype(int) % period]
    return image * (1 + (0.02 + 0.13 * severity) * gain[..., None]), None
