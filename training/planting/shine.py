"""Artifacts of shine: highlights, gloss, and glow around objects."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.distance import cdist

from .places import (
    NoPlace,
    blur,
    detail,
    distance_outside,
    edges,
    luminance,
    noise,
    offsets,
    one_of,
    region,
    rotated,
    sample,
    signed_distance,
    some_of,
    spread,
    thing,
    unit,
)
from .registry import Changed, operator


HIGHLIGHTS = "Unrealistic specular highlights"
GLOSSY = "Unnaturally glossy surfaces"
GLOW = "Glow or light bleed around object boundaries"


def _turned(rows: NDArray, columns: NDArray, toward: float) -> NDArray:
    """By which angle in [-pi, pi) each place lies aside from a direction."""
    return (np.arctan2(rows, columns) - toward + np.pi) % (2 * np.pi) - np.pi


def _lamp(rng: np.random.Generator, colorful: float = 0.35) -> NDArray:
    """Color of a light: mostly white, at times tinted, or with `colorful` 1 at times saturated."""
    color = 1 - colorful * rng.random() ** 2 * rng.uniform(0, 1, 3)
    return color / color.max()


def _spots(image: NDArray, rng: np.random.Generator) -> NDArray:
    """Places for one to three highlights near each other, on what is not white already."""
    weight = region(-blur(luminance(image), unit(image)), rng, -0.7, size=(0.15, 0.25))
    points = np.argwhere(weight > 0)
    return some_of(points, rng, rng.integers(1, 4))


def _white_at(image: NDArray, spots: NDArray, severity: float, form: Callable[[NDArray, NDArray], NDArray]) -> Changed:
    """White of a form, which gives its weight by rows and columns from a spot."""
    light = np.zeros(image.shape[:2])
    for spot in spots:
        light = np.maximum(light, form(*offsets(image, *spot)))
    return np.ones_like(image), light * (0.2 + 0.8 * severity)


@operator(HIGHLIGHTS, "training")
def hot_spots(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Small white ellipses with a soft rim."""
    spots = _spots(image, rng)

    def ellipse(rows: NDArray, columns: NDArray) -> NDArray:
        radii, angle = rng.uniform(0.8, 2.0, 2) * unit(image), rng.uniform(0, np.pi)
        along, across = rotated(rows, columns, angle)
        return np.clip(1.5 - np.hypot(along / radii[0], across / radii[1]) / 1.3, 0, 1)

    return _white_at(image, spots, severity, ellipse)


