"""Pictures that the network for large ones learns from, and what is known of them."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray
from PIL import Image

from .sources import content_of, drop_duplicates, load_sources


DATA_HELP = (
    "Parquet files, image folders or data sets of both classes. Columns: image; label, real or fake. Better also: "
    "generator, the model or the collection; family, models whose images look alike; kind, photo or another such as "
    "artwork; source, REPOSITORY:FILE, by which a person's pictures are known."
)
"""Help of the commands that read large pictures."""


def load_pictures(data: Sequence[str], smallest_side: int) -> Dataset:
    """The pictures of several sources, once each, without those whose shorter side is smaller.

    Training and scoring take those of half the side at which pictures are seen: others would be mostly enlarged.

    Raises:
        ValueError: If none is large enough.
    """
    pictures = drop_duplicates(load_sources(list(data), "train"))
    large = [
        row
        for row, image in enumerate(pictures["image"])
        if min(Image.open(io.BytesIO(content_of(image) or b"")).size) >= smallest_side
    ]
    if not large:
        raise ValueError(f"{', '.join(data)}: no picture has a short side of {smallest_side} pixels")
    return pictures.select(large)


def columns_of(pictures: Dataset) -> dict[str, NDArray]:
    """What is known of each picture, as arrays; without a column `kind` real ones count as photographs."""
    columns = {name: np.asarray(pictures[name][:]) for name in ("label", "generator", "family", "kind", "person")}
    columns["kind"] = np.where(columns["kind"] == "", "photo", columns["kind"])
    sizes = [Image.open(io.BytesIO(content_of(image) or b"")).size for image in pictures["image"]]
    columns["square"] = np.asarray([abs(width / height - 1) < 0.02 for width, height in sizes])
    columns["short_side"] = np.asarray([min(size) for size in sizes])
    return columns


def stacked(*parts: Mapping[str, NDArray]) -> dict[str, NDArray]:
    """Columns of several data sets, one after the other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
