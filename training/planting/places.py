"""Where an artifact can be seen: textures, edges, surfaces, objects, their ends. Sizes are in pixels or [`unit`]s."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.distance import cdist


class NoPlace(Exception):
    """An image has no place where an artifact could be seen."""


def unit(image: NDArray) -> float:
    """A 32nd of the shorter side, in pixels."""
    return min(image.shape[:2]) / 32


def pixel(image: NDArray) -> float:
    """Size of the finest structures, in pixels: 1 at 32 pixels, growing as the square root of the shorter side."""
    return unit(image) ** 0.5


def luminance(image: NDArray) -> NDArray:
    """Luma (ITU-R BT.601) of shape `(height, width)`."""
    return image @ np.array([0.299, 0.587, 0.114], np.float32)


def blur(image: NDArray, sigma: float) -> NDArray:
    """Gaussian blur of an image or a map over its first two axes, `sigma` in pixels."""
    return ndimage.gaussian_filter(image, (sigma, sigma, 0)[: image.ndim], mode="nearest")


def noise(image: NDArray, grain: float, rng: np.random.Generator, channels: int | None = None) -> NDArray:
    """Gaussian noise with standard deviation 1 of shape `(height, width)` or `(height, width, channels)`.

    `grain` is the size of its grains in pixels; below 1 they are single pixels.
    """
    field = rng.standard_normal(image.shape[:2] if channels is None else (*image.shape[:2], channels))
    if grain > 1:
        field = blur(field, grain / 2)
        field /= field.std()
    return field


def detail(image: NDArray) -> NDArray:
    """How textured it is: local standard deviation of the luma in a window of 5 units."""
    luma, size = luminance(image), 2 * round(2 * unit(image)) + 1
    mean = ndimage.uniform_filter(luma, size, mode="nearest")
    return np.sqrt(np.maximum(ndimage.uniform_filter(luma**2, size, mode="nearest") - mean**2, 0))


def texture(image: NDArray) -> NDArray:
    """How textured it is, with little regard to single edges: local geometric mean of the fine contrast."""
    luma, scale = luminance(image), unit(image)
    fine = abs(luma - blur(luma, 1.2 * scale))
    return np.exp(blur(np.log(fine + 0.004), 2 * scale)) - 0.004


def edges(image: NDArray) -> NDArray:
    """Change of the luma over one unit, across the edge."""
    scale = unit(image)
    return scale * ndimage.gaussian_gradient_magnitude(luminance(image), 0.6 * scale, mode="nearest")


def edge_band(image: NDArray, width: float) -> NDArray:
    """Weights in [0, 1] that are 1 on the strongest edges and fall to 0 `width` units beside them."""
    strength = edges(image)
    strong = strength > max(0.06, np.quantile(strength, 0.86))
    distance = ndimage.distance_transform_edt(~strong) if strong.any() else np.full(strong.shape, np.inf)
    return np.clip(1.5 - 1.5 * distance / (width * unit(image)), 0, 1)


def offsets(image: NDArray, row: float, column: float) -> tuple[NDArray, NDArray]:
    """Rows and columns relative to a point, each of shape `(height, width)`."""
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    return rows - row, columns - column


def rotated(first: NDArray, second: NDArray, angle: float) -> tuple[NDArray, NDArray]:
    """Two coordinates turned by an angle: that along a direction, at 0 the first one's, and that across it."""
    return np.cos(angle) * first + np.sin(angle) * second, np.cos(angle) * second - np.sin(angle) * first


def position_along(image: NDArray, angle: float) -> NDArray:
    """Distance in pixels from the top left corner along a direction, of shape `(height, width)`; 0 is to the right."""
    rows, columns = offsets(image, 0, 0)
    return rows * np.sin(angle) + columns * np.cos(angle)


def some_of(points: NDArray, rng: np.random.Generator, count: int | np.integer) -> NDArray:
    """So many rows of an array, drawn with replacement: each by one random number, however many rows there are."""
    return points[(rng.random(count) * len(points)).astype(int)]


