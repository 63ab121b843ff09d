"""What resizing leaves of a grid, and where in a picture a grid is, by cuts of 256 pixels at native size."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from tellsign.modeling.image_loading import load_image
from tellsign.pipelines.traces.grids import LEAST_BLOCKS, LEAST_SIDE, Grid, strength_of
from tellsign.pipelines.traces.spectrum import BLOCK, residual_spectrum
from tellsign.training.data.degradations import encode, rescale

from .splices import PLACED_SHARES, place_scores, random_mask, splice


SIDE = 256
FACTOR = 0.75
STEP = 16
"""Pixels from one tile of a map to the next."""


def _reduced(image: Image.Image) -> Image.Image:
    return rescale(image, FACTOR, Image.Resampling.LANCZOS)


HISTORIES: Mapping[str, tuple[Callable[[Image.Image], Image.Image], float]] = {
    "as the cut is": (lambda image: image, 1),
    "JPEG q85": (lambda image: encode(image, "JPEG", 85), 1),
    "times 0.75": (_reduced, FACTOR),
    "times 0.75, JPEG q85": (lambda image: encode(_reduced(image), "JPEG", 85), FACTOR),
}
"""What happens to a picture, and how many times smaller it is then."""


def load_cuts(path: Path) -> dict[str, NDArray]:
    """Cuts of 256x256 pixels whose files were not reduced, and what is known of them.

    Args:
        path (`Path`): A parquet file with the columns `image`, `kind`, `source`, `format`, `width`, `height`, and
            `scale`, by which the file was reduced before it was cut.

    Returns:
        `image`, an array of `PIL.Image.Image`, and `kind`, `source` and `format`, each of shape `(n,)`.
    """
    table = pq.read_table(path).to_pandas()
    table = table[(table["scale"] == 1) & (table[["width", "height"]].min(axis=1) >= LEAST_SIDE)]
    images = [load_image(image if isinstance(image, bytes) else image["bytes"]) for image in table["image"]]
    whole = np.asarray([image.size == (SIDE, SIDE) for image in images])
    pictures = np.empty(len(images), object)
    pictures[:] = images
    known = {name: table[name].to_numpy().astype(str) for name in ("kind", "source", "format")}
    return {name: values[whole] for name, values in ({"image": pictures} | known).items()}


def spectrum_of_cut(image: Image.Image) -> NDArray[np.float64] | None:
    """The spectrum of a small picture, by blocks that overlap by half; `None` where fewer than 6 have detail."""
    grey = np.asarray(image.convert("L"))
    parts = [residual_spectrum(grey[top:, left:]) for top, left in product((0, BLOCK // 2), repeat=2)]
    count = sum(blocks for _, blocks in parts)
    if count < LEAST_BLOCKS:
        return None
    return np.log(sum(blocks * np.exp(spectrum) for spectrum, blocks in parts) / count)


def moved(grid: Grid, factor: float) -> Grid:
    """Where a grid's peaks are once the picture is `factor` times as large."""
    return replace(grid, frequencies=tuple((round(y / factor), round(x / factor)) for y, x in grid.frequencies))


def strengths_after(images: Iterable[Image.Image], grid: Grid) -> dict[str, NDArray[np.float64]]:
    """How strong a grid is in pictures after each of [`HISTORIES`], NaN where it cannot be measured."""
    rows = []
    for image in images:
        changed = [(spectrum_of_cut(change(image)), moved(grid, factor)) for change, factor in HISTORIES.values()]
        rows.append([np.nan if spectrum is None else strength_of(there, spectrum) for spectrum, there in changed])
    return dict(zip(HISTORIES, np.asarray(rows).T, strict=True))


def tile_map(image: Image.Image, grid: Grid) -> NDArray[np.float64]:
    """How strong a grid is around each place of a picture of 256x256 pixels.

    Returns:
        `np.ndarray` of shape `(13, 13)`: [`strength_of`] the spectra of tiles of 64 pixels, 16 pixels apart, each
        averaged with those around it.
    """
    grey, corners = np.asarray(image.convert("L")), range(0, SIDE - BLOCK + 1, STEP)
    spectra = [[residual_spectrum(grey[y : y + BLOCK, x : x + BLOCK])[0] for x in corners] for y in corners]
    powers = gaussian_filter(np.exp(spectra), (1, 1, 0, 0))
    return np.asarray([[strength_of(grid, np.log(power)) for power in row] for row in powers])


def place_aurocs(
    photographs: NDArray, parts: NDArray, grid: Grid, quality: int | None, pictures: int
) -> NDArray[np.float64]:
    """How well the map of a grid shows a part that was pasted into a photograph.

    Args:
        photographs, parts (`np.ndarray`): Of `PIL.Image.Image`.
        grid ([`Grid`]): What is looked for.
        quality (`int`, *optional*): Of the JPEG as which a spliced picture is saved; `None` for none.
        pictures (`int`): How many to splice.

    Returns:
        `np.ndarray` of shape `(pictures,)`: the AUROC of the tiles within each.
    """
    scores: list[float] = []
    rng = np.random.default_rng(0)
    middles = slice(BLOCK // 2, SIDE - BLOCK // 2 + 1, STEP)
    while len(scores) < pictures:
        mask = random_mask(float(np.exp(rng.uniform(*np.log(PLACED_SHARES)))), SIDE, rng)
        spliced = splice(rng.choice(photographs), rng.choice(parts), mask, rng)
        if quality:
            spliced = encode(spliced, "JPEG", quality)
        inside = gaussian_filter(mask, BLOCK / 8)[middles, middles] > 0.5
        if inside.any() and not inside.all():
            scores.append(place_scores(tile_map(spliced, grid), inside)[0])
    return np.asarray(scores)
