"""Artifacts of outlines: inconsistent, jagged, cut off."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.spatial import KDTree

from .places import (
    NoPlace,
    background,
    blur,
    edge_band,
    edges,
    end_beyond_line,
    end_by,
    luminance,
    moved_by,
    noise,
    offsets,
    one_of,
    position_along,
    region,
    rotated,
    sample,
    signed_distance,
    some_of,
    spread,
    subject,
    thing,
    unit,
)
from .registry import Changed, operator


WAVERING = "Inconsistent object boundaries"
JAGGED = "Jagged edges in curved structures"
CUT = "Abruptly cut off objects"


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


def redraw_toward(image: NDArray, mask: NDArray, other: NDArray, share: float) -> Changed:
    """Redraws an object with an outline that lies between its own, at 0, and that of another mask, at 1; raises
    `NoPlace` if that is empty."""
    if not other.any():
        raise NoPlace
    return redraw(image, mask, (1 - share) * signed_distance(mask) + share * signed_distance(other) < 0)


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
    return redraw_toward(image, mask, np.asarray(polygon), 0.25 + 0.75 * severity)


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
    for index, point in enumerate(some_of(points, rng, 3)):
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
    return redraw_toward(image, mask, stepped, 0.3 + 0.7 * severity)


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


@operator(CUT, "training")
def dissolve_end(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Beyond a line the object gives way to the colors around it."""
    mask = subject(image)
    return background(image, mask), end_beyond_line(image, mask, severity, rng.uniform(0, 2 * np.pi)).astype(float)


@operator(CUT, "training")
def slide_behind_line(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """The object moves on but ends where it ended before, as if it slid behind a straight edge."""
    mask = subject(image)
    angle = rng.uniform(0, 2 * np.pi)
    along = position_along(image, angle)
    line = np.quantile(along[mask], 0.9)
    copy, weight = moved_by(image, mask, (0.1 + 0.35 * severity) * np.ptp(along[mask]), angle)
    arrived = (weight > 0.5) & (along <= line)
    changed = np.where(arrived[..., None], copy, background(image, mask))
    old = ndimage.binary_dilation(mask, iterations=max(1, round(2 * unit(image))))
    return changed, (arrived | old).astype(float)


@operator(CUT, "training")
def cut_corner_out(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """The object ends at two straight lines that meet at a right angle, before a ground with grain."""
    mask = subject(image)
    angle = rng.uniform(0, 2 * np.pi)
    fine = (image - blur(image, 1.2 * unit(image)))[~mask]
    ground = background(image, mask) + 0.5 * fine[rng.integers(len(fine), size=mask.shape)]
    ends = [end_beyond_line(image, mask, 0.7 * severity, turned) for turned in (angle, angle + np.pi / 2)]
    return ground, (ends[0] | ends[1]).astype(float)


@operator(CUT, "training")
def stretch_ground_over_end(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Beyond a line the nearest pixels around the object are drawn out over it."""
    mask = subject(image)
    around = ~ndimage.binary_dilation(mask, iterations=max(1, round(1.5 * unit(image))))
    if not around.any():
        raise NoPlace
    ground = spread(image, around) + 0.03 * noise(image, 1, rng)[..., None]
    return ground, end_beyond_line(image, mask, severity, rng.uniform(0, 2 * np.pi)).astype(float)


@operator(CUT, "training")
def tear_off_end(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """The end of the object is torn off along a ragged line, and the ground shows dots of its own colors there."""
    mask = subject(image)
    angle = rng.uniform(0, 2 * np.pi)
    along = position_along(image, angle) + 1.2 * unit(image) * noise(image, 2.5 * unit(image), rng)
    end = end_by(image, mask, severity, along)
    cells = tuple((offset // max(1, round(unit(image)))).astype(int) for offset in offsets(image, 0, 0))
    colors = image[~mask]
    drawn = colors[rng.integers(len(colors), size=[index.max() + 1 for index in cells])]
    return 0.5 * background(image, mask) + 0.5 * blur(drawn[cells], 0.4 * unit(image)), end.astype(float)


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
    ground, plain = background(image, mask), np.median(image[near], axis=0)
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
    end = end_by(image, mask, severity, np.max(far, axis=0))
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
    free = np.array([turn for turn in range(4) if np.rot90(mask, turn)[0].mean() < 0.15])
    if len(free) == 0:
        raise NoPlace
    turn = int(one_of(free, rng))
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
    rows, columns = np.nonzero(end_beyond_line(image, mask, 1, angle))
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
    return (best, end_beyond_line(image, mask, severity, angle).astype(float))
