"""What shape a change takes: lattices, grain, blots, courses, lines, rims, spots, and coordinates to look at instead.

A pattern takes an image, a place, an amount and a generator. It returns a map of shape `(height, width)`, mostly in
[-1, 1] or [0, 1], or coordinates of shape `(2, height, width)`.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from . import pixels as px
from .pixels import Rng, unit


# Forms of a line of a lattice, in about [-1, 1] over a phase that counts periods.
PROFILES: dict[str, Callable[[NDArray], NDArray]] = {
    "wave": lambda phase: np.cos(2 * np.pi * phase),
    "line": lambda phase: 1.6 * np.exp(-((((phase + 0.5) % 1 - 0.5) / 0.15) ** 2)) - 0.6,
    "saw": lambda phase: 2 * (phase % 1) - 1,
    "pad": lambda phase: 2 * abs(np.sin(np.pi * phase)) - 1,
    "groove": lambda phase: 8 * (phase % 1 - 0.5) * np.exp(0.5 - 32 * (phase % 1 - 0.5) ** 2),
}
# Forms of a spot, in [0, 1], by the units down and to the right from its middle and two random sizes.
SHAPES: dict[str, Callable[[NDArray, NDArray, float, float], NDArray]] = {
    "ellipse": lambda down, right, a, b: np.clip(1.5 - np.hypot(down / a, right / b) / 1.3, 0, 1),
    "ring": lambda down, right, a, b: np.clip(1.5 - abs(np.hypot(down, right) - 1 - a) / 0.7, 0, 1),
    "arc": lambda down, right, a, b: np.clip(1.5 - abs(np.hypot(down, right) - 2 * a) / 0.7, 0, 1) * (down > 0),
    "bars": lambda down, right, a, b: (
        (abs(down % 2 - 1) < 0.6) * (abs(down) < 2.8) * np.clip(3 * a - abs(right), 0, 1)
    ),
    "dots": lambda down, right, a, b: (
        np.clip(1 + np.sin(3 * down / a) + np.sin(3 * right / b), 0, 1) * (np.hypot(down, right) < 4)
    ),
}


def mesh(
    image: NDArray,
    place: NDArray,
    amount: float,
    rng: Rng,
    period: tuple[float, float] = (3.5, 6.5),
    scale: Callable[[NDArray], float] = unit,
) -> NDArray:
    """Lines of a profile in one to three directions, straight or rippled."""
    count, profile = rng.choice([1, 2, 2, 2, 3]), PROFILES[rng.choice(list(PROFILES))]
    angle, waves = rng.choice([0, np.pi / 4, rng.uniform(0, np.pi)]), []
    ripple = rng.choice([0, 0, rng.uniform(1, 3)]) * scale(image) * px.noise(image, 12 * unit(image), rng)
    for turned in angle + np.pi / count * np.arange(count):
        along = px.position_along(image, turned) + ripple
        waves.append(profile(along / (scale(image) * rng.uniform(*period)) + rng.random()))
    return np.clip((np.mean(waves, 0) * count**0.5, np.max(waves, 0))[rng.integers(2)], -1, 1)


def cells(image: NDArray, size: float, rng: Rng) -> tuple[NDArray, NDArray]:
    """Number of the cell that each pixel is in, and the pixel's distance from the cell's walls.

    The cells are squares, bricks, honeycomb or splinters of `size` pixels, at any angle.
    """
    reach = int(np.hypot(*image.shape[:2]) / size) + 2
    middles = np.moveaxis(np.mgrid[-reach : reach + 1, -reach : reach + 1], 0, -1).reshape(-1, 2) + rng.random(2)
    middles[:, 1] += rng.choice([0, 0.5]) * (np.floor(middles[:, 0]) % 2)
    middles = (middles + rng.choice([0, 0, 0.3]) * rng.standard_normal(middles.shape)) * [rng.uniform(0.6, 1), 1]
    places = np.stack(px.rotated(*px.offsets(image, 0, 0), rng.choice([0, rng.uniform(0, np.pi)])), -1)
    distances, nearest = KDTree(middles * size).query(places, 2)
    numbers = np.unique(nearest[..., 0], return_inverse=True)[1]
    return numbers.reshape(image.shape[:2]), np.diff(distances)[..., 0] / 2


def walls(image: NDArray, place: NDArray, amount: float, rng: Rng) -> NDArray:
    """Joints of bricks, or walls of honeycomb or of crazed glaze."""
    return np.clip(1.2 - cells(image, rng.uniform(3.8, 6) * unit(image), rng)[1] / unit(image), 0, 1)


def pieces(image: NDArray, place: NDArray, amount: float, rng: Rng) -> NDArray:
    """A half of the cells of a lattice."""
    cell = cells(image, rng.uniform(3, 7) * unit(image), rng)[0]
    return rng.permutation(cell.max() + 1)[cell] % 2.0


def blocks(image: NDArray, place: NDArray, amount: float, rng: Rng) -> NDArray:
    """Cells, each with a slope, a wave or a rim of its own, as after strong compression."""
    cell, depth = cells(image, rng.uniform(3.5, 5.5) * unit(image), rng)
    rows, columns = px.offsets(image, 0, 0)
    tilt = rng.standard_normal((2, cell.max() + 1))[:, cell]
    slope = (tilt[0] * rows + tilt[1] * columns) / (2 * unit(image))
    slope -= ndimage.mean(slope, cell, np.arange(cell.max() + 1))[cell]
    rim = 1 - 2 * (depth > 0.8 * unit(image))
    forms = slope, np.sin(2.5 * slope) * tilt[0], (0.5 + 0.5 * abs(tilt[0])) * rim
    return np.clip(forms[rng.integers(3)], -1, 1)


def grain(image: NDArray, place: NDArray, amount: float, rng: Rng) -> NDArray:
    """Noise of single grains, gray or colored, even or sparse, streaked or not, of shape `(height, width, 3)`."""
    size, tail, axis = rng.choice([0.6, 0.6, 1.3]) * px.pixel(image), rng.uniform(0.5, 1.6), rng.integers(5)
    gray, colors = px.noise(image, size, rng)[..., None], px.noise(image, size, rng, 3)
    field = gray + rng.choice([0, 1, 5]) * rng.random() * colors
    if axis < 2:
        field = ndimage.gaussian_filter1d(field, 0.8 * px.pixel(image), axis=axis)
    field = np.sign(field) * abs(field) ** tail
    return np.clip(field / field.std(), -3, 3)


def residue(image: NDArray, place: NDArray, amount: float, rng: Rng) -> NDArray:
    """The same random residue in every square of a few pixels: a lattice of peaks in the spectrum."""
    size = rng.integers(4, 8)
    square = rng.standard_normal((size, size, 1)) + 0.5 * rng.standard_normal((size, size, 3))
    rows, columns = (np.floor(offset / px.pixel(image)).astype(int) % size for offset in px.offsets(image, 0, 0))
    return (square - square.mean())[rows, columns]


def blots(
    image: NDArray, place: NDArray, amount: float, rng: Rng, share: tuple[float, float] = (0.3, 0.6), size: float = 3
) -> NDArray:
    """Blots or streaks that cover a share of a place, with hard or soft rims."""
    scale, stretch = rng.uniform(0.6, 1.6) * size * unit(image), rng.choice([1.0, 1.0, 4.0])
    along, across = px.rotated(*px.offsets(image, 0, 0), rng.uniform(0, np.pi))
    field = px.blur(rng.standard_normal((128, 128)), 2)
    field = px.sample(field / field.std(), 4 * along / scale / stretch + 64, 4 * across / scale + 64)
    low = np.quantile(field[place > 0], 1 - rng.uniform(*share))
    return np.clip((field - low) / rng.choice([0.05, 0.2, 0.8]) + 0.5, 0, 1)


def beyond_line(image: NDArray, place: NDArray, rng: Rng) -> tuple[NDArray, float]:
    """Distance from a line through a place, straight, curved, waving, in zigzag or cornered, and its angle."""
    center = np.array(ndimage.center_of_mass(place)) + rng.uniform(-2, 2, 2) * unit(image)
    angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(7, 16) * unit(image)
    along, across = px.rotated(*px.offsets(image, *center), angle)
    wave, zigzag = np.sin(2 * np.pi * along / length), abs(along / length % 1 - 0.5)
    bends = 0, along**2 / (2 * length), 0.2 * length * wave, 0.5 * length * zigzag, abs(along)
    return across + bends[rng.integers(5)], angle


def side(image: NDArray, place: NDArray, amount: float, rng: Rng, soft: float = 0) -> NDArray:
    """0 on one side of a line, 1 on the other, with a border up to so many units wide."""
    beyond = beyond_line(image, place, rng)[0] / unit(image)
    return np.clip(0.5 + beyond / (0.5 + soft * rng.random()), 0, 1)


def course(image: NDArray, place: NDArray, amount: float, rng: Rng, tone: float = 0) -> NDArray:
    """A soft course around 0: straight, bowed, around a point, as a saddle or drifting, turning or not; the
    more along with the image's own shades, the higher `tone` is."""
    rows, columns = px.offsets(image, *(rng.uniform(0.1, 0.9, 2) * image.shape[:2]))
    along, across = px.rotated(rows / image.shape[0], columns / image.shape[1], rng.uniform(0, 2 * np.pi))
    bowed, around = along + rng.uniform(-1.2, 1.2) * across**2, np.hypot(along, rng.uniform(0.5, 1) * across)
    drift = px.noise(image, rng.uniform(12, 24) * unit(image), rng)
    field = (along, bowed, around, along * across, drift)[rng.integers(5)] * rng.choice([-1, 1])
    if tone:
        shade = px.blur(image @ rng.normal(0.3, 0.4, 3), 1.2 * unit(image))
        field = field / field.std() + tone * shade / (shade[place > 0].std() + 0.01)
    field = 2 * (field - field.min()) / np.ptp(field) - 1
    turning = np.cos(np.pi * (field + rng.random()))
    field = (field, np.tanh(rng.uniform(1.5, 3) * field), turning)[rng.integers(3)]
    return np.tanh((field - np.median(field[place > 0])) / field[place > 0].std())


