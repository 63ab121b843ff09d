"""Artifacts of lattices: grids on textures, and signatures in the frequency domain."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from .places import (
    NoPlace,
    blur,
    detail,
    luminance,
    offsets,
    pixel,
    position_along,
    region,
    rotated,
    sample,
    texture,
    unit,
)
from .registry import Changed, operator


GRID = "Regular grid-like artifacts in textures"
FREQUENCY = "Frequency domain signatures"


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
