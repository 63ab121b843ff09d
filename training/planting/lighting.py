"""Artifacts of lighting: gradients, and light without a cause."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .places import blur, distance_outside, luminance, noise, offsets, rotated, thing, unit
from .registry import Changed, operator


GRADIENT = "Unnatural Lighting Gradients"
DRAMATIC = "Dramatic lighting that defies natural physics"


def _ramp(image: NDArray, rng: np.random.Generator) -> NDArray:
    """Rises across the image in a random direction, by about 1 from side to side, and is 0 in the middle."""
    angle = rng.uniform(0, 2 * np.pi)
    rows, columns = offsets(image, (image.shape[0] - 1) / 2, (image.shape[1] - 1) / 2)
    return np.sin(angle) * rows / image.shape[0] + np.cos(angle) * columns / image.shape[1]


@operator(GRADIENT, "training")
def linear_gradient(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Exposure rises steadily from one side of the image to the other, in some colors more than in others."""
    speed = rng.uniform(1.2, 2.4, 3)
    ramp = _ramp(image, rng)
    return image * np.exp(severity * ramp[..., None] * speed), None


@operator(GRADIENT, "training")
def fall_off_from_point(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Exposure falls, in some colors more than in others, with the distance from a point in the image or beside it."""
    height, width = image.shape[:2]
    rows, columns = offsets(image, *(rng.uniform(-0.2, 1.2, 2) * (height, width)))
    distance = np.hypot(rows / height, columns / width)[..., None]
    return image * np.exp(severity * rng.uniform(1.2, 2.4, 3) * (0.4 - distance)), None


@operator(GRADIENT, "training")
def drifting_exposure(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Exposure and tint rise and fall over the image in a few long random waves."""
    rows, columns = offsets(image, 0, 0)
    drift = np.zeros(image.shape)
    for down, right in ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0)):
        wave = np.cos(np.pi * (down * rows / image.shape[0] + right * columns / image.shape[1] + rng.random()))
        drift += wave[..., None] * (rng.standard_normal() + 0.5 * rng.standard_normal(3))
    return image * np.exp(severity * (drift - drift.mean()) / abs(drift).max()), None