@operator(HIGHLIGHTS, "training")
def sparks(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A swarm of tiny white points, as if the place were wet."""
    spots = _spots(image, rng)
    count = 8
    points = np.repeat(spots, count, axis=0) + rng.normal(0, 3, (count * len(spots), 2)) * unit(image)
    pixels = np.stack(offsets(image, 0, 0), axis=-1).reshape(-1, 2)
    radii = rng.uniform(0.6, 1.0, len(points)) * unit(image)
    light = np.clip(1.5 - cdist(pixels, points) / radii, 0, 1).max(axis=1)
    return np.ones_like(image), light.reshape(image.shape[:2]) * (0.2 + 0.8 * severity)


@operator(HIGHLIGHTS, "training")
def crescents(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Bright arcs, as of lamps on a ball that is not there."""
    spots = _spots(image, rng)
    toward = rng.uniform(0, 2 * np.pi)

    def crescent(rows: NDArray, columns: NDArray) -> NDArray:
        radius, length = rng.uniform(2.2, 4) * unit(image), rng.uniform(0.8, 1.3)
        turned = _turned(rows, columns, toward)
        # Thick in the middle, tapering to both ends.
        width = 1.3 * np.clip(1 - (turned / length) ** 2, 0, 1)
        across = abs(np.hypot(rows, columns) - radius) / unit(image)
        return np.clip(1.5 * (width - across), 0, 1)

    return _white_at(image, spots, severity, crescent)


@operator(HIGHLIGHTS, "training")
def glistening_relief(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """What stands out brightest from its surroundings glistens in white, as on wet stones."""
    weight = region(detail(image), rng, at_least=0.03, size=(0.2, 0.35))
    luma = luminance(image)
    relief = luma - blur(luma, 2 * unit(image))
    low, high = np.quantile(relief[weight > 0], [0.84, 0.94])
    light = np.clip((relief - low) / (high - low + 0.01), 0, 1)
    return np.ones_like(image), light * np.minimum(2 * weight, 1) * (0.2 + 0.8 * severity)


@operator(HIGHLIGHTS, "training")
def slats_of_light(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Three bright bars beside each other, as of a window with a blind."""
    spots = _spots(image, rng)

    def slats(rows: NDArray, columns: NDArray) -> NDArray:
        half, angle = rng.uniform(1.5, 2.8), rng.uniform(0, np.pi)
        along, across = rotated(rows / unit(image), columns / unit(image), angle)
        bars = np.clip(0.5 + np.cos(np.pi * across), 0, 1) * (abs(across) < 2.8)
        return bars * np.clip(half + 0.5 - abs(along), 0, 1)

    return _white_at(image, spots, severity, slats)


@operator(HIGHLIGHTS, "training")
def rings_of_light(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Bright rings, as of the lamp around a camera's lens."""
    spots = _spots(image, rng)

    def ring(rows: NDArray, columns: NDArray) -> NDArray:
        distance = np.hypot(rows / unit(image), columns / unit(image))
        return np.clip(1.5 - abs(distance - rng.uniform(1.6, 3.2)) / 0.7, 0, 1)

    return _white_at(image, spots, severity, ring)


@operator(HIGHLIGHTS, "training")
def shapeless_hot_spots(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """White blots, worms or splinters without any lamp's form, hard or soft, alone or by the dozen."""
    weight = region(-blur(luminance(image), unit(image)), rng, -0.7, size=(0.2, 0.4))
    rows, columns = offsets(image, 0, 0)
    along, across = rotated(rows, columns, rng.uniform(0, np.pi))
    grain, longer = rng.uniform(1.5, 5) * unit(image), rng.choice([1.0, 2.0, 4.0])
    field = blur(rng.standard_normal((96, 96)), 2)
    field = sample(field / field.std(), 4 * along / grain / longer + 48, 4 * across / grain + 48)
    field = -abs(field) if rng.random() < 0.4 else field
    inside = weight > 0.3
    low, high = np.quantile(field[inside], [(cut := rng.uniform(0.65, 0.85)), cut + rng.uniform(0.03, 0.13)])
    light = np.clip((field - low) / (high - low + 1e-6), 0, 1) * np.clip(4 * weight, 0, 1)
    return np.broadcast_to(0.5 + 0.5 * _lamp(rng), image.shape), light * (0.2 + 0.8 * severity)


@operator(HIGHLIGHTS, "training")
def shine_where_it_is_dark(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """White lights sit in hollows, on shaded flanks or on edges that face away from the light."""
    smooth = blur(luminance(image), rng.uniform(0.4, 1) * unit(image))
    weight = region(edges(image) * (smooth < 0.7), rng, 0.03, size=(0.2, 0.4))
    down, right = np.gradient(smooth)
    angle = rng.uniform(0, 2 * np.pi)
    flank = np.sin(angle) * down + np.cos(angle) * right
    hollow = blur(smooth, rng.uniform(1.5, 3) * unit(image)) - smooth
    shares = rng.dirichlet([0.4] * 3)
    forms = hollow, flank, np.hypot(down, right) * noise(image, 3 * unit(image), rng)
    field = sum(share * form / (form.std() + 1e-6) for share, form in zip(shares, forms, strict=True))
    cut = rng.uniform(0.75, 0.88)
    low, high = np.quantile(field[weight > 0.2], [cut, cut + 0.1])
    light = np.clip((field - low) / (high - low + 1e-6), 0, 1) * np.clip(3 * weight, 0, 1)
    return np.broadcast_to(0.5 + 0.5 * _lamp(rng), image.shape), light * (0.2 + 0.8 * severity)


@operator(HIGHLIGHTS, "evaluation")
def glints(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Points of light with four tapering rays."""
    spots = _spots(image, rng)

    def star(rows: NDArray, columns: NDArray) -> NDArray:
        length, angle = rng.uniform(3, 5) * unit(image), rng.uniform(-0.4, 0.4)
        along, across = (abs(offset) / unit(image) for offset in rotated(rows, columns, angle))
        rays = []
        for far, near in ((along, across), (across, along)):
            ray = np.clip(1 - far * unit(image) / length, 0, 1)
            rays.append(ray * np.clip(1.2 - near / (0.3 + ray), 0, 1))
        return np.minimum(1.4 * np.maximum(*rays), 1)

    return _white_at(image, spots, severity, star)


@operator(GLOSSY, "training")
def broad_sheen(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A white band follows the form of a surface, whose own contrast rises."""
    mask = thing(image, rng)
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


@operator(GLOSSY, "training")
def burn_out_lights(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """The lights of a surface's own relief swell to white spots with hard rims, the rest deepens."""
    mask = thing(image, rng)
    smooth = blur(image, unit(image))
    relief = luminance(smooth) - luminance(blur(image, 5 * unit(image)))
    low, high = np.quantile(relief[mask], [0.72, 0.86])
    shine = np.clip((relief - low) / (high - low + 0.01), 0, 1)[..., None]
    deep = np.clip(smooth + 0.5 * (smooth - smooth[mask].mean(0)), 0, 1) ** 1.3
    return deep + 0.95 * shine * (1 - deep), mask * severity


@operator(GLOSSY, "training")
def reflected_tubes(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Narrow lines of light, one inside the other, run along one side of the outline."""
    mask = thing(image, rng)
    depth = -blur(signed_distance(mask), unit(image))
    deepest = max(depth.max(), 1e-6)
    rows, columns = offsets(image, *ndimage.center_of_mass(mask))
    turned = _turned(rows, columns, rng.uniform(0, 2 * np.pi))
    facing = np.clip(3 - 2 * abs(turned) / rng.uniform(0.8, 1.2), 0, 1)
    lines = np.zeros(mask.shape)
    for level, width in zip(rng.uniform(0.2, 0.3) + np.array([0, 0.35]), (1.3, 0.8), strict=True):
        lines = np.maximum(lines, np.clip(1.5 * (width - abs(depth - level * deepest) / unit(image)), 0, 1))
    shine = (lines * facing)[..., None]
    smooth = blur(image, 0.8 * unit(image))
    return smooth + 0.95 * shine * (1 - smooth), mask * severity


@operator(GLOSSY, "training")
def bend_tones_like_chrome(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A surface's tones rise and fall twice from dark to bright, as those of polished metal do."""
    mask = thing(image, rng)
    luma = luminance(blur(image, 0.8 * unit(image)))
    low, high = np.quantile(luma[mask], [0.05, 0.95])
    tone = 0.5 + 0.5 * np.sin(2 * np.pi * (1.5 * (luma - low) / (high - low + 0.03) + rng.random()))
    return (0.2 + 0.8 * tone)[..., None] * (0.7 + 0.3 * image), mask * 0.9 * severity


@operator(GLOSSY, "training")
def mirror_window(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A window with a cross bar is mirrored, curved, in one part of a surface."""
    mask = thing(image, rng)
    depth = ndimage.distance_transform_edt(mask)
    points = np.argwhere(depth >= 0.6 * depth.max())
    rows, columns = offsets(image, *one_of(points, rng))
    size = np.clip(0.9 * depth.max(), 2.2 * unit(image), 5 * unit(image)) * rng.uniform(0.8, 1.2, 2)
    bend = rng.uniform(-0.5, 0.5)
    down, right = rows / size[0], columns / size[1]
    down, right = down + bend * right**2, right + bend * down**2
    panes = (np.maximum(abs(down), abs(right)) < 1) & (np.minimum(abs(down), abs(right)) > 0.16)
    shine = blur(panes.astype(float), 0.4 * unit(image))[..., None]
    smooth = blur(image, 0.8 * unit(image))
    return smooth + 0.9 * shine * (1 - smooth), mask * severity


@operator(GLOSSY, "training")
def bright_at_grazing_angle(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A surface grows brighter toward its outline, as lacquer does where it turns away (Fresnel's law)."""
    mask = thing(image, rng)
    depth = -blur(signed_distance(mask), unit(image))
    slope = np.clip(1 - depth / max(0.8 * depth.max(), 1e-6), 0, 1)[..., None]
    smooth = blur(image, 0.8 * unit(image))
    dark = smooth * (0.75 + 0.25 * slope)
    cool = np.array([rng.uniform(0.8, 1), rng.uniform(0.9, 1), 1.0])
    return dark + 0.9 * slope**1.4 * (cool - dark), mask * severity


@operator(GLOSSY, "training")
def reflected_softbox(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """An oblique bar of light with hard rims lies across a surface, and a thin one beside it."""
    mask = thing(image, rng)
    angle = rng.uniform(0.2, np.pi - 0.2)
    rows, columns = offsets(image, *ndimage.center_of_mass(mask))
    across = rows * np.cos(angle) - columns * np.sin(angle)
    extent = np.ptp(across[mask])
    place = across / extent - rng.uniform(-0.25, 0.1)
    bars = (abs(place) < rng.uniform(0.07, 0.13)) | (abs(place - rng.uniform(0.2, 0.26)) < 0.03)
    shine = blur(bars.astype(float), 0.3 * unit(image))[..., None]
    smooth = blur(image, 0.8 * unit(image))
    deep = smooth + 0.3 * (smooth - smooth[mask].mean(0))
    return deep + 0.85 * shine * (1 - deep), mask * severity


@operator(GLOSSY, "training")
def mirror_like_a_ball(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A surface shows the whole picture upside down, ever more of it toward its rim, as a polished ball does."""
    mask = thing(image, rng)
    height, width = image.shape[:2]
    radius = np.sqrt(mask.sum() / np.pi)
    rows, columns = (offset / radius for offset in offsets(image, *ndimage.center_of_mass(mask)))
    distance = np.hypot(rows, columns)
    reach = 0.35 / np.sqrt(1 - np.minimum(distance, 0.85) ** 2)
    soft = blur(image, 0.7 * unit(image))  # what is seen smaller would flicker
    mirrored = sample(soft, height / 2 - 0.5 - height * reach * rows, width / 2 - 0.5 - width * reach * columns)
    rim = np.clip(1.25 - 0.5 * distance, 0.6, 1.25)[..., None]
    return 0.25 * blur(image, unit(image)) + 0.85 * rim * mirrored, mask * 0.9 * severity**0.5


@operator(GLOSSY, "training")
def wet_film(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A wet surface: its colors are deep, and threads of light follow the curves of its own relief."""
    mask = thing(image, rng)
    luma = luminance(blur(image, 0.9 * unit(image)))
    low, high = np.quantile(luma[mask], [0.05, 0.95])
    level = (luma - low) / (high - low + 0.03) + 0.15 * noise(image, 4 * unit(image), rng)
    threads = np.exp(-(((level % 0.5 - 0.25) / 0.06) ** 2))[..., None]
    deep = blur(image, 0.6 * unit(image)) ** 1.7
    return deep + 0.85 * threads * (1 - deep), mask * severity


def _slopes(image: NDArray, mask: NDArray, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    """Slopes, with mean square 1 on a surface, of a relief mixed from its outline, its own tones, bumps and folds."""
    scale = unit(image)
    rows, columns = offsets(image, 0, 0)
    along, _ = rotated(rows, columns, rng.uniform(0, np.pi))
    bumps = noise(image, rng.uniform(5, 9) * scale, rng)
    folds = np.sin(2 * np.pi * along / (rng.uniform(7, 13) * scale) + 1.5 * bumps)
    forms = np.sqrt(np.maximum(-signed_distance(mask), 0)), blur(luminance(image), scale), bumps, folds
    shares = rng.dirichlet([0.5] * 4)
    height = sum(share * form / (form[mask].std() + 0.01) for share, form in zip(shares, forms, strict=True))
    down, right = np.gradient(blur(height, 1.2 * scale))
    steepness = np.sqrt((down**2 + right**2)[mask].mean()) + 1e-6
    return down / steepness, right / steepness


def _polished(image: NDArray, mask: NDArray, rng: np.random.Generator) -> NDArray:
    """The image smoothed, and deepened in tone as varnish does; never so bright that no light shows on it."""
    smooth = blur(image, rng.uniform(0.4, 1) * unit(image))
    deep = smooth + rng.uniform(0, 0.5) * (smooth - smooth[mask].mean(0))
    deep = np.clip(deep, 0, 1) ** rng.uniform(1, 1.6)
    return deep * min(1, 0.65 / max(deep[mask].mean(), 0.1))


@operator(GLOSSY, "training")
def lacquer_under_lamps(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """One to three lamps shine back from wherever the relief of a lacquered surface faces them."""
    mask = thing(image, rng)
    down, right = _slopes(image, mask, rng)
    facing = some_of(np.argwhere(mask), rng, rng.integers(1, 4))
    changed, hard = _polished(image, mask, rng), rng.uniform(1, 2.5)
    for row, column in facing:
        away = np.hypot(down - down[row, column], right - right[row, column])
        away = away / (np.quantile(away[mask], rng.uniform(0.08, 0.35)) + 0.05)
        lobe = np.clip(hard * np.exp(-(away**2)), 0, 1)[..., None]
        changed = changed + 0.9 * lobe * (_lamp(rng) - changed)
    return changed, mask * severity


@operator(GLOSSY, "training")
def mirror_a_room(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """The relief of a surface mirrors a row of windows or the picture itself."""
    mask = thing(image, rng)
    down, right = _slopes(image, mask, rng)
    up, aside = rotated(down, right, rng.normal(0, 0.4))
    if rng.random() < 0.5:
        reach = 0.3 * np.array(image.shape[:2])
        seen = sample(blur(image, unit(image)), (1.7 + up) * reach[0], (1.7 + aside) * reach[1])
        seen = 0.5 + 1.3 * (seen - seen[mask].mean(0))
    else:
        panes = np.clip(0.5 + 2 * np.sin(rng.uniform(2, 4) * aside + rng.uniform(0, 6)), 0, 1)
        seen = (panes * np.exp(-((up / rng.uniform(0.6, 1.2)) ** 2)))[..., None] * _lamp(rng)
    seen = seen / max(np.quantile(luminance(seen)[mask], 0.9), 0.2)
    body, mirror = _polished(image, mask, rng), rng.uniform(0.5, 0.8)
    added = body * (1 - 0.3 * mirror) + mirror * seen
    return (added if rng.random() < 0.5 else body + mirror * (0.15 + seen - body)), mask * severity


@operator(GLOSSY, "training")
def greasy_sheen(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Greasy patches with a soft veil and a hard white core, smooth or with a peel like an orange's."""
    mask = thing(image, rng)
    scale = unit(image)
    rows, columns = offsets(image, *ndimage.center_of_mass(mask))
    side, _ = rotated(rows, columns, rng.uniform(0, 2 * np.pi))
    depth = np.minimum(-signed_distance(mask), rng.uniform(2, 6) * scale)
    tone = blur(luminance(image), rng.uniform(1, 2.5) * scale)
    fields = side, depth, tone, noise(image, rng.uniform(4, 8) * scale, rng)
    shares = rng.dirichlet([0.6] * 4)
    field = sum(share * part / (part[mask].std() + 0.01) for share, part in zip(shares, fields, strict=True))
    field += rng.choice([0.0, 0.15, 0.3]) * noise(image, rng.uniform(1, 2) * scale, rng)
    low, core, high = np.quantile(field[mask], [rng.uniform(0.3, 0.6), rng.uniform(0.75, 0.9), 0.97])
    veil = np.clip((field - low) / (high - low + 1e-6), 0, 1) ** rng.uniform(0.8, 2)
    shine = rng.uniform(0.3, 0.6) * veil + 0.6 * np.clip((field - core) / (0.4 * (high - core) + 1e-6), 0, 1)
    body = _polished(image, mask, rng)
    return body + np.clip(shine, 0, 0.95)[..., None] * (_lamp(rng) - body), mask * severity


@operator(GLOSSY, "training")
def shine_like_satin(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Shining bands lie across a surface, straight, in arcs or in folds, often frayed as on satin or brushed metal."""
    mask = thing(image, rng)
    scale = unit(image)
    rows, columns = offsets(image, *ndimage.center_of_mass(mask))
    across, along = rotated(rows, columns, rng.uniform(0, np.pi))
    extent = np.ptp(across[mask]) + scale
    bend = rng.choice([0.0, rng.uniform(-1.2, 1.2), 0.0]) * along**2 / extent
    wave = rng.choice([0.0, 1.0]) * 2 * scale * noise(image, 7 * scale, rng)
    # The ends of the fibers are frayed: each fiber is shifted by its own length.
    fibers = np.interp(along / scale, np.arange(-64, 64, 1.3), rng.standard_normal(99))
    place = across + bend + wave + rng.uniform(0, 1.2) * scale * fibers
    phase = place / max(extent / rng.integers(1, 4), rng.uniform(5, 8) * scale) + rng.random()
    bands = np.clip(np.cos(2 * np.pi * phase), 0, 1) ** rng.uniform(1, 4)
    body = _polished(image, mask, rng)
    shade = 1 - rng.uniform(0, 0.5) * np.clip(-np.cos(2 * np.pi * phase), 0, 1)[..., None]
    sheen = 0.9 * bands[..., None] * _lamp(rng)
    return 1 - (1 - body * shade) * (1 - sheen), mask * severity


@operator(GLOSSY, "training")
def wrap_in_foil(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A surface looks wrapped in clear foil: flat facets, each with its own glare, or creases that glint."""
    mask = thing(image, rng)
    scale = unit(image)
    rows, columns = offsets(image, 0, 0)
    centers = some_of(np.argwhere(mask), rng, rng.integers(5, 13))
    turned = rng.uniform(0, np.pi)
    longer = rng.uniform(1, 3)
    shift = rng.uniform(0, 1.5) * scale * noise(image, 5 * scale, rng)
    folded = np.stack(rotated(rows + shift, longer * columns, turned), axis=-1)
    away = [np.linalg.norm(folded - folded[row, column], axis=-1) for row, column in centers]
    nearest, second = np.sort(away, axis=0)[:2]
    facet = np.argmin(away, axis=0)
    tilt, middle = rng.uniform(-1, 1, (len(centers), 3))[facet], centers[facet]
    glare = tilt[..., 0] + (tilt[..., 1:] * (np.stack([rows, columns], -1) - middle)).sum(-1) / (8 * scale)
    low, high = np.quantile(glare[mask], [rng.uniform(0.4, 0.7), 0.95])
    glare = np.clip((glare - low) / (high - low + 1e-6), 0, 1)
    creases = np.clip(1.4 - (second - nearest) / (rng.uniform(0.6, 1.4) * scale), 0, 1)
    broken = creases * np.clip(0.7 + 0.7 * noise(image, 4 * scale, rng), 0, 1)
    share = rng.uniform(0.2, 1)
    shine = blur(np.maximum(share * glare, (1.2 - share) * broken), 0.3 * scale)[..., None]
    return 1 - (1 - _polished(image, mask, rng)) * (1 - 0.95 * np.clip(shine, 0, 1) * _lamp(rng)), mask * severity


@operator(GLOSSY, "evaluation")
def reflected_horizon(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A surface mirrors a bright sky above a dark ground, as lacquer does, with a wavy line between."""
    mask = thing(image, rng)
    rows, columns = np.nonzero(mask)
    low, high = rows.min(), rows.max() + 1
    level = (offsets(image, low, 0)[0] + noise(image, 6 * unit(image), rng) * 0.8 * unit(image)) / (high - low)
    line = rng.uniform(0.35, 0.6)
    sky = np.clip(level / line, 0, 1) ** 2
    ground = np.clip((level - line) / (1 - line), 0, 1)
    reflection = np.where(level < line, 0.45 + 0.55 * sky, 0.1 + 0.4 * ground)
    changed = blur(image, 0.8 * unit(image)) + 1.1 * (reflection[..., None] - 0.5)
    return np.clip(changed, 0, 1), mask * (0.15 + 0.75 * severity)


def _brighter_side(image: NDArray, mask: NDArray) -> NDArray:
    """An object, or what is around it."""
    luma = luminance(image)
    return mask if luma[mask].mean() > luma[~mask].mean() else ~mask


def _own_light(image: NDArray, mask: NDArray, sigma: float) -> NDArray:
    """Light of an object's own color, also around it, blurred by so many units, and as bright as may be."""
    color = blur(spread(image, mask), sigma * unit(image))
    return color / np.maximum(color.max(-1, keepdims=True), 0.1)


@operator(GLOW, "training")
def halo(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A luminous rim that fades outward from an object."""
    mask = thing(image, rng)
    width = rng.uniform(2.5, 4.5) * unit(image)
    rim = np.clip(1.2 - ndimage.distance_transform_edt(~mask) / width, 0, 1) * ~mask
    tint = np.array([1, rng.uniform(0.85, 1), rng.uniform(0.6, 1)])
    return np.broadcast_to(tint, image.shape), rim * (0.15 + 0.7 * severity)


@operator(GLOW, "training")
def shed_own_light(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """The object sheds light of its own color on what is behind it."""
    mask = thing(image, rng)
    color = _own_light(image, mask, 1.5)
    light = blur(mask.astype(float), rng.uniform(1.8, 3) * unit(image))
    light = light / max(light[~mask].max(), 1e-6)
    return image + (0.1 + 0.6 * severity) * light[..., None] * color, ((light > 0.06) & ~mask).astype(float)


@operator(GLOW, "training")
def wrap_light_around(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A bright background eats into the object: a luminous seam on the inner side of its outline."""
    mask = thing(image, rng)
    behind = 0.6 + 0.4 * blur(spread(image, ~mask), 2 * unit(image))
    width = rng.uniform(1.6, 2.8) * unit(image)
    seam = np.clip(1.4 - ndimage.distance_transform_edt(mask) / width, 0, 1) * mask
    return 1 - (1 - image) * (1 - behind), seam * (0.2 + 0.75 * severity)


@operator(GLOW, "training")
def neon_rim(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A thin line of one saturated color runs around an object and shines on what is behind it."""
    mask = thing(image, rng)
    distance = distance_outside(image, mask)
    light = np.exp(-(((distance - 1.2) / 0.8) ** 2)) + 0.5 * np.exp(-distance / rng.uniform(1.5, 3))
    color = rng.permutation([1.0, rng.uniform(0.3, 0.9), 0.2])
    return image + (0.15 + 0.75 * severity) * light[..., None] * color, ((light > 0.08) & ~mask).astype(float)


@operator(GLOW, "training")
def spill_over_border(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """The brighter side of an object's border is overexposed and spills onto the darker one."""
    mask = thing(image, rng)
    bright, distance = _brighter_side(image, mask), signed_distance(mask) / unit(image)
    near = np.clip(1.4 - abs(distance) / rng.uniform(2.5, 4), 0, 1)
    spilled = blur(np.where(bright[..., None], image, 0), 1.5 * unit(image))
    exposed = np.where(bright[..., None], image * (1 + 1.2 * severity), image + (0.3 + 1.2 * severity) * spilled)
    return exposed, near


@operator(GLOW, "training")
def shine_from_behind(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A lamp hidden behind the object: what is around it brightens on one side, and its rim there is eaten away."""
    mask = thing(image, rng)
    rows, columns = offsets(image, *ndimage.center_of_mass(mask))
    turned = _turned(rows, columns, rng.uniform(0, 2 * np.pi))
    toward = np.clip(2 - abs(turned) / 0.8, 0, 1)
    distance = signed_distance(mask) / unit(image)
    fall_off = np.where(distance > 0, np.exp(-distance / rng.uniform(2, 3.5)), np.exp(distance / 0.8))
    warm = np.array([1.0, rng.uniform(0.8, 1), rng.uniform(0.5, 0.95)])
    light = (0.2 + 0.8 * severity) * (toward * fall_off)[..., None]
    return image + light * (warm - 0.6 * image), (toward * fall_off > 0.08).astype(float)


@operator(GLOW, "training")
def fringe_in_violet(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """The dark side of an object's border is lined with violet or green."""
    mask = thing(image, rng)
    distance = signed_distance(mask) / unit(image)
    fringe = np.clip(1.3 - abs(distance) / rng.uniform(1.6, 3), 0, 1) * ~_brighter_side(image, mask)
    added = np.array([[0.6, 0.0, 0.9], [0.0, 0.7, 0.1]])[rng.integers(2)]
    return image + (0.15 + 0.75 * severity) * added * (1 - image), fringe


@operator(GLOW, "training")
def ragged_corona(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Patches of light cling to an object's outline, as of a discharge."""
    mask = thing(image, rng)
    patches = np.clip(0.4 + 0.6 * noise(image, 3 * unit(image), rng), 0, 1)
    distance = distance_outside(image, mask)
    light = patches * np.exp(-distance / rng.uniform(2, 4)) * ~mask
    warm = np.array([1.0, rng.uniform(0.85, 1), rng.uniform(0.6, 1)])
    return image + (0.2 + 0.9 * severity) * light[..., None] * (warm - 0.5 * image), (light > 0.08).astype(float)


@operator(GLOW, "training")
def aureole(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A luminous ring runs around an object at some distance, faint within."""
    mask = thing(image, rng)
    distance = distance_outside(image, mask)
    radius, width = rng.uniform(2.5, 4.5), rng.uniform(0.8, 1.4)
    ring = np.exp(-(((distance - radius) / width) ** 2)) + 0.25 * (distance < radius)
    tint = np.array([1.0, rng.uniform(0.8, 1), rng.uniform(0.5, 1)])
    changed = image + (0.15 + 0.7 * severity) * ring[..., None] * (tint - 0.6 * image)
    return changed, ((ring > 0.08) & ~mask).astype(float)


def _outlined(image: NDArray, rng: np.random.Generator) -> NDArray:
    """An object, or all that is brighter than a tone; or all else, where only the object itself can still brighten."""
    luma = blur(luminance(image), 1.3 * unit(image))
    if rng.random() < 0.7:
        mask = thing(image, rng)
    else:
        low, high = np.quantile(luma, [0.1, 0.9])
        bright = luma > low + rng.uniform(0.4, 0.6) * (high - low)
        mask = blur(bright.astype(float), 1.7 * unit(image)) > 0.5
        if high - low < 0.25 or not 0.08 < mask.mean() < 0.7:
            raise NoPlace
    near = abs(signed_distance(mask)) < 3 * unit(image)
    tone, own = luma[near & ~mask].mean(), luma[near & mask].mean()
    if min(tone, own) > 0.75:
        raise NoPlace
    return ~mask if tone > 0.65 and own < tone else mask


def _uneven(image: NDArray, mask: NDArray, rng: np.random.Generator) -> NDArray:
    """How strong a rim of light is around an outline: the same everywhere, more on one side, or in patches."""
    rows, columns = offsets(image, *ndimage.center_of_mass(mask))
    toward, patches = rng.uniform(0, 2 * np.pi), noise(image, rng.uniform(3, 8) * unit(image), rng)
    sided = np.clip(1.6 - abs(_turned(rows, columns, toward)) / rng.uniform(0.8, 1.6), 0, 1)
    return (np.ones(mask.shape), sided, np.clip(0.6 + 0.9 * patches, 0, 1))[rng.integers(3)]


def _shine_on(image: NDArray, light: NDArray, color: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Light laid over an image as a veil, as a double exposure, or as a lamp that brings out what it falls on."""
    weight = (light > 0.06).astype(float)
    light = (0.2 + 0.8 * severity) * np.clip(light, 0, 1)[..., None]
    veil = image + 0.9 * light * (color - image)
    exposed = 1 - (1 - image) * (1 - 0.85 * light * color)
    lamp = image * (1 + 1.5 * light * color) + 0.45 * light * color
    return (veil, exposed, lamp)[rng.integers(3)], weight


@operator(GLOW, "training")
def rim_of_any_profile(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A rim of light around an object: fading, with a hard end, doubled or thin, all around or on parts of it."""
    mask = _outlined(image, rng)
    distance = np.maximum(signed_distance(mask) / unit(image), 0) / rng.uniform(1.8, 4.5)
    hard = np.clip(3 * (1.2 - distance), 0, 1)
    double = np.exp(-((distance / 0.35) ** 2)) + 0.8 * np.exp(-(((distance - 1.4) / 0.4) ** 2))
    steep = 0.25 / (0.25 + distance**2) * (distance < 4)
    light = (np.exp(-distance), hard, double, steep)[rng.integers(4)] * _uneven(image, mask, rng)
    color = _lamp(rng, 1) if rng.random() < 0.7 else _own_light(image, mask, 1)
    return _shine_on(image, light * ~mask, color, severity, rng)


@operator(GLOW, "training")
def rays_from_outline(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Rays of light stream from an object's outline, away from its middle or all in one direction."""
    mask = _outlined(image, rng)
    rows, columns = offsets(image, *ndimage.center_of_mass(mask))
    length, steps = rng.uniform(6, 14) * unit(image), np.linspace(0, 1, 20)
    angle, radial = rng.uniform(0, 2 * np.pi), rng.random() < 0.5
    reach = np.hypot(rows, columns) + 1e-6
    down, right = (rows / reach, columns / reach) if radial else (np.sin(angle), np.cos(angle))
    # Sources of uneven strength on the outline, smeared along the rays.
    source = np.clip(0.2 + rng.uniform(0.5, 1.5) * noise(image, rng.uniform(1, 2.5) * unit(image), rng), 0, 1)
    source *= abs(signed_distance(mask)) < 1.2 * unit(image)
    light, (rows, columns) = np.zeros(mask.shape), offsets(image, 0, 0)
    for step in steps:
        came = sample(source, rows - step * length * down, columns - step * length * right)
        light = np.maximum(light, (1 - step) * came)
    light = blur(light, 0.3 * unit(image)) * ~mask
    return _shine_on(image, 1.1 * light / max(light.max(), 1e-6), _lamp(rng, 1), severity, rng)


@operator(GLOW, "training")
def slipped_silhouette(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """A shining silhouette, larger than the object or slipped to one side, looks out from behind it."""
    mask = _outlined(image, rng)
    rows, columns = offsets(image, *ndimage.center_of_mass(mask))
    larger, turned = rng.uniform(1, 1.25), rng.normal(0, 0.08)
    slip = rng.normal(0, 1.8, 2) * unit(image)
    down, right = rotated((rows - slip[0]) / larger, (columns - slip[1]) / larger, turned)
    center = ndimage.center_of_mass(mask)
    solid = ndimage.binary_dilation(mask, iterations=max(1, round(rng.uniform(0.5, 2) * unit(image))))
    light = blur(sample(solid, down + center[0], right + center[1]), rng.uniform(0.4, 2) * unit(image)) * ~mask
    behind = blur(spread(image, ~mask), unit(image))
    color = _lamp(rng, 1) if rng.random() < 0.6 else np.clip(0.5 + behind, 0, 1)
    return _shine_on(image, light / max(light.max(), 1e-6), color, severity, rng)


@operator(GLOW, "training")
def bloom_through_lens(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """An object blooms as through a poor lens: to all sides, to one, in a cross or in a narrow and a wide veil."""
    mask = _outlined(image, rng)
    tone = luminance(image)
    source = mask * np.clip(0.3 + (tone - tone[mask].mean()) / (tone[mask].std() + 0.05) / 2, 0.15, 1)
    size, angle = rng.uniform(1.2, 3) * unit(image), rng.uniform(0, 2 * np.pi)
    slipped = ndimage.shift(source, 1.5 * size * np.array([np.sin(angle), np.cos(angle)]), order=1, mode="nearest")
    cross = [ndimage.uniform_filter1d(source, round(5 * size), axis) for axis in (0, 1)]
    veils = blur(source, 0.5 * size) + 0.8 * blur(source, 2 * size)
    kinds = blur(source, size), blur(slipped, 0.7 * size), blur(np.maximum(*cross), 0.3 * unit(image)), veils
    light = kinds[rng.integers(4)] * ~mask
    light = np.clip(light / max(np.quantile(light[~mask], 0.97), 1e-6) - 0.15, 0, 1)
    own = _own_light(image, mask, 2)
    return _shine_on(image, light, _lamp(rng, 1) * (own if rng.random() < 0.5 else 1), severity, rng)


@operator(GLOW, "training")
def halo_of_tone_mapping(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """What is around an object is lit up from within, its texture with it, while the object itself may sink."""
    mask = _outlined(image, rng)
    distance = signed_distance(mask) / unit(image)
    width, end = rng.uniform(2.5, 6), rng.uniform(0.6, 2)
    rim = np.clip(1 - np.maximum(distance, 0) / width, 0, 1) ** end * _uneven(image, mask, rng)
    hue = rng.uniform(0.7, 1) * _lamp(rng, 1) + rng.uniform(0, 0.3)
    gamma = np.exp(-severity * rng.uniform(1.2, 2) * (rim * ~mask)[..., None] * hue)
    inner = np.clip(1 + distance / rng.uniform(2, 4), 0, 1) * mask * rng.choice([0.0, 0.4])
    lifted = np.clip(image + 0.12 * severity * (rim * ~mask)[..., None], 0, 1) ** gamma
    return lifted * (1 - severity * inner[..., None]), ((rim * ~mask > 0.06) | (inner > 0.05)).astype(float)


@operator(GLOW, "evaluation")
def bloom_over_edges(image: NDArray, severity: float, rng: np.random.Generator) -> Changed:
    """Light that is scattered from the outline to both sides and added on a screen."""
    mask = thing(image, rng)
    line = (ndimage.binary_dilation(mask) & ~ndimage.binary_erosion(mask)).astype(float)
    scattered = blur(line, rng.uniform(1.0, 1.8) * unit(image))
    scattered = np.clip(scattered / scattered.max(), 0, 1)[..., None]
    color = 0.75 + 0.25 * blur(image, 3 * unit(image))
    screened = 1 - (1 - image) * (1 - (0.15 + 0.8 * severity) * scattered * color)
    return screened, (scattered[..., 0] > 0.12).astype(float)
