"""Artifacts of grading: the looks of cinema and of enhancement."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .color import direction, hue_and_vividness, to_rgb, to_ycc
from .places import NoPlace, blur, luminance, noise, offsets, one_of, position_along, unit
from .registry import Changed, operator


CINEMA = "Cinematization Effects"
ENHANCED = "Artificial enhancement artifacts"


def s_curve(values: NDArray, slope: NDArray | float, middle: NDArray | float) -> NDArray:
    """A logistic curve from 0 at 0 to 1 at 1."""
    low, high, curve = (1 / (1 + np.exp(-slope * (value - middle))) for value in (0.0, 1.0, values))
    return (curve - low) / (high - low)


@operator(CINEMA, "training")
def teal_and_orange(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Shadows turn teal and lights orange, contrast rises, the corners darken."""
    ycc = to_ycc(image)
    luma = ycc[..., :1]
    contrast = luma + severity * 0.9 * (luma - 0.45) * (1 - abs(2 * luma - 1))
    grade = np.array([-0.2, 0.16]) * (2 * luma - 0.9)
    graded = to_rgb(np.concatenate([contrast, (1 - 0.3 * severity) * ycc[..., 1:] + severity * grade], axis=-1))
    rows, columns = offsets(image, (image.shape[0] - 1) / 2, (image.shape[1] - 1) / 2)
    corner = (2 * rows / image.shape[0]) ** 2 + (2 * columns / image.shape[1]) ** 2
    return graded * (1 - severity * rng.uniform(0.25, 0.4) * corner)[..., None], None


