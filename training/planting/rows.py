"""Planted images as rows, and data sets of them on disk, for explainers and localizers."""

import hashlib
import io
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from PIL import Image

from .planter import PLANTED_FEATURES, planted_images
from .registry import Use


OPERATORS_VERSION = "2"
"""To be raised when the operators plant anything else than before: what was planted is then planted anew."""


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def images_of(rows: Sequence[Mapping[str, Any]]) -> list[Image.Image]:
    """Those of rows as [`planted_images`] yields them."""
    return [opened(row["image"]["bytes"]).convert("RGB") for row in rows]


def fingerprint(*datasets: Dataset, categories: Mapping[str, str] | None = None) -> str:
    """Of the images in data sets from [`load_sources`], of what they show, and of the version of the operators."""
    digest = hashlib.sha1("".join(sha1 for dataset in datasets for sha1 in dataset["sha1"][:]).encode())
    digest.update(json.dumps(categories, sort_keys=True).encode())
    digest.update(OPERATORS_VERSION.encode())
    return digest.hexdigest()


def artifact_dataset(
    rows: Callable[..., Iterator[dict]], cache_dir: Path, nothing: str, processes: int = 1, **kwargs
) -> Dataset:
    """The rows as a data set, or an error that says `nothing` if there are none."""
    features = PLANTED_FEATURES.copy()
    features["artifacts"].feature.pop("mask")
    try:
        return Dataset.from_generator(
            rows,
            features=features,
            cache_dir=str(cache_dir),
            gen_kwargs=kwargs,
            num_proc=processes,
        )
    except ValueError as error:
        if "no data" not in str(error):
            raise
        raise ValueError(nothing) from error


def _planted(datasets: list[Dataset], use: Use, seed: int, image_size: int) -> Iterator[dict]:
    for dataset in datasets:
        for row in planted_images(dataset, use, seed, image_size, untouched=0.0):
            for artifact in row["artifacts"]:
                del artifact["mask"]
            if row["artifacts"]:
                yield row


def planted_artifacts(dataset: Dataset, use: Use, cache_dir: Path, *, seed: int, image_size: int) -> Dataset:
    """Plants artifacts into images, of which those that got any are kept, with as many processes as there are cores.

    Args:
        dataset (`datasets.Dataset`): Real images with `image` and `sha1`, from [`load_sources`].
        use (`str`): Whether to take the operators for `"training"` or those for `"evaluation"`.
        cache_dir (`Path`): Where to keep the result.
        seed (`int`): Seed of what is planted.
        image_size (`int`): Height and width that the images are brought to.

    Returns:
        `datasets.Dataset` with `image`, `sha1` and `artifacts`: `label`, `box` and `severity` of each.

    Raises:
        ValueError: If there are no such images.
    """
    cache_dir, count = cache_dir / fingerprint(dataset), len(dataset)
    nothing = f"no artifact could be planted into any of the {count} images"
    processes = min(os.cpu_count() or 1, math.ceil(count / 64))
    datasets = [dataset.shard(processes, index) for index in range(processes)]
    return artifact_dataset(
        _planted, cache_dir, nothing, processes, datasets=datasets, use=use, seed=seed, image_size=image_size
    )
