"""Measures how closely pictures without a watermark correlate with its message, and with random ones, by chance.

python -m tellsign.training.evaluate_watermark photo.png world.parquet ...
"""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow.parquet as pq
import typer
from numpy.typing import NDArray
from PIL import Image
from tqdm.auto import tqdm

from tellsign.modeling.image_files import in_rgb, stored_image
from tellsign.pipelines.watermark import (
    LEAST_CORRELATION,
    LEAST_PIXELS,
    WATERMARKS,
    bit_means,
    block_scores,
    correlations,
)
from tellsign.tables import markdown_table


DRAWS = 200
"""Random messages of each length for each view of a picture."""
TILE = 256
LEVELS = (0.5, 0.6, 0.7, LEAST_CORRELATION)


def saved(image_format: str, **options) -> Callable[[Image.Image], Image.Image]:
    def save(image: Image.Image) -> Image.Image:
        image.save(buffer := io.BytesIO(), image_format, **options)
        return Image.open(buffer).convert("RGB")

    return save


def wallpaper(image: Image.Image) -> Image.Image:
    """The upper left corner nine times. In each copy a block says the same of the same bit of 32."""
    return Image.fromarray(
        np.tile(np.asarray(image.resize((TILE, TILE), box=(0, 0, *[min(image.size)] * 2))), (3, 3, 1))
    )


VIEWS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "as it is": lambda image: image,
    "without 3 columns and 5 rows": lambda image: image.crop((3, 5, *image.size)),
    "its left three quarters": lambda image: image.crop((0, 0, 3 * image.width // 4, image.height)),
    "enlarged to 1.5": lambda image: image.resize((3 * image.width // 2, 3 * image.height // 2)),
    "JPEG q95, 4:4:4": saved("JPEG", quality=95, subsampling="4:4:4"),
    "JPEG q60, 4:2:0": saved("JPEG", quality=60, subsampling="4:2:0"),
    "wallpaper of 3 x 3": wallpaper,
}


def pictures_in(files: list[Path]) -> Iterator[Image.Image]:
    """The pictures in image files and in parquet files with the column `image`, as RGB."""
    for file in files:
        if file.suffix != ".parquet":
            yield in_rgb(stored_image(file.read_bytes(), str(file)), str(file))
            continue
        for batch in pq.ParquetFile(file).iter_batches(100, columns=["image"]):
            for value in batch["image"].to_pylist():
                content = value["bytes"] if isinstance(value, dict) else value
                yield in_rgb(stored_image(content, str(file)), str(file))


def by_chance(pixels: NDArray[np.uint8], rng: np.random.Generator) -> tuple[float, NDArray]:
    """The largest correlation with a real message, and with `DRAWS` random messages of each length, by draw."""
    scores, real, random = block_scores(pixels), 0.0, np.zeros(DRAWS)
    for mark in WATERMARKS:
        means = bit_means(scores, len(mark.bits))
        real = max(real, correlations(means, mark.message).max())
        messages = rng.integers(0, 2, (DRAWS, len(mark.bits))).astype(float)
        random = np.maximum(random, correlations(means, messages).max(0))
    return real, random


def main(
    files: Annotated[
        list[Path], typer.Argument(exists=True, dir_okay=False, help="Images, or parquet files of them.")
    ],
) -> None:
    """Prints how often the pixels of pictures that bear no watermark correlate with a message by so much."""
    rng, real, random = np.random.default_rng(0), {name: [] for name in VIEWS}, {name: [] for name in VIEWS}
    for image in tqdm(pictures_in(files), leave=False):
        for name, view in VIEWS.items() if image.width * image.height >= LEAST_PIXELS else ():
            largest, drawn = by_chance(np.asarray(view(image)), rng)
            real[name].append(largest)
            random[name].append([np.sum(drawn >= level) for level in LEVELS] + [drawn.max()])
    rows = []
    for name in VIEWS:
        counts = np.asarray(random[name])
        shares = [f"{1e5 * count / DRAWS / len(counts):.2f}" for count in counts[:, :-1].sum(0)]
        rows.append([name, str(len(counts)), f"{max(real[name]):.2f}", *shares, f"{counts[:, -1].max():.2f}"])
    heads = ["view", "pictures", "largest with a real message", *(f"{level} and more" for level in LEVELS), "largest"]
    print(f"With random messages: views of 100,000 that correlate by so much ({DRAWS} draws each).\n")
    print(markdown_table(heads, rows))


if __name__ == "__main__":
    typer.run(main)