def relief(image: NDArray, place: NDArray, amount: float, rng: Rng, share: float = 0.2) -> NDArray:
    """What stands out from its surroundings, lies in hollows, or faces one side, on about a share of a place."""
    smooth = px.luminance(px.blur(image, rng.uniform(0.4, 1) * unit(image)))
    raised, (down, right) = smooth - px.blur(smooth, rng.uniform(1.5, 3) * unit(image)), np.gradient(smooth)
    angle = rng.uniform(0, 2 * np.pi)
    field = (raised, -raised, np.sin(angle) * down + np.cos(angle) * right)[rng.integers(3)]
    low, high = np.quantile(field[place > 0], [1 - 1.3 * share, 1 - 0.5 * share])
    return np.clip((field - low) / (high - low + 1e-3), 0, 1) * np.minimum(3 * place, 1)


def rim(image: NDArray, place: NDArray, amount: float, rng: Rng, inside: bool = False) -> NDArray:
    """A rim around an outline, or within: fading, with a hard end, doubled or apart, all around or in patches."""
    mask = ~place if inside else place
    distance = np.maximum(px.signed_distance(mask) / unit(image), 0) / rng.uniform(1.8, 4.5)
    forms = (
        np.exp(-distance),
        np.clip(3 * (1.2 - distance), 0, 1),
        np.exp(-((distance / 0.35) ** 2)) + 0.8 * np.exp(-(((distance - 1.4) / 0.4) ** 2)),
        np.exp(-(((distance - 1) / 0.3) ** 2)) + 0.25 * (distance < 1),
    )
    patches = np.clip(0.6 + 0.9 * px.noise(image, rng.uniform(3, 12) * unit(image), rng), 0, 1)
    return forms[rng.integers(4)] * (1, patches)[rng.integers(2)] * ~mask


