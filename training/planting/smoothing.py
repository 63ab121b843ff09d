"""Artifacts of smoothing: textures, surfaces and details that are lost."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from .color import to_ycc
from .places import (
    NoPlace,
    blur,
    edge_band,
    edges,
    luminance,
    noise,
    offsets,
    pixel,
    region,
    rotated,
    sample,
    spread,
    texture,
    unit,
)
from .registry import Changed, operator
from .sharpness import smear


SMOOTHED = "Over-smoothing of natural textures"
POLISHED = "Artificial smoothness"
MELTED = "Loss of fine detail in complex structures"


# Of the image moved by a number of rows and columns, and of these, weights of shape `(height, width, 1)`.
Weigh = Callable[[NDArray, int, int], NDArray]


def mean_of_neighbors(image: NDArray, reach: int, beyond: Literal["edge", "symmetric"], weigh: Weigh) -> NDArray:
    """Weighted mean of the pixels up to `reach` rows and columns away; `beyond` the border they are as in `np.pad`."""
    height, width = image.shape[:2]
    padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode=beyond)
    total, weights = np.zeros_like(image), np.zeros((height, width, 1), np.float32)
    for row in range(2 * reach + 1):
        for column in range(2 * reach + 1):
            neighbor = padded[row : row + height, column : column + width]
            weight = weigh(neighbor, row - reach, column - reach)
            total += weight * neighbor
            weights += weight
    return total / weights


def _textured_place(image: NDArray, rng: np.random.Generator) -> NDArray:
    return region(texture(image), rng, at_least=0.04)


def _place_with_structure(image: NDArray, rng: np.random.Generator) -> NDArray:
    return region(edges(image), rng, at_least=0.06)


@operator(SMOOTHED, "training")
def median_of_texture(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    weight = _textured_place(image, rng)
    size = 2 * round((1 + severity) * pixel(image)) + 1
    smooth = ndimage.median_filter(image, (size, size, 1), mode="nearest")
    return smooth, np.minimum(1.5 * weight, 1) * (0.4 + 0.6 * severity)


@operator(SMOOTHED, "training")
def soften_between_edges(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Blur in a texture that spares its strongest edges."""
    weight = _textured_place(image, rng)
    spared = edge_band(image, 1) * 0.8
    return blur(image, (0.7 + 0.9 * severity) * pixel(image)), np.minimum(1.5 * weight, 1) * (1 - spared)


