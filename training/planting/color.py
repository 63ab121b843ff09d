"""Artifacts of color: distributions, breaks of coherence, transitions."""

import numpy as np
from numpy.typing import NDArray

from .places import (
    NoPlace,
    blur,
    detail,
    edges,
    luminance,
    noise,
    offsets,
    position_along,
    region,
    rotated,
    sample,
    texture,
    thing,
    unit,
)
from .registry import Changed, operator


DISTRIBUTION = "Systematic color distribution anomalies"
INCOHERENT = "Color coherence breaks"
TRANSITIONS = "Unnatural color transitions"


# Luma and the two color differences (ITU-R BT.601, full range) of red, green and blue.
_TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], dtype=np.float32)


_TO_RGB = np.linalg.inv(_TO_YCC)


def to_ycc(image: NDArray) -> NDArray:
    """Luma in [0, 1] and color differences in [-0.5, 0.5]."""
    return image @ _TO_YCC.T


def to_rgb(ycc: NDArray) -> NDArray:
    return ycc @ _TO_RGB.T


def turn_hue(ycc: NDArray, angle: float | NDArray) -> NDArray:
    """Turns the color differences by an angle in radians."""
    luma, blue, red = np.moveaxis(ycc, -1, 0)
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.stack([luma, cosine * blue - sine * red, sine * blue + cosine * red], axis=-1)


def hue_and_vividness(ycc: NDArray) -> tuple[NDArray, NDArray]:
    """Angle and length of the chroma, each of shape `(height, width)`."""
    return np.arctan2(ycc[..., 2], ycc[..., 1]), np.hypot(ycc[..., 1], ycc[..., 2])


def direction(angle: float) -> NDArray:
    """A color difference of length 1 without luma."""
    return np.array([0, np.cos(angle), np.sin(angle)])


