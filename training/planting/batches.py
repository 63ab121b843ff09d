"""Planted images in whole batches for taggers, and as data sets on disk for explainers and localizers."""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from transformers import BaseImageProcessor

from tellsign.pipelines.answer import Box
from tellsign.training.data.images import decode, whole_batch
from tellsign.training.data.sources import LABELS, NO_CATEGORY, UNKNOWN, of_class

from .planter import Use, plantable
from .rows import PLANTED_FEATURES, fingerprint, opened, planted_images


BOX_SIDES = tuple(Box.__annotations__)
NOTHING = 255  # in `artifacts` where an image has fewer than others
NONE_SHOWN = -1  # what an image of `NO_CATEGORY` shows, as an index


class _Planting(torch.utils.data.Dataset):
    """Rows of [`planted_images`] as arrays, each with the row that its image has in the data set."""

    def __init__(self, dataset: Dataset, use: Use, **options: Any):
        self.dataset, self.use, self.names, self.options = dataset, use, plantable(), options

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, indices: list[int]) -> list[dict[str, Any]]:
        chosen = self.dataset.select(indices)
        row_of = dict(zip(chosen["sha1"][:], indices, strict=True))
        most, size, rows = self.options["most"], self.options["image_size"], []
        for planted in planted_images(chosen, self.use, **self.options):
            row = {
                "images": np.asarray(opened(planted["image"]["bytes"])).transpose(2, 0, 1),
                "artifacts": np.full(most, NOTHING, np.uint8),
                "masks": np.zeros((most, size, size), bool),
                "boxes": np.zeros((most, len(BOX_SIDES)), np.int16),
                "rows": np.int64(row_of[planted["sha1"]]),
            }
            for index, artifact in enumerate(planted["artifacts"]):
                row["artifacts"][index] = self.names.index(artifact["label"])
                row["boxes"][index] = [artifact["box"][side] for side in BOX_SIDES]
                row["masks"][index] = np.asarray(opened(artifact["mask"]["bytes"]))
            rows.append(row)
        return rows


def plant_for_validation(dataset: Dataset, *, seed: int, most: int, image_size: int) -> dict[str, torch.Tensor]:
    """Plants artifacts into every image by the operators of evaluation, in a process for each core.

    Returns:
        Without the images that cannot be read:

        - `images` of shape `(n, 3, image_size, image_size)`, uint8.
        - `artifacts` of shape `(n, most)`, uint8, indices in [`plantable`] or `NOTHING`.
        - `masks` of shape `(n, most, image_size, image_size)`, bool, the pixels that show it.
        - `boxes` of shape `(n, most, 4)`, int16, their `BOX_SIDES` in pixels.
        - `rows` of shape `(n,)`, int64, the images' rows in the data set.
    """
    planting = _Planting(dataset, "evaluation", seed=seed, untouched=0.0, most=most, image_size=image_size)
    loader = DataLoader(planting, batch_size=64, num_workers=os.cpu_count() or 0, collate_fn=whole_batch)
    batches = tqdm(loader, desc="Planting artifacts", unit="batch", leave=False)
    return _stacked([row for batch in batches for row in batch])


def _stacked(rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}


def untouched_images(dataset: Dataset, most: int, image_size: int) -> dict[str, torch.Tensor]:
    """Images as they are, in the form of those from [`plant_for_validation`]."""
    images, rows, _ = decode(dataset, image_size)
    count = len(images)
    return {
        "images": images,
        "artifacts": torch.full((count, most), NOTHING, dtype=torch.uint8),
        "masks": torch.zeros(count, most, image_size, image_size, dtype=torch.bool),
        "boxes": torch.zeros(count, most, len(BOX_SIDES), dtype=torch.int16),
        "rows": torch.from_numpy(rows),
    }