@operator(SMOOTHED, "training")
def shrink_wavelets(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Small Haar coefficients of a texture are set to zero, the others shrunk (Donoho & Johnstone, 1994), averaged
    over all shifts."""
    weight = _textured_place(image, rng)
    threshold, changed = 0.03 + 0.14 * severity, image
    for step in (1, max(2, round(2 * pixel(image)))):
        for axis in (0, 1):
            after = np.roll(changed, -step, axis)
            mean, difference = (changed + after) / 2, (changed - after) / 2
            difference = np.sign(difference) * np.maximum(abs(difference) - threshold / 2, 0)
            changed = (mean + difference + np.roll(mean - difference, step, axis)) / 2
    return changed, np.minimum(1.5 * weight, 1)


@operator(SMOOTHED, "training")
def least_variation_of_texture(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Near a texture, the image of least total variation (Rudin et al., 1992), by Chambolle's projections (2004)."""
    weight = _textured_place(image, rng)
    strength = (0.02 + 0.13 * severity) * pixel(image)
    flow, divergence = np.zeros((2, *image.shape), np.float32), np.zeros_like(image)
    for _ in range(round(20 * pixel(image))):
        slopes = divergence - image / strength
        slopes = np.stack([np.diff(slopes, axis=axis, append=np.take(slopes, [-1], axis)) for axis in (0, 1)])
        flow = (flow + 0.24 * slopes) / (1 + 0.24 * np.sqrt((slopes**2).sum((0, -1), keepdims=True)))
        divergence = np.diff(flow[0], axis=0, prepend=0) + np.diff(flow[1], axis=1, prepend=0)
    return image - strength * divergence, np.minimum(1.5 * weight, 1)


@operator(SMOOTHED, "training")
def average_alike_places(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Mean of the pixels nearby around which a texture looks alike (non-local means, Buades et al., 2005)."""
    weight = _textured_place(image, rng)
    size, tolerance = 2 * round(pixel(image)) + 1, 0.04 + 0.2 * severity

    def alike(neighbor: NDArray, row: int, column: int) -> NDArray:
        unlike = ndimage.uniform_filter(((neighbor - image) ** 2).mean(-1), size, mode="nearest")
        return np.exp(-unlike / tolerance**2)[..., None]

    return mean_of_neighbors(image, round(3 * pixel(image)), "symmetric", alike), np.minimum(1.5 * weight, 1)


@operator(SMOOTHED, "training")
def fit_parabolas_to_texture(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Along rows and then along columns, a texture becomes the parabola that fits it best around each pixel (Savitzky
    & Golay, 1964)."""
    weight = _textured_place(image, rng)
    size = 2 * round(3 * pixel(image)) + 1
    fitted = signal.savgol_filter(signal.savgol_filter(image, size, 2, axis=1), size, 2, axis=0)
    return fitted, np.minimum(1.5 * weight, 1) * (0.4 + 0.6 * severity)


@operator(SMOOTHED, "training")
def run_over_texture(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Along rows and columns, each pixel takes a share of the one before, less across edges (the recursive filter of
    Gastal & Oliveira, 2011)."""
    weight = _textured_place(image, rng)
    reach, tolerance = 3 * pixel(image), 0.15 + 0.45 * severity
    share, changed = np.exp(-np.sqrt(2) / reach), image.astype(np.float64)
    for _ in range(2):
        for axis in (0, 1):
            steps = 1 + reach / tolerance * abs(np.diff(image, axis=axis)).sum(-1, keepdims=True)
            kept, lines = np.moveaxis(share**steps, axis, 0), np.moveaxis(changed, axis, 0).copy()
            for index in range(1, len(lines)):
                lines[index] += kept[index - 1] * (lines[index - 1] - lines[index])
            for index in range(len(lines) - 2, -1, -1):
                lines[index] += kept[index] * (lines[index + 1] - lines[index])
            changed = np.moveaxis(lines, 0, axis)
    return changed, np.minimum(1.5 * weight, 1)


def _texture_to_lose(image: NDArray, rng: np.random.Generator) -> NDArray:
    """A textured place: all of it, what has its color, or ragged patches."""
    weight = np.minimum(2 * region(texture(image), rng, 0.04, size=(0.22, 0.42)), 1)
    soft, form = blur(image, unit(image)), rng.integers(3)
    unlike = np.linalg.norm(soft - soft[weight > 0.6].mean(0), axis=-1)
    patches = 0.7 + 1.5 * noise(image, rng.uniform(3, 8) * unit(image), rng)
    alike = 2.5 - unlike / unlike[weight > 0.6].mean()
    return weight * np.clip((np.ones_like(unlike), alike, patches)[form], 0, 1)


@operator(SMOOTHED, "training")
def airbrush_texture_away(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Instead of a texture there is a soft run of colors: bent like a bowl or drawn in from around."""
    weight = _texture_to_lose(image, rng)
    around, sigma = (1.02 - weight)[..., None], rng.uniform(1.5, 3) * unit(image)
    rows, columns = (offset / image.shape[0] for offset in offsets(image, *ndimage.center_of_mass(weight)))
    powers = [(power, degree - power) for degree in range(4) for power in range(degree + 1)][: rng.integers(3, 11)]
    terms = np.stack([rows**power * columns**other for power, other in powers], axis=-1)
    within = weight > 0.1
    bowl = np.clip(terms @ np.linalg.lstsq(terms[within], image[within], rcond=None)[0], 0, 1)
    from_around = blur(around * image, sigma) / blur(around, sigma)
    smooth = (bowl, from_around)[rng.integers(2)]
    # A trace of what was there, fine, coarse or only in color.
    lost = image - smooth
    traces = (image - blur(image, pixel(image)), blur(lost, unit(image)), lost - luminance(lost)[..., None])
    return smooth + rng.uniform(0, 0.35) * traces[rng.integers(3)], weight * (0.3 + 0.7 * severity)


@operator(SMOOTHED, "evaluation")
def guided_filter_of_texture(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Guided filter with the image as its own guide (He et al., 2010, "Guided Image Filtering")."""
    weight = _textured_place(image, rng)
    size = 2 * round(2 * pixel(image)) + 1

    def mean(values: NDArray) -> NDArray:
        return ndimage.uniform_filter(values, (size, size, 0), mode="nearest")

    average = mean(image)
    variance = np.maximum(mean(image**2) - average**2, 0)
    slope = variance / (variance + (0.02 + 0.18 * severity) ** 2)
    return mean(slope) * image + mean((1 - slope) * average), np.minimum(1.5 * weight, 1)


@operator(POLISHED, "training")
def anisotropic_diffusion(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Smooths within surfaces, not across edges (Perona & Malik, 1990)."""
    if texture(image).mean() < 0.015:
        raise NoPlace
    changed = image.astype(np.float64)
    for _ in range(round((4 + 26 * severity) * pixel(image))):
        flow = np.zeros_like(changed)
        for axis in (0, 1):
            step = np.diff(changed, axis=axis)
            step *= np.exp(-((np.linalg.norm(step, axis=-1, keepdims=True) / 0.13) ** 2))
            pad = [(0, 0)] * 3
            pad[axis] = (1, 1)
            flow += np.diff(np.pad(step, pad), axis=axis)
        changed += 0.24 * flow
    return changed, None


@operator(POLISHED, "training")
def bilateral_filter(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Mean of the neighbors, by how near and how alike they are (Tomasi & Manduchi, 1998)."""
    if texture(image).mean() < 0.015:
        raise NoPlace
    reach, tolerance = round(2 * pixel(image)), 0.05 + 0.2 * severity

    def near_and_alike(neighbor: NDArray, row: int, column: int) -> NDArray:
        unlike = ((neighbor - image) ** 2).sum(-1, keepdims=True) / tolerance**2
        far = (row**2 + column**2) / reach**2
        return np.exp(-(unlike + far) / 2)

    return mean_of_neighbors(image, reach, "edge", near_and_alike), None


@operator(POLISHED, "training")
def drop_small_contrasts(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """In each band of frequencies small contrasts vanish, large ones remain."""
    if texture(image).mean() < 0.015:
        raise NoPlace
    threshold, changed, finer = 0.015 + 0.075 * severity, np.zeros_like(image), image
    for sigma in (0.6, 1.2, 2.4):
        coarser = blur(image, sigma * pixel(image))
        band = finer - coarser
        power = (band**2).sum(-1, keepdims=True)
        changed = changed + band * power / (power + threshold**2)
        finer = coarser
    return changed + finer, None


@operator(POLISHED, "training")
def oil_paint(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Every pixel becomes the mean of those around it that have the most frequent brightness there."""
    if texture(image).mean() < 0.015:
        raise NoPlace
    luma, sigma = luminance(image), (0.5 + 0.7 * severity) * pixel(image)
    most, changed = np.zeros((*luma.shape, 1)), image
    for level in np.linspace(0, 1, 9):
        near = np.clip(1.5 - 8 * abs(luma - level), 0, 1)[..., None]
        share = blur(near, sigma)
        changed = np.where(share > most, blur(near * image, sigma) / np.maximum(share, 1e-6), changed)
        most = np.maximum(most, share)
    return changed, None


@operator(POLISHED, "training")
def airbrush_every_color(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Around a few of the image's own colors, the parts of each color are blurred apart from all others."""
    if texture(image).mean() < 0.015:
        raise NoPlace
    space = (image, to_ycc(image) * [1, 2.5, 2.5], to_ycc(image) * [1, 0.5, 0.5])[rng.integers(3)]
    shades = blur(space, 0.6 * pixel(image))
    pixels = shades.reshape(-1, 3)
    middles = pixels[rng.integers(0, len(pixels), rng.integers(12, 25))]
    sigma, tolerance = rng.uniform(1, 2) * pixel(image), rng.uniform(0.3, 0.45) * pixels.std(0).max()
    nearness = [np.exp(-((shades - middle) ** 2).sum(-1, keepdims=True) / 2 / tolerance**2) for middle in middles]
    total = sum(nearness) + 1e-3
    smooth = image * 1e-3 / total
    for near in nearness:
        smooth = smooth + near / total * blur(near * image, sigma) / (blur(near, sigma) + 1e-6)
    return image + (0.3 + 0.7 * severity) * (smooth - image), None


@operator(POLISHED, "evaluation")
def kuwahara_filter(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Every pixel becomes the mean of that of the four squares at its corners which varies least (Kuwahara et al.,
    1976)."""
    if texture(image).mean() < 0.015:
        raise NoPlace
    reach = max(1, round(pixel(image)))  # the squares have a side of 2 * reach + 1 and share the pixel
    means, variances = [], []
    for row, column in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
        origin, size = (row * reach, column * reach, 0), (2 * reach + 1, 2 * reach + 1, 1)
        mean = ndimage.uniform_filter(image, size, mode="nearest", origin=origin)
        means.append(mean)
        square = ndimage.uniform_filter(image**2, size, mode="nearest", origin=origin)
        variances.append((square - mean**2).sum(-1))
    best = np.argmin(variances, axis=0)
    smooth = np.take_along_axis(np.stack(means), best[None, ..., None], axis=0)[0]
    return image + (0.2 + 0.8 * severity) * (smooth - image), None


@operator(MELTED, "training")
def remove_thin_parts(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Morphological opening and closing: what is thinner than the element goes, bright or dark."""
    weight = _place_with_structure(image, rng)
    size = (round((2 + 2 * severity) * unit(image)),) * 2 + (1,)
    coarse = ndimage.grey_closing(ndimage.grey_opening(image, size), size)
    return coarse, np.minimum(2 * weight, 1) * (0.4 + 0.6 * severity)


@operator(MELTED, "training")
def smear_along_structures(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Every structure is smeared along itself, like wet paint along the brush."""
    weight = _place_with_structure(image, rng)
    down, right = np.gradient(blur(luminance(image), 1.2 * unit(image)))
    length = (2 + 6 * severity) * unit(image) / (np.hypot(down, right) + 1e-6)
    return smear(image, right * length, -down * length), np.minimum(2 * weight, 1)


@operator(MELTED, "training")
def merge_into_blots(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """What is finer than a window gives way to the window's median: round blots with sharp rims."""
    weight = _place_with_structure(image, rng)
    size, scale = 2 * round(1.2 + 1.6 * severity) + 1, max(1, round(unit(image)))
    # On a coarse image, as the median of a wide window takes long.
    coarse = ndimage.uniform_filter(image, (scale, scale, 1))[scale // 2 :: scale, scale // 2 :: scale]
    blots = ndimage.median_filter(coarse, (size, size, 1), mode="nearest")
    rows, columns = (offset // scale for offset in offsets(image, 0, 0))
    blots = blots[np.minimum(rows, len(blots) - 1), np.minimum(columns, blots.shape[1] - 1)]
    return blots, np.minimum(2 * weight, 1) * (0.4 + 0.6 * severity)


@operator(MELTED, "training")
def drip_down(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Structures run downward like wet paint, in some columns farther than in others."""
    weight = _place_with_structure(image, rng)
    far = 0.5 + 0.5 * np.clip(noise(image, 2 * unit(image), rng)[:1], -1, 1)
    length = np.broadcast_to((2 + 7 * severity) * unit(image) * far, weight.shape)
    rows, columns = offsets(image, 0, 0)
    # The smear leads from above a pixel to below it.
    return sample(smear(image, length, 0.0), rows - length / 2, columns), np.minimum(2 * weight, 1)


@operator(MELTED, "training")
def close_gaps(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Scattered spots are torn out of a structure, and what lies at their rims is drawn over them."""
    weight = _place_with_structure(image, rng)
    field = noise(image, 2.5 * unit(image), rng)
    torn = (field > np.quantile(field, 0.75 - 0.4 * severity)) & (weight > 0)
    return spread(image, ~torn), np.minimum(2 * weight, 1) * torn


@operator(MELTED, "training")
def of_few_rows_and_columns(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A place becomes the sum of a few products of a row and a column: its matrix has a low rank."""
    weight = _place_with_structure(image, rng)
    (place,) = ndimage.find_objects((weight > 0).astype(int))
    rank, changed = max(1, round(4 - 3 * severity)), image.copy()
    for channel in range(3):
        left, values, right = np.linalg.svd(image[*place, channel], full_matrices=False)
        changed[*place, channel] = (left[:, :rank] * values[:rank]) @ right[:rank]
    return changed, np.minimum(2 * weight, 1) * (0.4 + 0.6 * severity)


@operator(MELTED, "training")
def stir_like_syrup(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Fine structures are drawn out into one another: in eddies, around a point, toward it, or along waves."""
    weight = _place_with_structure(image, rng)
    rows, columns = offsets(image, *ndimage.center_of_mass(weight))
    far = np.hypot(rows, columns) + 0.1
    along, wave = rng.uniform(0, 2 * np.pi), rng.uniform(0.8, 2.2) / unit(image) / 2
    eddies = np.gradient(noise(image, rng.uniform(3, 7) * unit(image), rng))
    sway = along + 1.3 * np.sin(wave * (rows * np.cos(along) - columns * np.sin(along)))
    flows = (
        (eddies[1], -eddies[0]),
        (columns / far, -rows / far),
        (rows / far, columns / far),
        (np.sin(sway), np.cos(sway)),
    )
    mixture = rng.dirichlet([0.4] * 4)
    # All flows are as strong, in whatever unit they come.
    down, right = sum(
        part * np.array(flow) / np.hypot(*flow).mean() for part, flow in zip(mixture, flows, strict=True)
    )
    length = (1.5 + 4.5 * severity) * unit(image) * rng.uniform(0.8, 1.3) / np.maximum(np.hypot(down, right), 0.4)
    return smear(image, length * down, length * right), np.minimum(2 * weight, 1) * (0.5 + 0.5 * severity)


@operator(MELTED, "training")
def redraw_from_few_strokes(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """An intricate place is painted anew with a few broad strokes, each of the color at its middle."""
    weight = _place_with_structure(image, rng)
    down, right = np.gradient(blur(luminance(image), 1.2 * unit(image)))
    middles = np.argwhere(weight > 0.15)
    middles = middles[rng.permutation(len(middles))[: round(rng.uniform(60, 120))]]
    wide, longish = rng.uniform(1.1, 1.9) * unit(image), rng.uniform(1.1, 3.5)
    along_edges, square = rng.random() < 0.6, rng.choice([2, 6])
    colors, angle = blur(image, 0.5 * wide), rng.uniform(0, np.pi)
    changed = blur(image, 1.5 * unit(image))
    for row, column in middles:
        turn = np.arctan2(-right[row, column], down[row, column]) if along_edges else angle + rng.normal(0, 0.3)
        rows, columns = offsets(image, row, column)
        along, across = rotated(columns, rows, turn)
        distance = (abs(along / longish / wide) ** square + abs(across / wide) ** square) ** (1 / square)
        stroke = np.clip(2.5 * (1.2 - distance), 0, 1)[..., None]
        changed = changed + stroke * (colors[row, column] - changed)
    return changed, np.minimum(2 * weight, 1) * (0.3 + 0.7 * severity)


@operator(MELTED, "evaluation")
def melt(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Displaces what is there by a smooth random field, and mixes the result with a second one."""
    weight = _place_with_structure(image, rng)
    scale = unit(image)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]].astype(float)
    melted = np.zeros_like(image)
    for _ in range(4):
        shift = blur(rng.standard_normal((*image.shape[:2], 2)), 1.2 * scale)
        shift *= (0.5 + 1.8 * severity) * scale / shift.std()
        melted += sample(image, rows + shift[..., 0], columns + shift[..., 1]) / 4
    return melted, np.minimum(2 * weight, 1)
