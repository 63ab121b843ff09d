"""Artifacts of light: highlights, gloss, glow, and lighting without a cause."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .places import blur, luminance, noise, offsets, region, signed_distance, thing, unit
from .registry import Changed, operator


HIGHLIGHTS = "Unrealistic specular highlights"
GLOSSY = "Unnaturally glossy surfaces"
GLOW = "Glow or light bleed around object boundaries"
GRADIENT = "Unnatural Lighting Gradients"
DRAMATIC = "Dramatic lighting that defies natural physics"


def _spots(image: NDArray, rng: np.random.Generator) -> NDArray | None:
    """Places for one to three highlights near each other, on what is not white already; `None` if there is none."""
    weight = region(-blur(luminance(image), unit(image)), rng, -0.7, size=(0.15, 0.25))
    if weight is None:
        return None
    points = np.argwhere(weight > 0)
    return points[(rng.random(rng.integers(1, 4)) * len(points)).astype(int)]


@operator(HIGHLIGHTS, "training")
def hot_spots(image: NDArray, severity: float, rng: np.random.Generator) -> Changed | None:
    """Small white ellipses with a soft rim."""
    spots = _spots(image, rng)
    if spots is None:
        return None
    light = np.zeros(image.shape[:2])
    for spot in spots:
        radii, angle = rng.uniform(0.8, 2.0, 2) * unit(image), rng.uniform(0, np.pi)
        rows, columns = offsets(image, *spot)
        along = (np.cos(angle) * rows + np.sin(angle) * columns) / radii[0]
        across = (np.cos(angle) * columns - np.sin(angle) * rows) / radii[1]
        light = np.maximum(light, np.clip(1.5 - np.hypot(along, across) / 1.3, 0, 1))
    return np.ones_like(image), light * (0.2 + 0.8 * severity)


@operator(HIGHLIGHTS, "evaluation")
def glints(image: NDArray, severity: float, rng: np.random.Generator) -> Changed | None:
    """Points of light with four tapering rays."""
    spots = _spots(image, rng)
    if spots is None:
        return None
    light = np.zeros(image.shape[:2])
    for spot in spots:
        length, angle = rng.uniform(3, 5) * unit(image), rng.uniform(-0.4, 0.4)
        rows, columns = offsets(image, *spot)
        along = abs(np.cos(angle) * rows + np.sin(angle) * columns) / unit(image)
        across = abs(np.cos(angle) * columns - np.sin(angle) * rows) / unit(image)
        for far, near in ((along, across), (across, along)):
            ray = np.clip(1 - far * unit(image) / length, 0, 1)
            light = np.maximum(light, ray * np.clip(1.2 - near / (0.3 + ray), 0, 1))
    return np.ones_like(image), np.minimum(1.4 * light, 1) * (0.2 + 0.8 * severity)


@operator(GLOSSY, "training")
def broad_sheen(image: NDArray, severity: float, rng: np.random.Generator) -> Changed | None:
    """A white band follows the form of a surface, whose own contrast rises."""
    mask = thing(image, rng)
    if mask is None:
        return None
    depth = -signed_distance(blur(mask.astype(float), unit(image)) > 0.5)
    depth = np.maximum(depth, 0) / max(depth.max(), 1e-6)
    # A form lit from one side: the light lies where the depth of the form grows toward the lamp.
    slope_rows, slope_columns = np.gradient(blur(np.sqrt(depth), 1.5 * unit(image)))
    angle = rng.uniform(-2.4, -0.7)  # from above
    facing = -(slope_rows * np.sin(angle) + slope_columns * np.cos(angle))
    facing = facing / max(abs(facing[mask]).max(), 1e-6)
    smooth = image + min(1, 2 * severity) * (blur(image, 0.8 * unit(image)) - image)
    polished = smooth + severity * 0.5 * (smooth - smooth[mask].mean(0))
    sheen = np.clip(1.6 * facing - 0.4, 0, 1)[..., None]
    shade = np.clip(-facing, 0, 1)[..., None]
    return polished + severity * (0.95 * sheen * (1 - polished) - 0.35 * shade * polished), mask.astype(float)


@operator(GLOSSY, "evaluation")
def reflected_horizon(image: NDArray, severity: float, rng: np.random.Generator) -> Changed | None:
    """A surface mirrors a bright sky above a dark ground, as lacquer does, with a wavy line between."""
    mask = thing(image, rng)
    if mask is None:
        return None
    rows, columns = np.nonzero(mask)
    low, high = rows.min(), rows.max() + 1
    level = (offsets(image, low, 0)[0] + noise(image, 6 * unit(image), rng) * 0.8 * unit(image)) / (high - low)
    line = rng.uniform(0.35, 0.6)
    sky = np.clip(level / line, 0, 1) ** 2
    ground = np.clip((level - line) / (1 - line), 0, 1)
    reflection = np.where(level < line, 0.45 + 0.55 * sky, 0.1 + 0.4 * ground)
    changed = blur(image, 0.8 * unit(image)) + 1.1 * (reflection[..., None] - 0.5)
    return np.clip(changed, 0, 1), mask * (0.15 + 0.75 * severity)


@operator(GLOW, "training")
def halo(image: NDArray, severity: float, rng: np.random.Generator) -> Changed | None:
    """A luminous rim that fades outward from an object."""
    mask = thing(image, rng)
    if mask is None:
        return None
    width = rng.uniform(2.5, 4.5) * unit(image)
    rim = np.clip(1.2 - ndimage.distance_transform_edt(~mask) / width, 0, 1) * ~mask
    tint = np.array([1, rng.uniform(0.85, 1), rng.uniform(0.6, 1)])
    return np.broadcast_to(tint, image.shape), rim * (0.15 + 0.7 * severity)


@operator(GLOW, "evaluation")
def bloom_over_edges(image: NDArray, severity: float, rng: np.random.Generator) -> Changed | None:
    """Light that is scattered from the outline to both sides and added on a screen."""
    mask = thing(image, rng)
    if mask is None:
        return None
    line = (ndimage.binary_dilation(mask) & ~ndimage.binary_erosion(mask)).astype(float)
    scattered = blur(line, rng.uniform(1.0, 1.8) * unit(image))
    scattered = np.clip(scattered / scattered.max(), 0, 1)[..., None]
    color = 0.75 + 0.25 * blur(image, 3 * unit(image))
    screened = 1 - (1 - image) * (1 - (0.15 + 0.8 * severity) * scattered * color)
    return screened, (scattered[..., 0] > 0.12).astype(float)


@operator(GRADIENT, "training", is_global=True)
def linear_gradient(image: NDArray, severity: float, rng: np.random.Generator) -> Changed | None:
    """Exposure rises steadily from one side of the image to the other, in some colors more than in others."""
    speed = rng.uniform(1.2, 2.4, 3)
    angle = rng.uniform(0, 2 * np.pi)
    rows, columns = offsets(image, (image.shape[0] - 1) / 2, (image.shape[1] - 1) / 2)
    ramp = np.sin(angle) * rows / image.shape[0] + np.cos(angle) * columns / image.shape[1]
    return image * np.exp(severity * ramp[..., None] * speed), None


@operator(GRADIENT, "evaluation", is_global=True)
def colored_corners(image: NDArray, severity: float, rng: np.random.Generator) -> Changed | None:
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


@operator(DRAMATIC, "training", is_global=True)
def spotlight(image: NDArray, severity: float, rng: np.random.Generator) -> Changed | None:
    """A bright ellipse, all else nearly black."""
    height, width = image.shape[:2]
    rows, columns = offsets(image, *(rng.uniform(0.35, 0.65, 2) * (height, width)))
    radii = rng.uniform(0.22, 0.34, 2)
    distance = np.hypot(rows / height / radii[0], columns / width / radii[1])
    lit = np.clip(1.6 - distance, 0, 1)[..., None]
    return image * (1 - 0.85 * severity * (1 - lit)) * (1 + 0.5 * severity * lit), None


@operator(DRAMATIC, "training", is_global=True)
def cone_from_border(image: NDArray, severity: float, rng: np.random.Generator) -> Changed | None:
    """A single cone of light falls from a point on the border toward the middle of a scene without other light."""
    middle = (np.array(image.shape[:2]) - 1) / 2
    away = rng.uniform(0, 2 * np.pi)
    source = middle * (1 + 1.2 * np.array([np.sin(away), np.cos(away)]))
    rows, columns = offsets(image, *source)
    turned = np.arctan2(rows, columns) - np.arctan2(*(middle - source)) + rng.uniform(-0.25, 0.25)
    turned = abs((turned + np.pi) % (2 * np.pi) - np.pi)
    cone = np.clip(3 - 2 * turned / rng.uniform(0.2, 0.35), 0, 1)[..., None]
    lit = 0.9 * image + 0.25 * np.array([1.0, 0.95, 0.8])
    return image + severity * (cone * lit + (1 - cone) * 0.2 * image - image), None


@operator(DRAMATIC, "evaluation", is_global=True)
def light_shafts(image: NDArray, severity: float, rng: np.random.Generator) -> Changed | None:
    """Beams fan out from a point above the image over a darkened scene."""
    height, width = image.shape[:2]
    rows, columns = offsets(image, -0.25 * height, rng.uniform(-0.1, 1.1) * width)
    angle = np.arctan2(rows, columns)
    beams = np.clip(1.4 * np.sin(rng.uniform(10, 16) * angle + rng.uniform(0, 2 * np.pi)) - 0.2, 0, 1)[..., None]
    warm = np.array([1.0, 0.93, 0.75])
    dark = image * (1 - 0.65 * severity)
    return dark + severity * beams * (0.45 * image + 0.35 * warm), None