@operator(CINEMA, "training")
def night_or_amber_frame(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A filter before the lens, blue as for night scenes or amber, and dark strips with a soft rim above and below."""
    gel = np.array([[0.55, 0.75, 1.0], [1.0, 0.8, 0.5]])[rng.integers(2)]
    dimmed = image * (1 + severity * (gel - 1)) * (1 - 0.2 * severity)
    strip = rng.uniform(1.5, 5) * severity * unit(image)
    rows = np.arange(image.shape[0])
    from_border = np.minimum(rows, image.shape[0] - 1 - rows) + 0.5
    open_share = np.clip(0.5 + (from_border - strip) / (1.5 * unit(image)), 0, 1)[:, None, None]
    return dimmed * open_share + rng.uniform(0, 0.08) * (1 - open_share), None


@operator(CINEMA, "training")
def mist_filter(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """As through a diffusion filter: bright places spread a reddish veil of light, and the corners darken."""
    soft = blur(image, 0.5 * unit(image))
    bright = soft * np.clip((luminance(soft) - 0.45) / 0.4, 0, 1)[..., None]
    veil = 0.6 * blur(bright, 2.5 * unit(image)) + 0.6 * blur(bright, 7 * unit(image))
    veil = veil * [1.0, rng.uniform(0.6, 0.9), rng.uniform(0.5, 0.8)]
    rows, columns = offsets(image, (image.shape[0] - 1) / 2, (image.shape[1] - 1) / 2)
    corner = np.clip(np.hypot(rows, columns) / min(image.shape[:2]) - 0.35, 0, 1)[..., None]
    dimmed = (image + severity * 0.6 * (soft - image)) * (1 - 0.3 * severity)
    return 1 - (1 - dimmed * np.clip(1 - 1.6 * severity * corner, 0, 1)) * (1 - severity * np.clip(veil, 0, 1)), None


@operator(CINEMA, "training")
def neon_split_tones(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A night of neon signs: dark tones turn violet or blue, bright ones pink or cyan, and what is between is dim."""
    ycc = to_ycc(image)
    luma = ycc[..., :1]
    dark, bright = (
        np.array([[0.22, 0.06], [0.2, -0.1]])[rng.integers(2)],
        np.array([[0.06, 0.2], [0.1, -0.2]])[rng.integers(2)],
    )
    tint = (1 - luma) ** 2 * dark + luma**1.5 * bright
    ycc[..., 1:] += severity * (rng.uniform(0.8, 1.2) * tint + 0.2 * ycc[..., 1:])
    ycc[..., :1] = luma + 0.6 * severity * (luma**2 - luma)
    return to_rgb(ycc), None


@operator(CINEMA, "training")
def anamorphic_streaks(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """As through an anamorphic lens: the brightest places draw long level streaks, bluish, over a dimmed scene."""
    luma = luminance(image)
    bright = np.clip((luma - np.quantile(luma, 0.9)) / 0.15, 0, 1)[..., None] * image
    length, height = rng.uniform(6, 12) * unit(image), 0.6 * unit(image)
    streak = ndimage.gaussian_filter(bright, (height, length, 0), mode="constant")
    streak = streak / max(streak.max(), 0.05) * [rng.uniform(0.3, 0.6), rng.uniform(0.6, 0.85), 1.0]
    return 1 - (1 - image * (1 - 0.45 * severity)) * (1 - 0.8 * severity * streak), None


@operator(CINEMA, "training")
def print_stock(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A dense print: blacks and whites are reached early, by channels of slightly different contrast, so that grays
    change their tint from dark to bright."""
    slopes = rng.uniform(6, 9) * (1 + rng.permutation([-0.15, 0.0, 0.15]))
    middles = rng.uniform(0.45, 0.55) + rng.permutation([-0.03, 0.0, 0.03])
    return image + severity * (s_curve(image, slopes, middles) - image), None


@operator(CINEMA, "training")
def toned_noir(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A film in black and white with hard contrasts, toned in one color between black and white."""
    hard = np.clip(s_curve(luminance(image)[..., None], 9, 0.5), 0, 1)
    tone = np.array([[-0.25, 0.02, 0.3], [0.3, 0.02, -0.25], [0.1, 0.0, 0.05]])[rng.integers(3)]
    return image + severity * (hard ** np.exp(rng.uniform(0.6, 1) * tone) - image), None


@operator(CINEMA, "training")
def bleach_bypass(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Silver that was left in the print lies over its colors: they darken and pale, and its grain shows."""
    silver = luminance(image)[..., None] + 0.05 * noise(image, 1, rng)[..., None]
    overlaid = np.where(silver < 0.5, 2 * image * silver, 1 - 2 * (1 - image) * (1 - silver))
    return image + severity * (0.5 * overlaid + 0.5 * overlaid.mean(-1, keepdims=True) - image), None


@operator(CINEMA, "training")
def worn_reel(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A worn reel: upright scratches, dust, and a lamp that lights the middle more than the rim."""
    height, width = image.shape[:2]
    rows, columns = offsets(image, (height - 1) / 2, (width - 1) / 2)
    lamp = 1.15 - 0.9 * np.hypot(rows / height, columns / width) ** 2
    changed = image * (1 + severity * (lamp - 1))[..., None]
    for _ in range(rng.integers(2, 5)):
        column = rng.uniform(-0.5, 0.5) * width + rng.uniform(-0.04, 0.04) * rows
        scratch = np.clip(1 - abs(columns - column) / (0.7 * unit(image)), 0, 1)[..., None]
        changed = changed + 0.7 * severity * scratch * (rng.integers(2) - changed)
    for place in rng.uniform(0, 1, (rng.integers(4, 9), 2)) * (height, width):
        speck = np.clip(rng.uniform(1, 1.8) - np.hypot(*offsets(image, *place)) / unit(image), 0, 1)[..., None]
        changed = changed + 0.7 * severity * speck * (rng.integers(2) - changed)
    return changed, None


@operator(CINEMA, "training")
def lens_flare(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A lamp outside of the frame mirrors itself in the lens: colored discs on a line through the dimmed scene."""
    middle = (np.array(image.shape[:2]) - 1) / 2
    angle, light = rng.uniform(0, 2 * np.pi), np.zeros(image.shape)
    for along in rng.uniform(-0.7, 0.5, rng.integers(3, 6)) * min(image.shape[:2]):
        rows, columns = offsets(image, *(middle + along * np.array([np.sin(angle), np.cos(angle)])))
        radius = rng.uniform(1.2, 4.5) * unit(image)
        disc = np.clip((radius - np.hypot(rows, columns)) / unit(image) + 0.5, 0, 1)[..., None]
        light += 0.45 * disc * rng.permutation([1.0, rng.uniform(0.3, 0.8), rng.uniform(0.1, 0.5)])
    return 1 - (1 - image * (1 - 0.25 * severity)) * (1 - severity * np.clip(1.3 * light, 0, 1)), None


def _frame(image: NDArray, rng: np.random.Generator) -> NDArray:
    """Share of the light that a frame lets through, of shape `(height, width, 1)`.

    The frame is bars or a gate with round corners, with a hard or soft rim, or a soft oval.
    """
    height, width = image.shape[:2]
    rows, columns = offsets(image, (height - 1) / 2, (width - 1) / 2)
    rows, columns = abs(rows) * 2 / height, abs(columns) * 2 / width
    power = rng.uniform(5, 9)
    forms = rows, columns, (rows**power + columns**power) ** (1 / power), np.hypot(rows, columns) * 0.85
    form = rng.choice(4, p=[0.4, 0.15, 0.2, 0.25])
    rim = 0.6 if form == 3 else rng.choice([0.04, 0.12, 0.5])
    return np.clip(0.5 + (rng.uniform(0.68, 0.88) - forms[form]) / rim, 0, 1)[..., None]


@operator(CINEMA, "training")
def graded_still(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A colorist's look in a frame: a curve of tones, split tints, fewer colors, and darkness outside of the frame."""
    ycc = to_ycc(image)
    luma = np.clip(ycc[..., :1], 0, 1)
    curves = (
        luma**2,
        s_curve(luma, 8, rng.uniform(0.5, 0.65)),
        0.5 * luma,
        luma - 0.3 * luma * (1 - luma),
    )
    curve = curves[rng.integers(4)]
    cool, warm = direction(rng.uniform(-0.8, 0.15) * np.pi)[1:], direction(rng.uniform(0.5, 0.85) * np.pi)[1:]
    dark, bright = ((cool, warm), (warm, cool), (cool, 0.3 * cool))[rng.choice(3, p=[0.5, 0.2, 0.3])]
    balance = s_curve(luma, rng.uniform(2, 10), 0.45)
    tints = rng.uniform(0.05, 0.13) * ((1 - balance) * dark + balance * bright)
    colors = rng.uniform(0.2, 1.1) * ycc[..., 1:] + tints
    look = to_rgb(np.concatenate([curve, colors], axis=-1)) * _frame(image, rng)
    return image + severity * (look - image), None


@operator(CINEMA, "training")
def spare_one_hue(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """One hue stays, vivid, while all else is dark and nearly black and white, with a tone and within a frame."""
    ycc = to_ycc(image)
    hue, vividness = hue_and_vividness(ycc)
    vivid = np.argwhere(vividness > max(0.09, np.quantile(vividness, 0.85)))
    if len(vivid) < 0.02 * vividness.size:
        raise NoPlace
    spared = hue[tuple(one_of(vivid, rng))]
    near = np.exp((np.cos(hue - spared) - 1) * rng.uniform(4, 9)) * np.clip(vividness / 0.06 - 0.5, 0, 1)
    tone = rng.uniform(0, 0.07) * direction(rng.choice([-0.25, 0.7]) * np.pi)
    if near.mean() > 0.4:
        raise NoPlace
    luma = np.clip(ycc[..., :1], 0, 1)
    curve = (0.8 * luma**1.5, s_curve(luma, 8, 0.55))[rng.integers(2)]
    rest = to_rgb(curve * [1, 0, 0] + tone)
    kept = to_rgb(ycc * [0.95, *[rng.uniform(1.2, 1.8)] * 2])
    look = (rest + near[..., None] * (kept - rest)) * (1 - rng.uniform(0.3, 1) * (1 - _frame(image, rng)))
    return image + severity * (look - image), None


@operator(CINEMA, "training")
def strip_of_film(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A frame on the strip of film: black margins with or without holes, a warm leak of light, graded tones."""
    scale, upright = unit(image), rng.random() < 0.5
    rows, columns = offsets(image, 0, 0)
    along, across, size = (rows, columns, image.shape[1]) if upright else (columns, rows, image.shape[0])
    margin, period = rng.uniform(3, 5.5) * scale, rng.uniform(3.5, 7) * scale
    sides = ((True, True), (True, False), (False, True))[rng.integers(3)]
    inward = np.minimum(across + 0.5 if sides[0] else np.inf, size - across - 0.5 if sides[1] else np.inf)
    from_hole = abs((along + rng.uniform(0, period)) % period - period / 2) - 0.28 * period
    hole = np.clip(0.5 - np.maximum(from_hole, abs(inward - 0.5 * margin) - 0.28 * margin) / scale, 0, 1)[..., None]
    strip = np.clip(0.5 + (margin - inward) / scale, 0, 1)[..., None]
    away = position_along(image, rng.uniform(0, 2 * np.pi)) + 3 * scale * noise(image, 8 * scale, rng)
    warm = np.array([1, rng.uniform(0.2, 0.6), rng.uniform(0, 0.2)])
    leak = np.exp((away.min() - away) / rng.uniform(4, 12) / scale)[..., None] * warm
    curve = (image**1.6, s_curve(image, 7, 0.55))[rng.integers(2)]
    cast = np.array([[0.6, 0, -1], [-1, 0, 0.6], [-0.6, 0.4, 0]])[rng.integers(3)]
    graded = curve * np.exp(rng.uniform(0, 0.35) * cast)
    look = 1 - (1 - graded * (1 - strip) - rng.choice([0.0, 0.7, 1.0]) * hole * strip) * (1 - 0.8 * leak)
    return image + severity * (look - image), None


@operator(CINEMA, "evaluation")
def faded_film_stock(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Bleached colors, lifted blacks and a warm or cold bias, as of old film stock."""
    ycc = to_ycc(image)
    ycc[..., 0] = 0.12 * severity + (1 - 0.2 * severity) * ycc[..., 0] ** (1 + 0.6 * severity)
    bias = np.array([-0.05, 0.03]) if rng.random() < 0.5 else np.array([0.05, -0.02])
    ycc[..., 1:] = (1 - 0.65 * severity) * ycc[..., 1:] + severity * bias
    return to_rgb(ycc), None


@operator(ENHANCED, "training")
def clarity_and_saturation(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Local contrast in a wide surrounding and saturation are raised, shadows are opened."""
    ycc = to_ycc(image)
    wide = blur(ycc[..., 0], 4 * unit(image))
    opened = wide + 0.5 * severity * (0.5 - wide)
    ycc[..., 0] = opened + (1 + 1.2 * severity) * (ycc[..., 0] - wide)
    ycc[..., 1:] *= 1 + rng.uniform(1.1, 1.5) * severity
    return to_rgb(ycc), None


@operator(ENHANCED, "training")
def fuse_exposures(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A dark and a bright exposure are fused, each where it is neither black nor white (Mertens et al., 2007), with
    vivid colors."""
    stops = rng.uniform(1, 1.6)
    fused, total = np.zeros_like(image), np.zeros((*image.shape[:2], 1))
    for gain in 2.0 ** np.array([-stops, 0, stops]):
        exposed = np.clip(gain * image, 0, 1)
        weight = np.exp(-(((luminance(exposed) - 0.5) / 0.18) ** 2)) + 1e-3
        weight = blur(weight, unit(image))[..., None]
        fused, total = fused + weight * exposed, total + weight
    ycc = to_ycc(fused / total)
    ycc[..., 1:] *= 1 + rng.uniform(0.8, 1.3) * severity
    return image + severity * (to_rgb(ycc) - image), None


@operator(ENHANCED, "training")
def retinex(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Every channel is divided by its wide surroundings, as if these were the lamp (Jobson et al., 1997)."""
    wide = blur(image, rng.uniform(3, 6) * unit(image))
    even = 0.5 + 0.5 * np.log((image + 0.04) / (wide + 0.04))
    return image + 0.85 * severity * (even - image), None


@operator(ENHANCED, "training")
def dehaze(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Haze that is not there is taken away, by the darkest channel of the surroundings (He et al., 2009)."""
    size = 2 * round(rng.uniform(1.5, 3) * unit(image)) + 1
    haze = 0.85 * severity * blur(ndimage.minimum_filter(image.min(-1), size), 1.5 * unit(image))
    clear = np.maximum(1 - haze, 0.2)[..., None]
    ycc = to_ycc((image - haze[..., None]) / clear)
    ycc[..., 1:] *= 1 + 0.5 * severity
    return to_rgb(ycc), None


@operator(ENHANCED, "training")
def lift_detail_off_base(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """The detail is raised off a base, coarse or fine, and colors with it, as in photographs called HDR."""
    luma = luminance(image)
    forward, back = (
        (lambda tone: tone, lambda tone: tone),
        (lambda tone: np.log(tone + 0.08) / 2.6, lambda tone: np.exp(2.6 * tone) - 0.08),
        (np.sqrt, lambda tone: np.maximum(tone, 0) ** 2),
    )[rng.integers(3)]
    tone, boosts = forward(luma), rng.dirichlet([0.5, 1, 1]) * rng.uniform(1, 1.7) * severity
    changed, by_median = tone, rng.integers(2)
    for boost, sigma in zip(boosts, rng.uniform([1, 1.8, 3], [1.6, 2.8, 5]), strict=True):
        size = sigma * unit(image)
        base = ndimage.median_filter(tone, 2 * round(size) + 1) if by_median else blur(tone, size)
        changed = changed + boost * (tone - base)
    changed = changed - rng.uniform(0, 0.3) * severity * (base - base.mean())
    ratio = (np.clip(back(changed), 0, 1) + 0.03) / (luma + 0.03)
    colors = 1 + rng.uniform(0.3, 1.3) * severity
    return ratio[..., None] * (luma[..., None] + colors * (image - luma[..., None])), None


@operator(ENHANCED, "evaluation")
def local_equalization(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Every pixel's luma becomes its rank in its surroundings (adaptive histogram equalization, Pizer et al., 1987),
    and pale colors are made vivid."""
    ycc = to_ycc(image)
    luma, reach = ycc[..., 0].copy(), rng.uniform(4, 6) * unit(image)
    levels = np.linspace(0, 1, 17)
    below = np.stack([blur((luma > level).astype(np.float32), reach) for level in levels])
    rank = ndimage.map_coordinates(below, [luma * 16, *np.mgrid[: luma.shape[0], : luma.shape[1]]], order=1)
    ycc[..., 0] = luma + 0.8 * severity * ((1 - rank) - luma)
    saturation = np.linalg.norm(ycc[..., 1:], axis=-1, keepdims=True)
    ycc[..., 1:] *= 1 + 1.4 * severity * np.exp(-4 * saturation)
    return to_rgb(ycc), None