def one_of(points: NDArray, rng: np.random.Generator) -> NDArray:
    """A row of an array, drawn as in [`some_of`]."""
    return some_of(points, rng, 1)[0]


def region(
    score: NDArray,
    rng: np.random.Generator,
    at_least: float,
    size: tuple[float, float] = (0.2, 0.32),
    square: bool = False,
) -> NDArray:
    """A roundish area of irregular outline, or an upright rectangle, where a score is high.

    Args:
        score (`np.ndarray` of shape `(height, width)`): How well the artifact can be seen.
        rng (`np.random.Generator`): Chooses among the tenth of the places that score best.
        at_least (`float`): Mean score that the place must have.
        size (`tuple[float, float]`, *optional*): Range of both radii, as shares of the shorter side.
        square (`bool`, *optional*, defaults to `False`): Whether it is a rectangle.

    Returns:
        Weights in [0, 1] of shape `(height, width)`, 0 outside and rising to 1 toward the center.

    Raises:
        NoPlace: If no place scores enough.
    """
    radii = rng.uniform(*size, 2) * min(score.shape)
    angle = 0 if square else rng.uniform(0, np.pi)
    average = ndimage.uniform_filter(score, tuple(int(2 * radius) | 1 for radius in radii), mode="nearest")
    margin = int(0.7 * radii.min())
    average = average[margin : score.shape[0] - margin, margin : score.shape[1] - margin]
    if average.max() < at_least:
        raise NoPlace
    candidates = np.argwhere(average >= max(at_least, np.quantile(average, 0.9)))
    rows, columns = offsets(score, *(one_of(candidates, rng) + margin))
    along, across = rotated(rows, columns, angle)
    along, across = along / radii[0], across / radii[1]
    distance = np.hypot(along, across) + 0.15 * noise(score, min(score.shape) / 5, rng)
    if square:
        distance = np.maximum(abs(along), abs(across))
    return np.clip((1 - distance) / 0.35, 0, 1)


def _largest_part(mask: NDArray) -> NDArray:
    labels, count = ndimage.label(mask)
    if count == 0:
        return mask
    return ndimage.binary_fill_holes(labels == 1 + np.argmax(np.bincount(labels.ravel())[1:]))


