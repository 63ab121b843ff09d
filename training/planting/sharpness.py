"""Artifacts of sharpness: edges, resolution, focus."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft, ndimage
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
    pixel,
    position_along,
    region,
    sample,
    signed_distance,
    spread,
    subject,
    thing,
    unit,
)
from .registry import Changed, operator


BLURRED_EDGES = "Blurred boundaries in fine details"
SHARPENED = "Over-sharpening artifacts"
SHARP_PART = "Excessive sharpness in certain image regions"
ALIASED = "Aliasing along high-contrast edges"
COARSE_PART = "Resolution inconsistencies within regions"
FAKE_FOCUS = "Fake depth of field"
STAGED_FOCUS = "Artificial depth of field in object presentation"


def resized(image: NDArray, factor: float, down: Image.Resampling, up: Image.Resampling) -> NDArray:
    """Made smaller by a factor, and larger again."""
    height, width = image.shape[:2]
    smaller = (max(1, round(width / factor)), max(1, round(height / factor)))
    pixels = Image.fromarray((image * 255).round().astype(np.uint8))
    return np.asarray(pixels.resize(smaller, down).resize((width, height), up)) / np.float32(255)


def disc_blur(image: NDArray, radius: float) -> NDArray:
    """Blur by a disc, as an open lens does."""
    reach = int(np.ceil(radius))
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    kernel = np.clip(radius + 0.5 - np.hypot(rows, columns), 0, 1)
    return ndimage.convolve(image, (kernel / kernel.sum())[..., None], mode="nearest")


def smear(image: NDArray, down: NDArray | float, right: NDArray | float) -> NDArray:
    """Mean over a path through every pixel, which leads so many pixels down and to the right."""
    rows, columns = offsets(image, 0, 0)
    # Every halving of the path doubles the points that the mean is over, until they are neighbors.
    halvings = max(2, int(np.ceil(np.log2(np.hypot(down, right).max() / 0.6))) - 1)
    for share in 0.5 ** np.arange(2, 2 + halvings):
        ends = [sample(image, rows + sign * share * down, columns + sign * share * right) for sign in (-1, 1)]
        image = (ends[0] + ends[1]) / 2
    return image


def _place_with_edges(image: NDArray, rng: np.random.Generator) -> NDArray:
    """As the last, larger."""
    return region(edges(image), rng, 0.07, size=(0.25, 0.4))


@operator(BLURRED_EDGES, "training")
def blur_edges(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    weight = _place_with_edges(image, rng)
    return blur(image, (0.7 + 1.5 * severity) * unit(image)), np.minimum(3 * weight, 1) * edge_band(image, 1.5)


@operator(BLURRED_EDGES, "training")
def level_edges(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """At an edge everything lies halfway between the brightest and the darkest of its surroundings."""
    weight = _place_with_edges(image, rng)
    size = (2 * round(1.5 * unit(image)) + 1,) * 2 + (1,)
    halfway = (ndimage.maximum_filter(image, size) + ndimage.minimum_filter(image, size)) / 2
    washed = blur(halfway, 0.5 * unit(image))
    return washed, np.minimum(3 * weight, 1) * edge_band(image, 1.8) * (0.25 + 0.75 * severity)


@operator(BLURRED_EDGES, "training")
def smear_across_edges(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Every edge is smeared at a right angle to itself."""
    weight = _place_with_edges(image, rng)
    slopes = np.stack(np.gradient(blur(luminance(image), 0.8 * unit(image))))
    slopes *= (1.5 + 4.5 * severity) * unit(image) / (np.hypot(*slopes) + 1e-6)
    return smear(image, *slopes), np.minimum(3 * weight, 1) * edge_band(image, 2)