@operator(DISTRIBUTION, "training")
def turn_all_hues(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """All hues are turned by one angle, with a cast on top."""
    angle = rng.uniform(0.6, 1.5) * (1 if rng.random() < 0.5 else -1)
    cast = direction(rng.uniform(0, 2 * np.pi))
    return to_rgb(turn_hue(to_ycc(image), severity * angle) + severity * 0.1 * cast), None


@operator(DISTRIBUTION, "training")
def bend_channels(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Each channel has a tone curve of its own, one that brightens, one that darkens and one between."""
    exponents = rng.permutation([-1, rng.uniform(-0.6, 0.6), 1]) * rng.uniform(0.8, 1.3)
    return image ** (2 ** (severity * exponents)), None


@operator(DISTRIBUTION, "training")
def mix_channels(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Each channel takes something of the others, or loses it."""
    mixture = rng.standard_normal((3, 3))
    mixture -= np.trace(mixture) / 3 * np.eye(3)
    return image + severity * image @ (0.75 * mixture / np.linalg.norm(mixture)), None


@operator(DISTRIBUTION, "training")
def two_opposite_hues(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """All colors move toward two opposite hues, one for the shadows and one for the lights."""
    ycc, hue = to_ycc(image), direction(rng.uniform(0, 2 * np.pi))
    along = ycc @ hue + rng.uniform(0.3, 0.5) * (ycc[..., 0] - np.median(ycc[..., 0]))
    ycc[..., 1:] += severity * (along[..., None] * hue[1:] - 0.9 * ycc[..., 1:])
    return to_rgb(ycc), None


@operator(DISTRIBUTION, "training")
def unequal_contrasts(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Around its mean, one channel's contrast rises, one channel's nearly vanishes."""
    gains = rng.permutation([rng.uniform(0.8, 1.4), rng.uniform(-0.4, 0.4), -rng.uniform(0.6, 0.9)])
    return image + severity * gains * (image - image.mean((0, 1))), None


@operator(DISTRIBUTION, "training")
def cross_process(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """As film in the wrong bath: one channel's curve is steep in the middle, one's is flat, one's is shifted."""
    bends = rng.permutation([1.0, -1.0, 0.0]) * rng.uniform(0.8, 1.2)
    lifts = rng.uniform(-0.25, 0.25, 3)
    return image + severity * (bends * np.sin(2 * np.pi * (image - 0.5)) / 5 + lifts * 4 * image * (1 - image)), None


@operator(DISTRIBUTION, "training")
def reverse_one_color_axis(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Along one color axis every hue goes toward its opposite, while across it hues stay."""
    axis = direction(rng.uniform(0, np.pi))[1:]
    ycc = to_ycc(image)
    ycc[..., 1:] -= (0.5 + 1.5 * severity) * (ycc[..., 1:] @ axis)[..., None] * axis
    return to_rgb(ycc), None


@operator(DISTRIBUTION, "training")
def green_or_magenta_cast(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Balanced for another kind of lamp: green is stronger than red and blue everywhere, or weaker."""
    gain = severity * rng.uniform(0.25, 0.45) * rng.choice([-1, 1])
    return image * np.exp([-gain, gain, -gain]), None


@operator(DISTRIBUTION, "training")
def each_hue_goes_its_way(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Every hue is turned, made vivid or pale and brightened or darkened by an amount of its own."""
    ycc = to_ycc(image)
    hue, vividness = hue_and_vividness(ycc)
    if vividness.mean() < 0.04:
        raise NoPlace
    shares, phases = rng.dirichlet([0.6] * 3, 3), rng.uniform(0, 2 * np.pi, (3, 3))
    waves = np.sin(hue[..., None, None] * [1, 2, 3] + phases)
    turn, gain, light = np.moveaxis((shares * waves).sum(-1) * rng.uniform(0.4, 1, 3), -1, 0)
    ycc = turn_hue(ycc, severity * (rng.choice([-1, 1]) + 2.5 * turn))
    ycc[..., 1:] *= np.exp(severity * (0.6 + 1.2 * gain))[..., None]
    ycc[..., 0] += severity * 2.5 * light * np.minimum(vividness, 0.15)
    return to_rgb(ycc), None


@operator(DISTRIBUTION, "training")
def channels_of_false_color(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Red, green and blue show something else: the highest or lowest channel, a negative, a difference, a product."""
    first, second, third = (image[..., channel] for channel in rng.permutation(3))
    luma = luminance(image)
    sources = (
        image.max(-1),
        image.min(-1),
        1 - luma,
        4 * luma * (1 - luma),
        np.sqrt(first * second),
        np.clip(0.5 + 2 * (first - third), 0, 1),
        np.clip(3 * abs(second - third), 0, 1),
        second,
    )
    false = np.stack([sources[source] for source in rng.choice(len(sources), 3, replace=False)], axis=-1)
    return image + severity * rng.uniform(0.45, 0.9, 3) * (false - image), None


@operator(DISTRIBUTION, "evaluation")
def specify_histograms(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Each channel's ranks are mapped to a distribution of its own, heavy at both ends."""
    ranks = np.argsort(np.argsort(image.reshape(-1, 3), axis=0, kind="stable"), axis=0, kind="stable")
    quantiles = (ranks + 0.5) / len(ranks)
    powers = rng.permutation([0.5, 1.0, 2.1])
    changed = (0.5 - 0.5 * np.cos(np.pi * quantiles)) ** powers
    return image + 0.75 * severity * (changed.reshape(image.shape) - image), None


@operator(INCOHERENT, "training")
def recolor_part(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """One side of an object takes another tint, with a sharp border."""
    mask = thing(image, rng)
    angle = rng.uniform(0, 2 * np.pi)
    along = position_along(image, angle) + noise(image, 4 * unit(image), rng) * unit(image)
    part = mask & (along > np.quantile(along[mask], rng.uniform(0.4, 0.6)))
    tint = direction(rng.uniform(0, 2 * np.pi))
    return image + (0.05 + 0.2 * severity) * (tint @ _TO_RGB.T), part.astype(float)


@operator(INCOHERENT, "training")
def bleach_part(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """One side of an object loses its color, with a sharp border."""
    mask = thing(image, rng)
    along = position_along(image, rng.uniform(0, 2 * np.pi)) + noise(image, 4 * unit(image), rng) * unit(image)
    part = mask & (along > np.quantile(along[mask], rng.uniform(0.25, 0.55)))
    if abs(to_ycc(image)[part][:, 1:]).mean() < 0.04:
        raise NoPlace
    gray = np.broadcast_to(luminance(image)[..., None], image.shape)
    return gray, part * (0.25 + 0.75 * severity)


@operator(INCOHERENT, "training")
def gel_over_strip(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A strip across the image is seen through a colored gel, whatever lies under it."""
    along = position_along(image, rng.uniform(0, np.pi))
    width = rng.uniform(0.12, 0.25) * np.ptp(along)
    strip = abs(along - np.quantile(along, rng.uniform(0.25, 0.75))) < width / 2
    gel = rng.permutation([1.0, rng.uniform(0.45, 0.9), 0.4])
    return image * (1 + (0.2 + 0.8 * severity) * (gel / gel.mean() - 1)), strip.astype(float)


def _other_colors(image: NDArray, mask: NDArray, rng: np.random.Generator) -> NDArray:
    """The image with other colors: hues turned, channels exchanged, and a tint; `NoPlace` if hardly other."""
    exchanged = image[..., rng.permutation(3)]
    ycc = turn_hue(to_ycc(exchanged), rng.choice([-1, 1]) * rng.uniform(0.3, 1) * np.pi)
    ycc[..., 1:] *= rng.uniform(0.4, 1.6)
    ycc[..., 0] = 0.75 * luminance(image) + rng.uniform(0.08, 0.16)  # white and black could take no tint
    other = to_rgb(ycc + rng.uniform(0.2, 0.3) * direction(rng.uniform(0, 2 * np.pi)))
    if abs(np.clip(other, 0, 1) - image)[mask].mean() < 0.12:
        raise NoPlace
    return other


@operator(INCOHERENT, "training")
def harlequin(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A thing is pieced together of stripes, sectors, rings or shards, some of which have other colors."""
    mask = thing(image, rng)
    scale, period = unit(image), rng.uniform(3, 6) * unit(image)
    rows, columns = offsets(image, *(np.argwhere(mask).mean(0) + rng.uniform(-3, 3, 2) * scale))
    along, across = rotated(rows, columns, rng.uniform(0, np.pi))
    points = rng.uniform(-10, 10, (16, 2)) * scale
    pieces = (
        along // period,
        np.arctan2(along, across) // (np.pi / rng.integers(2, 5)),
        np.hypot(along, across) // period,
        np.argmin([np.hypot(along - down, across - right) for down, right in points], axis=0),
    )[rng.integers(4)].astype(int)
    first, second = _other_colors(image, mask, rng), _other_colors(image, mask, rng)
    chosen = rng.permutation([0, 1, 2] if rng.random() < 0.5 else [0, 1])
    color = chosen[pieces % len(chosen)]
    colored = np.where((color == 1)[..., None], first, second)
    return colored, mask * (color > 0) * (0.25 + 0.75 * severity)


@operator(INCOHERENT, "training")
def stains_of_color(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Blots, streaks or speckles of a thing have other colors, though light and structure go on, with hard or soft
    rims."""
    mask = thing(image, rng)
    scale = unit(image)
    rows, columns = offsets(image, 0, 0)
    along, across = rotated(rows, columns, rng.uniform(0, np.pi))
    stretch = rng.choice([1.0, 6.0])
    coarse = noise(image, rng.choice([1.5, 2.5]) * scale, rng)
    field = sample(coarse, (along / stretch) % mask.shape[0], across % mask.shape[1])
    limit = np.quantile(field[mask], rng.uniform(0.3, 0.6))
    rim = rng.choice([0.05, 0.5])
    return _other_colors(image, mask, rng), mask * np.clip((field - limit) / rim, 0, 1) * (0.25 + 0.75 * severity)


@operator(INCOHERENT, "training")
def color_slips_off(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """The colors of a thing do not lie where it is, but shifted, turned, swollen or shrunk: parts of it lack them, and
    parts of its surroundings have them."""
    mask = thing(image, rng)
    scale, ycc = unit(image), to_ycc(image)
    middle = np.argwhere(mask).mean(0)
    down, right = offsets(image, *middle)
    toward, length = rng.uniform(0, 2 * np.pi), rng.uniform(3, 6) * scale * rng.integers(2)
    turn, size = rng.uniform(-0.8, 0.8), rng.choice([0.65, 1.0, 1.5])
    turned = rotated(down / size, right / size, turn)
    places = middle[0] + turned[0] + length * np.sin(toward), middle[1] + turned[1] + length * np.cos(toward)
    slipped, moved = sample(ycc, *places), sample(mask, *places)
    near = np.clip(1.5 * blur(np.maximum(mask, moved), scale), 0, 1)
    slip = to_rgb((slipped - ycc) * [0, 1, 1])
    if (abs(slip).mean(-1) * near).sum() < 0.033 * near.sum():
        raise NoPlace
    return image + (1.2 + 0.5 * severity) * slip, near * (0.25 + 0.75 * severity)


@operator(INCOHERENT, "evaluation")
def patch_of_foreign_hue(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Hue is turned and color strengthened in a round patch on an even surface."""
    weight = region(-edges(image), rng, -0.08, size=(0.2, 0.32))
    ycc = to_ycc(image)
    saturation = np.linalg.norm(ycc[..., 1:], axis=-1, keepdims=True)
    wanted = np.maximum(saturation, 0.06 + 0.14 * severity)
    gray = direction(rng.uniform(0, 2 * np.pi))[1:]  # what is gray has no hue to turn
    ycc[..., 1:] = np.where(saturation > 0.02, ycc[..., 1:] / np.maximum(saturation, 0.02), gray) * wanted
    foreign = turn_hue(ycc, (0.5 + 0.5 * severity) * rng.uniform(0.6, 1) * np.pi)
    return to_rgb(foreign), np.minimum(4 * weight, 1) * (0.25 + 0.75 * severity)


def _blend_place(image: NDArray, rng: np.random.Generator) -> NDArray:
    """Weights of a place with a soft course of brightness, neither plain nor cut by edges."""
    return region(
        np.minimum(detail(blur(image, 1.5 * unit(image))), 0.06) - texture(image), rng, 0.014, size=(0.26, 0.42)
    )


@operator(TRANSITIONS, "training")
def posterize(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A soft course of colors is reduced to a few bands."""
    weight = _blend_place(image, rng)
    soft = blur(image, 0.7 * unit(image))
    step = 0.04 + 0.18 * severity
    bands = np.round((soft + rng.uniform(0, step, 3)) / step) * step
    bands += (weight[..., None] * (soft - bands)).sum((0, 1)) / weight.sum()
    return bands, np.minimum(3 * weight, 1)


@operator(TRANSITIONS, "training")
def channels_out_of_step(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Along a soft course of colors, each channel runs ahead of the others or behind them."""
    weight = _blend_place(image, rng)
    soft, (rows, columns) = blur(image, unit(image)), offsets(image, 0, 0)
    angle = rng.uniform(0, 2 * np.pi)
    steps = rng.permutation([-1.0, rng.uniform(-0.3, 0.3), 1.0]) * (1.5 + 5 * severity) * unit(image)
    moved = [
        sample(soft, rows + step * np.sin(angle), columns + step * np.cos(angle))[..., channel]
        for channel, step in enumerate(steps)
    ]
    return image + (1 + severity) * (np.stack(moved, axis=-1) - soft), np.minimum(3 * weight, 1)


@operator(TRANSITIONS, "training")
def two_tints_meet(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A ragged line runs through a soft course of colors, beside which it takes one tint on one side and another on
    the other."""
    weight = _blend_place(image, rng)
    along = position_along(image, rng.uniform(0, 2 * np.pi)) + noise(image, 5 * unit(image), rng) * unit(image)
    from_line = (along - (along * weight).sum() / weight.sum()) / unit(image)
    side, near = np.clip(from_line / 1.5, -1, 1)[..., None], np.exp(-((from_line / 4) ** 2))[..., None]
    angle = rng.uniform(0, 2 * np.pi)
    tints = direction(angle), direction(angle + rng.uniform(0.6, 1) * np.pi)
    tint = (1 + side) / 2 * tints[0] + (1 - side) / 2 * tints[1]
    return to_rgb(to_ycc(image) + (0.03 + 0.17 * severity) * near * tint), np.minimum(3 * weight, 1)


@operator(TRANSITIONS, "training")
def few_tints(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Brightness stays soft, while its tints are reduced to a few vivid ones with sharp borders between them."""
    weight = _blend_place(image, rng)
    ycc, start = to_ycc(image), rng.random(2)
    soft = blur(ycc[..., 1:], 1.2 * unit(image))
    inside = weight > 0
    spread_of_tints = soft[inside].std(0) + 0.004
    steps = np.round((soft - soft[inside].mean(0)) / (1.4 * spread_of_tints) + start - 0.5) - (start - 0.5)
    ycc[..., 1:] = soft + np.clip(steps, -1.5, 1.5) * (0.02 + 0.1 * severity)
    return to_rgb(ycc), np.minimum(3 * weight, 1)


def _soft_place(image: NDArray, rng: np.random.Generator) -> NDArray:
    """Weights of a place without texture and edges, where bands in a plain or shaded color would show."""
    return region(0.05 - texture(image) - 0.3 * edges(blur(image, unit(image))), rng, 0.012, size=(0.26, 0.42))


def _course(image: NDArray, weight: NDArray, rng: np.random.Generator) -> NDArray:
    """How far a soft course of colors has come, by its luma, a channel or a tint and by the place, with mean 0 and
    standard deviation 1 where the weight is."""
    soft, inside = blur(image, 1.2 * unit(image)), weight > 0
    tint = direction(rng.uniform(0, 2 * np.pi))
    shade = (luminance(soft), soft[..., rng.integers(3)], luminance(soft) + 2 * to_ycc(soft) @ tint)[rng.integers(3)]
    place = position_along(image, rng.uniform(0, 2 * np.pi)) / unit(image) + 1.5 * noise(image, 8 * unit(image), rng)
    if rng.random() < 0.3:
        place = np.hypot(*offsets(image, *rng.uniform(0, 1, 2) * weight.shape)) / unit(image)
    course = 12 * shade + rng.uniform(0.1, 0.4) * place
    return (course - course[inside].mean()) / course[inside].std()


@operator(TRANSITIONS, "training")
def bands_of_chance(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A soft course falls into bands of unequal width, each off in tint and brightness, with hard, speckled or
    checkered borders."""
    weight = _soft_place(image, rng)
    rows, columns = offsets(image, 0, 0)
    size = max(1, round(unit(image)))
    checks = 2 * ((rows // size + columns // size) % 2) - 1
    dither = (np.zeros_like(weight), noise(image, unit(image), rng), checks)[rng.integers(3)]
    limits = np.cumsum(rng.uniform(0.25, 1.3, 12)) - 3.5
    band = np.searchsorted(limits, _course(image, weight, rng) + rng.uniform(0.15, 0.35) * dither)
    offs = rng.standard_normal((13, 3)) * [rng.choice([0.7, 1]), 1, 1]
    offs = offs - 0.5 * np.roll(offs, 1, axis=0)  # neighbors differ
    offs /= np.linalg.norm(offs, axis=-1, keepdims=True) * rng.uniform(0.8, 1.4, (13, 1))
    soft = image + severity * rng.uniform(0, 1) * (blur(image, 1.5 * unit(image)) - image)
    return soft + to_rgb((0.025 + 0.11 * severity) * offs[band]), np.minimum(3 * weight, 1)


@operator(TRANSITIONS, "training")
def channels_fail_halfway(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """From some point of a soft course on, one or two channels jump or dip and return, once or often."""
    weight = _soft_place(image, rng)
    course = _course(image, weight, rng)
    kinds = (
        lambda past: np.clip(1 - abs(past) / 0.9, 0, 1),
        lambda past: np.where(past > 0, np.exp(-1.2 * past), 0),
        lambda past: np.where(past > 0, 1 - 1.5 * past % 1, 0),
    )
    change = np.zeros_like(image)
    for channel in rng.permutation(3)[: rng.integers(1, 3)]:
        past = (course - rng.uniform(-0.6, 0.4)) * rng.choice([-1, 1])
        change[..., channel] = kinds[rng.integers(3)](past) * rng.choice([-1, 1]) * rng.uniform(0.7, 1.2)
    return image + (0.08 + 0.34 * severity) * change, np.minimum(2.5 * weight, 1)


@operator(TRANSITIONS, "evaluation")
def pass_through_hues(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Hue swings back and forth with brightness, so that a soft course passes through foreign hues."""
    weight = _blend_place(image, rng)
    luma = luminance(blur(image, unit(image)))
    low, high = np.quantile(luma[weight > 0], [0.05, 0.95])
    phase = 2 * np.pi * (1.5 * (luma - low) / (high - low + 0.02) + rng.random())
    swing = np.stack([np.cos(phase), np.sin(phase)], axis=-1)
    ycc = to_ycc(image)
    ycc[..., 1:] += (0.01 + 0.14 * severity) * swing
    return to_rgb(ycc), np.minimum(3 * weight, 1)