def subject(image: NDArray) -> NDArray:
    """What stands out from the colors at the border of the image, favoring its middle.

    Returns:
        Mask of shape `(height, width)`, bool.

    Raises:
        NoPlace: If nothing stands out that covers 6% to 55% of the image.
    """
    scale = unit(image)
    height, width = image.shape[:2]
    smooth = blur(image, 0.7 * scale)
    frame = np.concatenate([smooth[0], smooth[-1], smooth[:, 0], smooth[:, -1]])
    frame = frame[:: max(1, len(frame) // 32)]
    near = round(0.15 * len(frame))
    distances = np.partition(cdist(smooth.reshape(-1, 3), frame), near, axis=-1)
    distance = distances[:, near].reshape(height, width)
    rows, columns = offsets(image, (height - 1) / 2, (width - 1) / 2)
    salience = distance * (1.2 - (rows / height) ** 2 * 2.4 - (columns / width) ** 2 * 2.4)
    threshold = float(salience.mean())
    for _ in range(8):  # iterative selection (Ridler & Calvard, 1978)
        above = salience > threshold
        if above.all() or not above.any():
            raise NoPlace
        threshold = float(salience[above].mean() + salience[~above].mean()) / 2
    size = max(1, round(scale))
    mask = _largest_part(ndimage.binary_opening(salience > threshold, iterations=size))
    if not 0.06 <= mask.mean() <= 0.55 or distance[mask].mean() < 0.12:
        raise NoPlace
    return mask


def surface(image: NDArray, rng: np.random.Generator) -> NDArray:
    """A connected area of similar color, from a random point.

    Returns:
        Mask of shape `(height, width)`, bool.

    Raises:
        NoPlace: If no point of eight gives one that covers 8% to 55% of the image.
    """
    scale = unit(image)
    smooth = blur(image, scale)
    for row, column in (rng.uniform(0.15, 0.85, (8, 2)) * image.shape[:2]).astype(int):
        alike = np.linalg.norm(smooth - smooth[row, column], axis=-1) < 0.16
        alike = ndimage.binary_opening(alike, iterations=max(1, round(scale)))
        labels, _ = ndimage.label(alike)
        if labels[row, column]:
            mask = ndimage.binary_fill_holes(labels == labels[row, column])
            if 0.08 <= mask.mean() <= 0.55:
                return mask
    raise NoPlace


def thing(image: NDArray, rng: np.random.Generator) -> NDArray:
    """The subject, or else a surface, if its color differs from that of what is around it; else raises `NoPlace`."""
    try:
        mask = subject(image)
    except NoPlace:
        mask = surface(image, rng)
    distance = signed_distance(mask) / unit(image)
    inside, outside = image[(distance > -3) & mask], image[(distance < 3) & ~mask]
    if np.linalg.norm(inside.mean(0) - outside.mean(0)) <= 0.12:
        raise NoPlace
    return mask


def signed_distance(mask: NDArray) -> NDArray:
    """Distance in pixels to the outline, negative inside."""
    return ndimage.distance_transform_edt(~mask) - ndimage.distance_transform_edt(mask) + mask - 0.5


def distance_outside(image: NDArray, mask: NDArray) -> NDArray:
    """Distance in units from an object, 0 inside."""
    return ndimage.distance_transform_edt(~mask) / unit(image)


def spread(image: NDArray, source: NDArray) -> NDArray:
    """The image with the nearest pixel of `source`, a mask, in place of every pixel outside it."""
    nearest = ndimage.distance_transform_edt(~source, return_distances=False, return_indices=True)
    return image[tuple(nearest)]


def sample(image: NDArray, rows: NDArray, columns: NDArray, order: int = 1) -> NDArray:
    """Values of an image, a map or a mask (0 or 1) at other coordinates, reflected at its border."""
    if image.ndim == 3:
        return np.stack([sample(channel, rows, columns, order) for channel in np.moveaxis(image, -1, 0)], axis=-1)
    values = image.astype(float) if image.dtype == bool else image
    return ndimage.map_coordinates(values, [rows, columns], order=order, mode="mirror")


def end_by(image: NDArray, mask: NDArray, severity: float, along: NDArray) -> NDArray:
    """The part of an object where a map is highest, the larger the severer, with its soft border."""
    end = mask & (along > np.quantile(along[mask], 0.9 - 0.45 * severity))
    return ndimage.binary_dilation(end, iterations=max(1, round(2 * unit(image)))) & ~(mask & ~end)


def end_beyond_line(image: NDArray, mask: NDArray, severity: float, angle: float) -> NDArray:
    """What an object has beyond a straight line across it, with its soft border."""
    return end_by(image, mask, severity, position_along(image, angle))


def background(image: NDArray, mask: NDArray) -> NDArray:
    """The image with the colors around an object in its place."""
    around = ~ndimage.binary_dilation(mask, iterations=max(1, round(2 * unit(image))))
    return blur(spread(image, around if around.any() else ~mask), 1.2 * unit(image))


def is_inside(mask: NDArray, rows: NDArray, columns: NDArray) -> NDArray:
    """Whether coordinates lie in an image, of which [`sample`] shows the reflection where they do not."""
    return (rows >= 0) & (columns >= 0) & (rows < mask.shape[0]) & (columns < mask.shape[1])


def moved_by(image: NDArray, mask: NDArray, length: float, angle: float) -> tuple[NDArray, NDArray]:
    """The image moved by `length` pixels, and where in it a part of the image then is, as weights in [0, 1]."""
    rows, columns = offsets(image, length * np.sin(angle), length * np.cos(angle))
    return sample(image, rows, columns), sample(mask, rows, columns) * is_inside(mask, rows, columns)