@operator(BLURRED_EDGES, "training")
def frost_edges(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Edges are seen as through frosted glass: each pixel is the mean of a few random ones near it."""
    weight = _place_with_edges(image, rng)
    rows, columns = offsets(image, 0, 0)
    shifts = (0.7 + 1.6 * severity) * unit(image) * rng.standard_normal((8, 2, *image.shape[:2]))
    seen = np.mean([sample(image, rows + shift[0], columns + shift[1]) for shift in shifts], axis=0)
    return blur(seen, 0.5 * unit(image)), np.minimum(3 * weight, 1) * edge_band(image, 1.5)


@operator(BLURRED_EDGES, "training")
def shrink_and_enlarge_edges(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Edges as of an image that was made smaller and larger again, fully sharp beside them."""
    weight = _place_with_edges(image, rng)
    factor = (1.7 + 2.3 * severity) * unit(image)
    soft = resized(image, factor, Image.Resampling.BOX, Image.Resampling.BICUBIC)
    return soft, np.minimum(3 * weight, 1) * edge_band(image, 1.8)


@operator(BLURRED_EDGES, "training")
def shake_edges(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Edges are drawn in one direction, as if the camera had moved for all or a part of the exposure."""
    weight = _place_with_edges(image, rng)
    angle, length = rng.uniform(0, np.pi), (1.2 + 3.3 * severity) * unit(image)
    drawn = smear(image, length * np.sin(angle), length * np.cos(angle))
    return drawn, np.minimum(3 * weight, 1) * edge_band(image, 1.6) * rng.uniform(0.5, 1)


@operator(BLURRED_EDGES, "training")
def lack_a_band(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Near edges one band of frequencies is weaker than it should be, above which a trace of fine detail is left."""
    weight = _place_with_edges(image, rng)
    band = blur(image, 0.6 * unit(image)) - blur(image, rng.uniform(1.6, 2.4) * unit(image))
    return image - (0.4 + 0.6 * severity) * band, np.minimum(3 * weight, 1) * edge_band(image, 1.8)


@operator(BLURRED_EDGES, "training")
def wash_out_between_shades(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Where one shade or hue ends and the next begins both run into each other, or one runs over the other."""
    weight = _place_with_edges(image, rng)
    field = blur(image @ rng.normal(0.3, 0.6, 3), 0.4 * unit(image))
    limits = np.quantile(field[weight > 0.3], np.sort(rng.uniform(0.15, 0.85, rng.integers(1, 4))))
    shade = np.digitize(field, limits)
    border = ndimage.morphological_gradient(shade, 3) > 0
    if not border.any():
        raise NoPlace
    distance = ndimage.distance_transform_edt(~border) / unit(image)
    band = np.clip(1.5 - 1.5 * distance / rng.uniform(1, 2), 0, 1) * np.clip(edges(image) / 0.06, 0, 1)
    # In the mean, lights or darks may prevail.
    power, kernel = rng.choice([-2, 1, 1, 4]), (blur, disc_blur)[rng.integers(2)]
    washed = kernel((image + 0.05) ** power, (0.6 + 1.4 * severity) * unit(image)) ** (1 / power) - 0.05
    return washed, np.minimum(3 * weight, 1) * band * (0.4 + 0.6 * severity)


@operator(BLURRED_EDGES, "training")
def feather_small_things(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Small things are cut out with too soft a brush: their rims fade into the ground, outward, inward or both."""
    bright = rng.random() < 0.5
    size = (2 * round(rng.uniform(1.5, 3.5) * unit(image)) + 1,) * 2
    luma = luminance(image) if bright else 1 - luminance(image)
    lump = luma - ndimage.grey_opening(luma, size)
    weight = region(lump, rng, 0.035, size=(0.25, 0.45))
    matte = lump > rng.uniform(0.05, 0.1)
    if not 0.02 < matte.mean() < 0.6:
        raise NoPlace
    soft = (blur, disc_blur)[rng.integers(2)](matte[..., None].astype(np.float32), rng.uniform(1.2, 2.2) * unit(image))
    soft = (np.minimum(2 * soft, 1), np.maximum(2 * soft - 1, 0), soft)[rng.integers(3)]
    ground = spread(image, ~matte)
    washed = ground + soft * (spread(image, matte) - ground)
    band = np.clip(2 - abs(signed_distance(matte)) / unit(image) / 1.2, 0, 1)
    return blur(washed, 0.5 * unit(image)), np.minimum(3 * weight, 1) * band * (0.35 + 0.65 * severity)


@operator(BLURRED_EDGES, "evaluation")
def interpolate_edges(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Takes the edges out and fills the gap by normalized convolution (Knutsson & Westin, 1993)."""
    weight = _place_with_edges(image, rng)
    band = edge_band(image, 1.5)
    known = (1 - band)[..., None] + 1e-3
    filled = blur(image * known, 1.5 * unit(image)) / blur(known, 1.5 * unit(image))
    return filled, np.minimum(3 * weight, 1) * band * (0.3 + 0.7 * severity)


@operator(SHARPENED, "training")
def unsharp_mask(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    return image + (0.2 + 2.8 * severity) * (image - blur(image, pixel(image))), None


@operator(SHARPENED, "evaluation")
def deconvolve(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Deconvolution of an image that was not blurred, which rings (Richardson, 1972; Lucy, 1974)."""
    sigma = (0.4 + 0.6 * severity) * pixel(image)
    observed = np.maximum(image.astype(np.float64), 1e-3)
    estimate = observed.copy()
    for _ in range(12):
        estimate *= blur(observed / np.maximum(blur(estimate, sigma), 1e-3), sigma)
    return estimate, None


@operator(SHARP_PART, "training")
def unsharp_mask_of_part(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    weight = region(detail(image), rng, at_least=0.05)
    crisp = image + (0.7 + 4 * severity) * (image - blur(image, 0.7 * pixel(image)))
    return crisp, np.minimum(2 * weight, 1)


@operator(SHARP_PART, "training")
def raise_faint_detail(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Fine contrast is brought to the same height everywhere, so that faint structure is as crisp as strong edges."""
    weight = region(detail(image), rng, at_least=0.05)
    fine = image - blur(image, 0.7 * pixel(image))
    strength = np.sqrt(blur((fine**2).mean(-1, keepdims=True), 1.5 * unit(image)))
    return image + (0.01 + 0.13 * severity) * fine / (strength + 0.01), np.minimum(2 * weight, 1)


@operator(SHARP_PART, "training")
def etch_ridges(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Thin structures are drawn over with a hard pen, bright ridges brighter and dark ones darker."""
    weight = region(detail(image), rng, at_least=0.05)
    luma = luminance(blur(image, 0.4 * pixel(image)))
    slopes = np.gradient(luma)
    (down, mixed), (_, right) = (np.gradient(slope) for slope in slopes)
    middle, radius = (down + right) / 2, np.hypot((down - right) / 2, mixed)
    curvature = pixel(image) ** 2 * np.where(middle > 0, middle + radius, middle - radius)
    stroke = np.tanh(curvature / 0.04)[..., None]
    return image + (0.03 + 0.24 * severity) * -stroke, np.minimum(2 * weight, 1)


@operator(SHARP_PART, "evaluation")
def shock_filter_of_part(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Lets every edge grow to a step (Osher & Rudin, 1990), with local contrast raised before."""
    weight = region(detail(image), rng, at_least=0.05)
    scale = pixel(image)
    changed = image + (0.1 + 0.9 * severity) * (image - blur(image, 2 * scale))
    for _ in range(round((1 + 4 * severity) * scale)):
        smooth = luminance(blur(changed, 0.6 * scale))
        side = np.sign(ndimage.laplace(smooth))[..., None]
        higher = ndimage.maximum_filter(changed, (3, 3, 1))
        lower = ndimage.minimum_filter(changed, (3, 3, 1))
        changed = changed + 0.3 * np.where(side < 0, higher - changed, np.where(side > 0, lower - changed, 0))
    return changed, np.minimum(2 * weight, 1) * (0.25 + 0.75 * severity)


@operator(ALIASED, "training")
def point_sample_edges(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    weight = region(edges(image), rng, 0.06, size=(0.25, 0.4))
    factor = max(2, (1.4 + 1.2 * severity) * pixel(image))
    stepped = resized(image, factor, Image.Resampling.NEAREST, Image.Resampling.NEAREST)
    return stepped, np.minimum(3 * weight, 1) * edge_band(image, 1.5) * (0.5 + 0.5 * severity)


@operator(ALIASED, "evaluation")
def rasterize_edges(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Edges as drawn without anti-aliasing: each cell of a lattice has the color of the bright or of the dark side."""
    weight = region(edges(image), rng, 0.06, size=(0.25, 0.4))
    luma, sides = luminance(image), []
    for sign in (1, -1):
        share = np.exp(sign * 14 * (luma - 0.5))[..., None]
        sides.append(blur(image * share, 1.2 * unit(image)) / blur(share, 1.2 * unit(image)))
    size = max(2, round(2 * pixel(image)))
    above = ndimage.uniform_filter(luma - (luminance(sides[0]) + luminance(sides[1])) / 2, size)
    rows, columns = (np.minimum(np.arange(side) // size * size + size // 2, side - 1) for side in luma.shape)
    drawn = np.where((above[rows[:, None], columns] > 0)[..., None], *sides)
    return drawn, np.minimum(3 * weight, 1) * edge_band(image, 1.5) * (0.4 + 0.6 * severity)


@operator(COARSE_PART, "training")
def pixelate_part(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    weight = region(detail(image), rng, at_least=0.04)
    blocks = resized(image, (1.6 + 2.4 * severity) * unit(image), Image.Resampling.BOX, Image.Resampling.NEAREST)
    return blocks, (weight > 0) * (0.5 + 0.5 * severity)


@operator(COARSE_PART, "training")
def keep_low_frequencies(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Only the first coefficients of a rectangle's cosine transform are left."""
    weight = region(detail(image), rng, at_least=0.04, square=True)
    (place,) = ndimage.find_objects((weight > 0).astype(int))
    coefficients = fft.dctn(image[place], axes=(0, 1))
    kept = [max(2, round(side / (1.5 + 3 * severity) / unit(image))) for side in coefficients.shape[:2]]
    coefficients[kept[0] :], coefficients[:, kept[1] :] = 0, 0
    changed = image.copy()
    changed[place] = np.clip(fft.idctn(coefficients, axes=(0, 1)), 0, 1)
    return changed, (weight > 0).astype(float)


@operator(COARSE_PART, "training")
def crystallize_part(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A mosaic of irregular cells, each of one color."""
    weight = region(detail(image), rng, at_least=0.04)
    step = rng.uniform(2.2, 3.6) * unit(image)
    lattice = np.mgrid[: image.shape[0] + step : step, : image.shape[1] + step : step].reshape(2, -1).T
    sites = lattice + rng.uniform(-0.5, 0.5, lattice.shape) * step
    _, cell = KDTree(sites).query(np.stack(offsets(image, 0, 0), axis=-1))
    sums = [np.bincount(cell.ravel(), image[..., channel].ravel(), len(sites)) for channel in range(3)]
    means = np.stack(sums, axis=-1) / np.maximum(np.bincount(cell.ravel(), minlength=len(sites)), 1)[:, None]
    return means[cell], (weight > 0) * (0.25 + 0.75 * severity)


@operator(COARSE_PART, "training")
def coarsen_object(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """An object is much coarser than its surroundings, and rings as after enlarging by a sharp kernel."""
    mask = thing(image, rng)
    if detail(image)[mask].mean() < 0.04:
        raise NoPlace
    factor = (1.4 + 2.4 * severity) * unit(image)
    coarse = resized(image, factor, Image.Resampling.LANCZOS, Image.Resampling.BICUBIC)
    ringing = coarse + 0.6 * (coarse - blur(coarse, factor))
    return ringing, mask.astype(float)


@operator(COARSE_PART, "evaluation")
def enlarge_part(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A rectangle as if enlarged from a thumbnail, with a sharp border to the rest."""
    weight = region(detail(image), rng, at_least=0.05, square=True)
    factor = (1.8 + 3.2 * severity) * unit(image)
    return resized(image, factor, Image.Resampling.BOX, Image.Resampling.BILINEAR), (weight > 0).astype(float)


def _defocused(image: NDArray, severity: float, amount: NDArray) -> Changed:
    """Blurred by an amount of shape `(height, width)`: at 0 not at all, at 1 as much as the severity says."""
    half, full = (blur(image, share * (0.6 + 2 * severity) * unit(image)) for share in (0.5, 1))
    # From sharp over half to full, as mixing sharp with full would look like mist.
    return half + np.clip(2 * amount - 1, 0, 1)[..., None] * (full - half), np.clip(2 * amount, 0, 1)


@operator(FAKE_FOCUS, "training")
def tilt_shift(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Blur that grows with the distance from a horizontal or upright line."""
    if detail(image).mean() < 0.04:
        raise NoPlace
    axis = int(rng.random() < 0.7)
    rows, columns = offsets(image, *(rng.uniform(0.25, 0.75, 2) * image.shape[:2]))
    amount = np.clip((abs(rows if axis else columns) / min(image.shape[:2]) - 0.12) / 0.3, 0, 1)
    levels = [blur(image, share * (0.6 + 2 * severity) * unit(image)) for share in (0.5, 1)]
    changed = np.where((amount < 0.5)[..., None], levels[0], levels[1])
    return changed, np.minimum(2 * amount, 1)


@operator(FAKE_FOCUS, "training")
def zoom_burst(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Everything is smeared away from one point, the more the farther from it."""
    if detail(image).mean() < 0.04:
        raise NoPlace
    rows, columns = offsets(image, *(rng.uniform(0.25, 0.75, 2) * image.shape[:2]))
    reach = 0.06 + 0.3 * severity
    distance = np.hypot(rows, columns) / min(image.shape[:2])
    return smear(image, reach * rows, reach * columns), np.clip((distance - 0.08) / 0.1, 0, 1)


@operator(FAKE_FOCUS, "training")
def misjudge_depth(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Blur by a depth that was guessed: large soft areas are out of focus, across all things."""
    if detail(image).mean() < 0.04:
        raise NoPlace
    return _defocused(image, severity, np.clip(0.4 + noise(image, 14 * unit(image), rng), 0, 1))


@operator(FAKE_FOCUS, "training")
def focus_on_one_side(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Sharp on one side, and ever less so toward the other."""
    if detail(image).mean() < 0.04:
        raise NoPlace
    along = position_along(image, rng.uniform(0, 2 * np.pi))
    share = (along - along.min()) / np.ptp(along)
    return _defocused(image, severity, np.clip((share - rng.uniform(0.3, 0.5)) / 0.35, 0, 1))


@operator(FAKE_FOCUS, "training")
def focus_by_brightness(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """The depth was read off the brightness: the middle tones, or else all others, are out of focus."""
    if detail(image).mean() < 0.04:
        raise NoPlace
    luma = blur(luminance(image), 1.5 * unit(image))
    depth = abs(luma - np.median(luma)) * rng.choice([-1, 1])
    low, high = np.quantile(depth, [0.4, 0.7])
    return _defocused(image, severity, np.clip((depth - low) / (high - low + 0.01), 0, 1))


@operator(FAKE_FOCUS, "evaluation")
def defocus_outside_circle(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Blur by a disc that favors bright points, everywhere but in a circle in no relation to the objects."""
    if detail(image).mean() < 0.04:
        raise NoPlace
    rows, columns = offsets(image, *(rng.uniform(0.25, 0.75, 2) * image.shape[:2]))
    distance = np.hypot(rows, columns) / min(image.shape[:2])
    bright = np.exp(3 * luminance(image))[..., None]
    radius = (0.8 + 2 * severity) * unit(image)
    changed = disc_blur(image * bright, radius) / disc_blur(bright, radius)
    return changed, np.clip((distance - rng.uniform(0.2, 0.28)) / 0.12, 0, 1)


def _subject_before_detail(image: NDArray) -> NDArray:
    mask = subject(image)
    if detail(image)[~mask].mean() < 0.03:
        raise NoPlace
    return mask


@operator(STAGED_FOCUS, "training")
def blur_background(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    mask = _subject_before_detail(image)
    around = (~mask).astype(np.float32)[..., None]
    sigma = (0.8 + 2.6 * severity) * unit(image)
    return blur(image * around, sigma) / (blur(around, sigma) + 1e-4), around[..., 0]


@operator(STAGED_FOCUS, "training")
def pan_along_with_subject(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Everything behind the subject is drawn out into streaks."""
    mask = _subject_before_detail(image)
    angle, length = rng.uniform(0, np.pi), (2 + 9 * severity) * unit(image)
    streaks = smear(spread(image, ~mask), length * np.sin(angle), length * np.cos(angle))
    return streaks, (~mask).astype(float)


@operator(STAGED_FOCUS, "training")
def thumbnail_behind_subject(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """What is behind the subject is enlarged from a thumbnail, up to the subject's outline."""
    mask = _subject_before_detail(image)
    factor = (1.8 + 4 * severity) * unit(image)
    behind = resized(spread(image, ~mask), factor, Image.Resampling.BOX, Image.Resampling.BICUBIC)
    return behind, (~mask).astype(float)


@operator(STAGED_FOCUS, "training")
def swirl_behind_subject(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Everything behind the subject is smeared around it, as by an old portrait lens."""
    mask = _subject_before_detail(image)
    rows, columns = offsets(image, *ndimage.center_of_mass(mask))
    reach = 0.15 + 0.5 * severity
    return smear(spread(image, ~mask), reach * columns, -reach * rows), (~mask).astype(float)


@operator(STAGED_FOCUS, "evaluation")
def defocus_behind_subject(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Blur by a disc that grows with the distance from the subject."""
    mask = _subject_before_detail(image)
    background = spread(image, ~mask)
    distance = distance_outside(image, mask)
    near, far = (disc_blur(background, radius * (0.4 + 0.6 * severity) * unit(image)) for radius in (1.6, 3.6))
    return np.where((distance < 3)[..., None], near, far), (~mask).astype(float)