def bloom(image: NDArray, place: NDArray, amount: float, rng: Rng) -> NDArray:
    """What a thing sheds around it: to all sides, slipped to one, in a cross or in a wide veil."""
    source, size = place * np.clip(2 * px.luminance(image), 0.3, 1), rng.uniform(1.2, 3) * unit(image)
    slipped = ndimage.shift(source, rng.uniform(-2.5, 2.5, 2) * size, order=1, mode="nearest")
    cross = np.maximum(*(ndimage.uniform_filter1d(source, round(5 * size), axis) for axis in (0, 1)))
    light = (px.blur(source, size), px.blur(slipped, 0.7 * size), cross, px.blur(source, 2 * size))[rng.integers(4)]
    return np.clip(light * ~place / max(np.quantile(light[~place], 0.97), 1e-6) - 0.15, 0, 1)


def at_spots(image: NDArray, place: NDArray, rng: Rng, shape: Callable[..., NDArray]) -> NDArray:
    """One to three spots near each other in a place; the shape gives one by rows, columns and generator."""
    light = np.zeros(image.shape[:2])
    for spot in px.some_of(np.argwhere(place > 0), rng, rng.integers(1, 4)):
        light = np.maximum(light, shape(*px.offsets(image, *spot), rng))
    return light


def spots(image: NDArray, place: NDArray, amount: float, rng: Rng, size: float = 1) -> NDArray:
    """Spots of one shape, each of another size and at another angle."""
    shape, scale = SHAPES[rng.choice(list(SHAPES))], size * unit(image)

    def turned(rows: NDArray, columns: NDArray, rng: Rng) -> NDArray:
        return shape(*px.rotated(rows / scale, columns / scale, rng.uniform(0, np.pi)), *rng.uniform(0.8, 2, 2))

    return at_spots(image, place, rng, turned)