@operator(GRADIENT, "training")
def tone_from_side_to_side(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """On one side the middle tones are washed out, on the other they are sunk, while black and white stay."""
    ramp = _ramp(image, rng)
    return image ** np.exp(severity * 2.2 * np.tanh(2.5 * ramp)[..., None] * rng.uniform(0.45, 0.8, 3)), None


@operator(GRADIENT, "training")
def band_of_tinted_light(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A broad soft band across the image glows in one tint, and everything beside it grows darker."""
    angle = rng.uniform(0, np.pi)
    rows, columns = offsets(image, *(rng.uniform(0.25, 0.75, 2) * image.shape[:2]))
    across = (np.sin(angle) * rows / image.shape[0] + np.cos(angle) * columns / image.shape[1]) / rng.uniform(0.2, 0.4)
    band = np.exp(-(across**2))[..., None]
    tint = rng.permutation([1.0, rng.uniform(0.4, 1), rng.uniform(0.2, 0.6)])
    return 1 - (1 - image * (1 - 0.4 * severity * (1 - band))) * (1 - 0.6 * severity * band * tint), None


@operator(GRADIENT, "training")
def fade_and_tint_across(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Colors fade to gray toward one side, and take one cast toward the other."""
    ramp = _ramp(image, rng)
    faded, tinted = np.clip(0.2 - 2 * ramp, 0, 1)[..., None], np.clip(0.2 + 1.6 * ramp, 0, 1)[..., None]
    gray = np.broadcast_to(luminance(image)[..., None], image.shape)
    cast = rng.permutation([0.3, rng.uniform(-0.2, 0.2), -0.3])
    return image + severity * (faded * (gray - image) + tinted * cast * (0.3 + image)), None


def _course(image: NDArray, rng: np.random.Generator) -> NDArray:
    """A soft course from -1 to 1 over the image: straight, bowed, around a point, as a saddle, with or without
    a turning point."""
    rows, columns = offsets(image, *(rng.uniform(0.1, 0.9, 2) * image.shape[:2]))
    along, across = rotated(rows / image.shape[0], columns / image.shape[1], rng.uniform(0, 2 * np.pi))
    around = np.arctan2(across, along) / np.pi
    course = (
        along,
        along + rng.uniform(-1.2, 1.2) * across**2,
        np.hypot(along, rng.uniform(0.5, 1) * across) * rng.choice([-1, 1]),
        1 - 2 * abs(around),
        along * across * rng.choice([-1, 1]),
    )[rng.integers(5)]
    course = 2 * (course - course.min()) / np.ptp(course) - 1
    sharp, phase = rng.uniform(1.5, 3), rng.random()
    course = (
        course,
        np.tanh(sharp * course),
        np.cos(np.pi * (course + phase)),
        (0.5 + course / 2) ** sharp,
    )[rng.integers(4)]
    course = course - np.median(course)
    return np.tanh(course / course.std())


@operator(GRADIENT, "training")
def tint_runs_through_hues(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """From place to place the light has another hue: a stretch of the rainbow lies over the scene."""
    course, hue, stretch = _course(image, rng)[..., None], rng.uniform(0, 2 * np.pi), rng.uniform(0.8, 2.5)
    tint = np.cos(hue + stretch * course + np.array([0, 2.1, 4.2]) * rng.choice([-1, 1]))
    tint -= 0.7 * tint.mean((0, 1))
    return image * np.exp(0.6 * severity * tint), None


@operator(GRADIENT, "training")
def lights_and_shadows_drift_apart(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Bright tones change along one course over the image, dark tones along another, in brightness and in tint."""
    bright = np.clip((luminance(image) - 0.2) / 0.6, 0, 1)[..., None] ** rng.uniform(0.6, 1.6)
    light, shadow = (
        _course(image, rng)[..., None] * (rng.uniform(-0.3, 0.3) + rng.random() * rng.permutation([-0.3, 0.0, 0.3]))
        for _ in range(2)
    )
    return image + severity * 1.2 * (bright * light + (1 - bright) * shadow), None


@operator(GRADIENT, "training")
def patches_of_exposure(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A few points of the scene have each an exposure and tint, with soft courses between them."""
    rows, columns = offsets(image, 0, 0)
    rows, columns = rows / image.shape[0], columns / image.shape[1]
    points = rng.uniform(-0.1, 1.1, (rng.integers(3, 6), 2))
    near = np.stack([np.hypot(rows - row, columns - column) for row, column in points], -1)
    near = 1 / (0.05 + near ** rng.uniform(2, 3.5))
    stops = rng.permutation(np.linspace(-1, 1, len(points)))[:, None] * rng.uniform(0.2, 1.1)
    stops = stops + rng.uniform(-1, 1, (len(points), 3)) * rng.uniform(0.2, 0.8)
    field = near / near.sum(-1, keepdims=True) @ stops
    field -= field.mean((0, 1))
    return image * np.exp(rng.uniform(0.9, 1.3) * severity * field / abs(field).max()), None


@operator(GRADIENT, "training")
def exposure_follows_course(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Exposure, middle tones or black level, or something of each, rise and sink along a course over the image."""
    course = _course(image, rng)[..., None] * (1 + rng.uniform(0, 0.6) * rng.uniform(-1, 1, 3))
    shares = rng.dirichlet([0.5, 0.5, 0.5])
    ways = image * np.exp(1.2 * course), image ** np.exp(-course), image + 0.32 * course
    return image + severity * (sum(share * way for share, way in zip(shares, ways, strict=True)) - image), None


@operator(GRADIENT, "evaluation")
def colored_corners(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Veils of different tint lie over two opposite corners and fade toward the middle."""
    height, width = image.shape[:2]
    corner = rng.integers(0, 2, 2)
    changed = image
    tints = np.array([[1.0, 0.75, 0.45], [0.35, 0.6, 1.0]])[rng.permutation(2)]
    for tint, (row, column) in zip(tints, (corner, 1 - corner), strict=True):
        rows, columns = offsets(image, row * height, column * width)
        veil = np.clip(1 - np.hypot(rows / height, columns / width) / 1.05, 0, 1)[..., None]
        changed = changed + 0.85 * severity * veil * (tint - changed)
    return changed, None


@operator(DRAMATIC, "training")
def spotlight(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A bright ellipse, all else nearly black."""
    height, width = image.shape[:2]
    rows, columns = offsets(image, *(rng.uniform(0.35, 0.65, 2) * (height, width)))
    radii = rng.uniform(0.22, 0.34, 2)
    distance = np.hypot(rows / height / radii[0], columns / width / radii[1])
    lit = np.clip(1.6 - distance, 0, 1)[..., None]
    return image * (1 - 0.85 * severity * (1 - lit)) * (1 + 0.5 * severity * lit), None


@operator(DRAMATIC, "training")
def window_of_light(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Light falls through a window that is not there: a slanting bright shape with bars, the rest in the dark."""
    height, width = image.shape[:2]
    rows, columns = offsets(image, *(rng.uniform(0.35, 0.65, 2) * (height, width)))
    angle, slant = rng.uniform(-0.5, 0.5), rng.uniform(-0.6, 0.6)
    down, across = rotated(rows, columns, angle)
    across = across / (rng.uniform(0.2, 0.3) * width)
    down = down / (rng.uniform(0.25, 0.4) * height) + slant * across
    panes = np.minimum(abs(across), abs(down)) > 0.13
    lit = np.clip(6 * (1 - np.maximum(abs(across), abs(down))), 0, 1)[..., None] * panes[..., None]
    warm = np.array([1.0, rng.uniform(0.8, 1), rng.uniform(0.55, 0.9)])
    return image + severity * (lit * (0.2 * image + 0.3 * warm) - (1 - lit) * 0.75 * image), None


@operator(DRAMATIC, "training")
def single_out_object(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """One object is lit from one side while no light falls on anything around it."""
    mask = thing(image, rng)
    soft = blur(mask.astype(np.float32), 0.7 * unit(image))[..., None]
    angle = rng.uniform(0, 2 * np.pi)
    rows, columns = offsets(image, *ndimage.center_of_mass(mask))
    side = (np.sin(angle) * rows + np.cos(angle) * columns) / np.sqrt(mask.sum())
    lit = image * (0.3 + 1.3 * np.clip(0.5 + side, 0, 1))[..., None]
    night = image * np.array([0.14, 0.16, 0.24])
    return image + severity * (soft * lit + (1 - soft) * night - image), None


@operator(DRAMATIC, "training")
def dapple_with_light(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Pools of hard light lie scattered over a scene that is dark between them."""
    field = noise(image, rng.uniform(5, 8) * unit(image), rng)
    lit = np.clip(3 * (field - np.quantile(field, rng.uniform(0.6, 0.75))), 0, 1)[..., None]
    warm = np.array([1.0, rng.uniform(0.85, 1), rng.uniform(0.6, 0.9)])
    return image + severity * (lit * (0.4 * image + 0.25 * warm) - (1 - lit) * 0.72 * image), None


@operator(DRAMATIC, "training")
def two_colored_lamps(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Two lamps of different colors light a dark scene from opposite sides."""
    ramp = 2 * _ramp(image, rng)
    lamps = rng.permutation(np.array([[1.0, 0.45, 0.1], [0.15, 0.45, 1.0], [0.9, 0.1, 0.7], [0.1, 0.8, 0.6]]))[:2]
    light = sum(np.clip(0.1 + sign * ramp, 0, 1)[..., None] * lamp for sign, lamp in zip((1, -1), lamps, strict=True))
    return image + severity * (image * (0.2 + 2.2 * light) - image), None


@operator(DRAMATIC, "training")
def silhouette_before_glow(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """An object is black before surroundings that glow, brightest right behind it."""
    mask = thing(image, rng)
    soft = blur(mask.astype(np.float32), 0.6 * unit(image))[..., None]
    distance = distance_outside(image, mask)
    glow = np.exp(-distance / rng.uniform(5, 10))[..., None]
    warm = np.array([1.0, rng.uniform(0.6, 0.95), rng.uniform(0.3, 0.9)])
    behind = image * (0.5 + 0.6 * glow) + 0.45 * glow * warm
    return image + severity * (soft * 0.12 * image + (1 - soft) * behind - image), None


@operator(DRAMATIC, "training")
def fire_from_below(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A fire under the lower border: a ragged orange glow that dies away upward into the dark."""
    height, width = image.shape[:2]
    rows, columns = offsets(image, height, rng.uniform(0.2, 0.8) * width)
    ragged = 0.12 * noise(image, 5 * unit(image), rng)
    reach = np.hypot(rows / height, 0.6 * columns / width) / rng.uniform(0.5, 0.8) + ragged
    lit = np.clip(1.2 - reach, 0, 1)[..., None]
    warm = np.array([1.0, rng.uniform(0.45, 0.65), rng.uniform(0.1, 0.25)])
    return image + severity * (image * (0.15 + 1.6 * lit * warm) + 0.35 * lit**2 * warm - image), None


@operator(DRAMATIC, "training")
def raking_light(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Everything is lit as a relief from one side by a hard lamp, whose light no flat part of the scene receives."""
    height = blur(luminance(image), 0.8 * unit(image)) * 6 * unit(image)
    down, right = np.gradient(height)
    angle = rng.uniform(0, 2 * np.pi)
    toward = (np.sin(angle) * down + np.cos(angle) * right) / np.sqrt(1 + down**2 + right**2)
    lit = np.clip(1.8 * toward, 0, 1)[..., None]
    warm = np.array([1.0, rng.uniform(0.8, 1), rng.uniform(0.6, 1)])
    return image + severity * (0.22 * image + lit * (0.8 * image + 0.35 * warm) - image), None


@operator(DRAMATIC, "training")
def night_with_moon(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Night fell over a scene by day, and a pale disc that was not there hangs in it with a wide halo."""
    height, width = image.shape[:2]
    rows, columns = offsets(image, *(rng.uniform([0.08, 0.1], [0.4, 0.9]) * (height, width)))
    distance = np.hypot(rows, columns) / unit(image)
    radius = rng.uniform(1.8, 3.2)
    disc = np.clip(radius + 0.5 - distance, 0, 1)[..., None]
    halo = np.exp(-np.maximum(distance - radius, 0) / rng.uniform(3, 6))[..., None]
    pale, night = np.array([0.9, 0.95, 1.0]), np.array([0.2, 0.26, 0.42])
    scene = image * (night + 0.5 * halo) + 0.3 * halo * pale
    return image + severity * (scene + disc * (pale - scene) - image), None


def _staged(image: NDArray, lit: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Night, black or tinted, but where it is lit: by light of some color that falls on things or hangs in the air."""
    lamp = 1 - 0.85 * rng.random() ** 2 * rng.permutation([0.0, rng.random(), 1.0])
    night = rng.uniform(0.12, 0.32) * (1 - rng.uniform(0, 0.6) * rng.random(3))
    air = rng.uniform(0.05, 0.55)
    lit = lit if lit.ndim == 3 else lit[..., None] * lamp
    return image + severity * (image * (night + (1.35 - air) * lit) + air * lit - image), None


@operator(DRAMATIC, "training")
def lit_figure(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Light falls in the form of a star, a polygon, a flower, a ring or a crescent, and nothing else is lit."""
    size = min(image.shape[:2])
    rows, columns = offsets(image, *(rng.uniform(0.35, 0.65, 2) * image.shape[:2]))
    corners, turn, bend = rng.integers(2, 7), rng.uniform(0, 2 * np.pi), rng.uniform(-0.3, 0.35)
    squeeze, hole, radius = rng.uniform(0.7, 1), rng.uniform(-0.5, 0.7), rng.uniform(0.3, 0.48)
    soft, slip = rng.uniform(0.05, 0.2), rng.integers(2) * rng.uniform(0.1, 0.3)

    def figure(rows: NDArray, columns: NDArray, radius: float) -> NDArray:
        along, across = rotated(rows, columns, turn)
        angle = np.arctan2(across / squeeze, along)
        outline = radius * (1 + bend * (1 - 2 * abs(np.sin(corners * angle / 2))))
        return np.clip((outline - np.hypot(along, across / squeeze) / size) / soft + 0.5, 0, 1)

    gap = figure(rows + slip * size, columns, hole * radius) if hole > 0.25 else 0
    return _staged(image, figure(rows, columns, radius) * (1 - gap), severity, rng)


@operator(DRAMATIC, "training")
def lamps_in_the_air(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Glowing balls or tubes of any color hang in a dark scene and light what is near them."""
    size, light = min(image.shape[:2]), np.zeros(image.shape)
    longest, radius = rng.integers(2) * rng.uniform(0.05, 0.12), rng.uniform(0.02, 0.06)
    core, vivid = rng.uniform(0.3, 1.2) * rng.integers(2), rng.uniform(0, 1)
    lamps = rng.integers(1, 5)
    for _ in range(lamps):
        rows, columns = offsets(image, *(rng.uniform(0.15, 0.85, 2) * image.shape[:2]))
        along, across = (axis / size for axis in rotated(rows, columns, rng.uniform(0, np.pi)))
        distance = np.hypot(np.maximum(abs(along) - longest, 0), across)
        lamp = 1 - vivid * rng.permutation([0.0, rng.random(), 1.0])
        glow = 1 / (1 + (distance / rng.uniform(0.1, 0.22)) ** 2) ** 1.5
        light += (glow + core * np.clip((radius - distance) * size + 0.5, 0, 1))[..., None] * lamp
    return _staged(image, light / lamps**0.5, severity, rng)


@operator(DRAMATIC, "training")
def day_ends_at_a_line(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Full light on one side of a line through the air, straight, bent or stepped, and night on the other."""
    size = min(image.shape[:2])
    rows, columns = offsets(image, *(rng.uniform(0.35, 0.65, 2) * image.shape[:2]))
    along, across = (axis / size for axis in rotated(rows, columns, rng.uniform(0, 2 * np.pi)))
    line = (
        0 * along,
        rng.uniform(-1.5, 1.5) * along**2,
        rng.uniform(0.08, 0.2) * np.sin(2 * np.pi * (rng.uniform(0.8, 2) * along + rng.random())),
        rng.uniform(-1.5, -0.3) * abs(along),
        rng.uniform(0.1, 0.3) * np.sign(along),
    )[rng.integers(5)]
    lit = np.clip((across - line) / rng.uniform(0.03, 0.2) + 0.5, 0, 1) * rng.uniform(0.7, 1.1)
    return _staged(image, lit, severity, rng)


@operator(DRAMATIC, "evaluation")
def light_shafts(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Beams fan out from a point above the image over a darkened scene."""
    height, width = image.shape[:2]
    rows, columns = offsets(image, -0.25 * height, rng.uniform(-0.1, 1.1) * width)
    angle = np.arctan2(rows, columns)
    beams = np.clip(1.4 * np.sin(rng.uniform(10, 16) * angle + rng.uniform(0, 2 * np.pi)) - 0.2, 0, 1)[..., None]
    warm = np.array([1.0, 0.93, 0.75])
    dark = image * (1 - 0.65 * severity)
    return dark + severity * beams * (0.45 * image + 0.35 * warm), None