class Descriptions:
    """What is known of whole images: whether they are real, and which of the names they show."""

    def __init__(self, dataset: Dataset, categories: dict[str, str], category_names: Sequence[str]):
        index_of = {name: index for index, name in enumerate(category_names)} | {NO_CATEGORY: NONE_SHOWN}
        shown = [index_of.get(categories.get(sha1, ""), UNKNOWN) for sha1 in dataset["sha1"][:]]
        self.labels, self.shown = torch.tensor(dataset["label"][:]), torch.tensor(shown)

    def add_to(self, images: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Images of the data set, with `labels`, real or fake, unless something was planted, and `categories`."""
        planted = (images["artifacts"] != NOTHING).any(1)
        labels = self.labels[images["rows"]].masked_fill(planted, UNKNOWN)
        return images | {"labels": labels, "categories": self.shown[images["rows"]]}


def concatenated(parts: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def validation_images(
    dataset: Dataset, categories: dict[str, str], names: list[str], *, seed: int, **shape: int
) -> dict[str, torch.Tensor]:
    """Real images planted by the evaluation operators, and the same ones and as many fakes untouched."""
    real = of_class(dataset, "real")
    parts = (real, plant_for_validation(real, seed=seed, **shape)), (dataset, untouched_images(dataset, **shape))
    return concatenated([Descriptions(part, categories, names).add_to(images) for part, images in parts])


class PlantedBatches(torch.utils.data.Dataset):
    """Planted and untouched images, handed out in whole processed batches with all their labels.

    Args:
        images (`dict[str, torch.Tensor]`): From [`plant_for_validation`], and two of shape `(n,)`. `labels` are 0 for
            real, 1 for fake, `UNKNOWN` for planted images. `categories` are what they show, `NONE_SHOWN` or `UNKNOWN`.
        image_processor (`BaseImageProcessor`): Makes `pixel_values` of the images.
        columns (`list[int]`): For each index in `artifacts` the index of the artifact in the model's logits.
        num_artifacts (`int`): Number of these logits. Of those without a column, and of all artifacts in fake images,
            nothing is known.
    """

    def __init__(
        self,
        images: dict[str, torch.Tensor],
        image_processor: BaseImageProcessor,
        columns: Sequence[int],
        num_artifacts: int,
    ):
        self.images = images
        self.image_processor = image_processor
        # The last column takes what is nothing, and is cut off.
        self.column_of = torch.full((NOTHING + 1,), num_artifacts)
        self.column_of[: len(columns)] = torch.tensor(columns)
        self.known = torch.full((num_artifacts + 1,), float(UNKNOWN))
        self.known[list(columns)] = 0

    def __len__(self) -> int:
        return len(self.images["images"])

    def __getitems__(self, indices: list[int] | torch.Tensor) -> dict[str, torch.Tensor]:
        masks = self.images["masks"][indices]
        columns = self.column_of[self.images["artifacts"][indices].long()]
        artifact_masks = torch.zeros(len(masks), len(self.known), *masks.shape[2:])
        artifact_masks.scatter_(1, columns[:, :, None, None].expand(masks.shape), masks.float())
        return {
            "pixel_values": self.pixel_values(indices),
            "labels": self.images["labels"][indices],
            "categories": self.images["categories"][indices],
            "artifact_labels": self.artifact_labels(indices),
            "artifact_masks": artifact_masks[:, :-1],
        }

    def pixel_values(self, indices: list[int] | torch.Tensor) -> torch.Tensor:
        """The processed images alone: masks in pixels of many images would fill the memory."""
        return self.image_processor(self.images["images"][indices], return_tensors="pt")["pixel_values"]

    def artifact_labels(self, indices: list[int] | torch.Tensor) -> torch.Tensor:
        """For each image which artifacts are there, float32: 1, 0 or `UNKNOWN`, of shape `(n, num_artifacts)`."""
        columns = self.column_of[self.images["artifacts"][indices].long()]
        labels = self.known.repeat(len(columns), 1).scatter(1, columns, 1.0)
        labels[self.images["labels"][indices] == LABELS.index("fake")] = UNKNOWN
        return labels[:, :-1]


class TrainingBatches(torch.utils.data.Dataset):
    """Real images, in each epoch planted anew by the training operators or left untouched, and untouched fakes, handed
    out as [`PlantedBatches`] by `as_batches`. An image that cannot be read is left out of its batch.

    What is planted depends on the seed, the `epoch` and the image alone. No image of one seed is that of another, in
    at most 1,000 epochs. `shape` is `most` and `image_size` of [`planted_images`].
    """

    def __init__(
        self,
        dataset: Dataset,
        categories: dict[str, str],
        category_names: Sequence[str],
        as_batches: Callable[[dict[str, torch.Tensor]], PlantedBatches],
        *,
        fakes: int,
        untouched: float,
        seed: int,
        **shape: int,
    ):
        self.as_batches, self.seed, self.shape, self.epoch = as_batches, seed, shape, 0
        real, fake = of_class(dataset, "real"), of_class(dataset, "fake", fakes, seed)
        # Fakes are encoded as often as untouched real images, or the encoding would tell the class.
        self.parts = [
            (images, Descriptions(images, categories, category_names), share)
            for images, share in ((real, untouched), (fake, 1.0))
        ]

    def __len__(self) -> int:
        return sum(len(images) for images, _, _ in self.parts)

    def planted(self, indices: Sequence[int] | torch.Tensor) -> PlantedBatches:
        """The images as planted in this epoch; real ones first."""
        pools, start = [], 0
        options = {"seed": 1000 * self.seed + self.epoch, **self.shape}
        for images, descriptions, untouched in self.parts:
            rows = [int(index) - start for index in indices if 0 <= index - start < len(images)]
            start += len(images)
            planting = _Planting(images, "training", untouched=untouched, **options)
            if rows and (planted := planting.__getitems__(rows)):
                pools.append(descriptions.add_to(_stacked(planted)))
        if not pools:
            raise ValueError(f"none of {len(indices)} training images can be read")
        return self.as_batches(concatenated(pools))

    def __getitems__(self, indices: list[int]) -> dict[str, torch.Tensor]:
        batch = self.planted(indices)
        return batch.__getitems__(list(range(len(batch))))

    def pixel_values(self, indices: Sequence[int] | torch.Tensor) -> torch.Tensor:
        """The processed images alone."""
        batch = self.planted(indices)
        return batch.pixel_values(list(range(len(batch))))


def artifact_dataset(
    rows: Callable[..., Iterator[dict]], cache_dir: Path, nothing: str, processes: int = 1, **kwargs
) -> Dataset:
    """The rows as a data set, or an error that says `nothing` if there are none."""
    features = PLANTED_FEATURES.copy()
    features["artifacts"].feature.pop("mask")
    try:
        return Dataset.from_generator(
            rows, features=features, cache_dir=str(cache_dir), gen_kwargs=kwargs, num_proc=processes
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
    """Plants artifacts into images, of which those that got any are kept, in as many processes as there are cores.

    Returns:
        `datasets.Dataset` with `image`, `sha1` and `artifacts`: `label`, `box` and `severity` of each. If no image got
        any, a `ValueError` is raised.
    """
    cache_dir, count = cache_dir / fingerprint(dataset), len(dataset)
    nothing = f"no artifact could be planted into any of the {count} images"
    processes = min(os.cpu_count() or 1, math.ceil(count / 64))
    datasets = [dataset.shard(processes, index) for index in range(processes)]
    return artifact_dataset(
        _planted, cache_dir, nothing, processes, datasets=datasets, use=use, seed=seed, image_size=image_size
    )