def shards(image: NDArray, place: NDArray, amount: float, rng: Rng) -> NDArray:
    """Coordinates by which each cell of a lattice is shifted, by `amount` units on average."""
    cell = cells(image, rng.uniform(4, 9) * unit(image), rng)[0]
    shift = amount * unit(image) * rng.uniform(0.5, 1.5, cell.max() + 1)[cell]
    turned = rng.uniform(0, 2 * np.pi, cell.max() + 1)[cell]
    return np.stack(px.offsets(image, 0, 0)) + shift * [np.sin(turned), np.cos(turned)]


def fault(image: NDArray, place: NDArray, amount: float, rng: Rng) -> NDArray:
    """Coordinates by which all beyond a line, or each second strip, is shifted by `amount` units, turned and grown."""
    (beyond, angle), center = beyond_line(image, place, rng), np.array(ndimage.center_of_mass(place))
    strips = np.floor(beyond / (rng.uniform(3, 5) * unit(image))) % 2
    part = (beyond > 0, beyond > 0, strips > 0)[rng.integers(3)]
    turned = angle + rng.choice([0, 0.5]) * np.pi + rng.uniform(-0.4, 0.4)
    rows, columns = px.rotated(*px.offsets(image, *center), rng.choice([0, 0.1]) * amount * rng.uniform(-1, 1))
    growth = 1 + rng.choice([0, 0.1]) * amount * rng.random()
    shift = amount * unit(image) * np.array([np.cos(turned), np.sin(turned)]) + center
    elsewhere = np.stack([rows, columns]) / growth + shift[:, None, None]
    return np.where(part, elsewhere, np.stack(px.offsets(image, 0, 0)))


def tile_of(image: NDArray, place: NDArray, rng: Rng) -> tuple[int, NDArray, NDArray, NDArray]:
    """Size of a textured tile of a place in pixels, all rows and columns from its first pixel, and that pixel."""
    score, size = px.texture(image), round(rng.integers(4, 7) * unit(image))
    row, column = np.unravel_index(np.argmax(score * (place > 0.5)), score.shape)
    first = np.clip([row - size // 2, column - size // 2], 0, np.array(score.shape) - size)
    return size, *px.offsets(image, *first), first


def wallpaper(image: NDArray, place: NDArray, amount: float, rng: Rng) -> NDArray:
    """Coordinates of a tile again and again: in ranks, as bricks or in a row, turned, bent, or every second one upside
    down."""
    size, rows, columns, first = tile_of(image, place, rng)
    middle, angle = (size - 1) / 2, rng.choice([0, rng.uniform(0, np.pi)])
    down, right = px.rotated((rows - middle) / size, (columns - middle) / size, angle)
    down = down + rng.choice([0, 0, 0.4]) * np.sin(rng.uniform(1, 2.5) * right)
    row = np.round(down) * rng.choice([1, 1, 1, 0])
    right = right + rng.choice([0, 0.5]) * (row % 2)
    over = size * (1 - 2 * rng.integers(2) * ((row + np.round(right)) % 2))
    back = px.rotated((down - row) * over, (right - np.round(right)) * over, -angle)
    return np.stack(back) + (first + middle)[:, None, None]
