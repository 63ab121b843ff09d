"""Artifacts of repetition: textures and elements that return."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .places import (
    NoPlace,
    blur,
    edges,
    offsets,
    one_of,
    region,
    rotated,
    sample,
    signed_distance,
    subject,
    texture,
    thing,
    unit,
)
from .registry import Changed, operator


TILED = "Texture repetition patterns"
REPEATED = "Repeated element patterns"


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
    return weight, one_of(candidates, rng) + margin, size


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
    return one_of(candidates, rng) + margin


def _stamped(
    image: NDArray,
    element: NDArray,
    copies: list[tuple[NDArray, float, float, int]],
    severity: float,
    rng: np.random.Generator,
) -> Changed:
    """Copies of an element, cut out as a lozenge, an ellipse or a rectangle.

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
    return changed, weight * (0.3 + 0.7 * severity)


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
    return _stamped(image, element, copies, severity, rng)


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
    return _stamped(image, element, copies, severity, rng)


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
