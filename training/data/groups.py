"""Training and validation images of a detector, by the arguments of its command."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from datasets import Dataset, IterableDataset, Value, concatenate_datasets

from tellsign import WaveFreqConfig, WaveFreqImageProcessor

from .arguments import SourceArguments
from .images import DecodedImages
from .sources import (
    UNKNOWN,
    add_category_labels,
    category_labels_of,
    classes_of,
    content_of,
    drop_duplicates,
    hold_out,
    load_sources,
    split_group,
    stream_source,
    without,
)
from .views import BalancedViews, stream_views


WITHOUT_CATEGORIES = """'{"real_categories": []}'"""


@dataclass
class DataArguments(SourceArguments):
    RANGES = {
        "validation_per_class": "[1, inf)",
        "shift": "[0, inf)",
        "adversarial_epsilon": "[0, inf)",
        "adversarial_steps": "[1, inf)",
    }

    train_data: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Parquet files, image folders or data sets on the Hub, with real and fake images; "
            "a.parquet+b.parquet joins two into one group."
        },
    )
    validation_per_class: int = field(
        default=5000,
        metadata={
            "help": "Images of each class of each group held out, to watch the run and calibrate the verdicts. With "
            "fewer than 99 of a group no image will be called fake."
        },
    )
    views: bool = field(
        default=False,
        metadata={
            "help": "Train on random views of images of any size, drawn equally often of each group and class, "
            "instead of on each image once an epoch."
        },
    )
    streaming: bool = field(
        default=False,
        metadata={"help": "Train on random views of images that are read while they are used. Needs --max_steps."},
    )
    flip: bool = field(default=True, metadata={"help": "Mirror half of the images."})
    shift: int = field(default=2, metadata={"help": "Largest shift along each axis, in pixels."})
    adversarial_epsilon: float = field(
        default=0.0, metadata={"help": "Largest adversarial change of a pixel in training, in levels of 255."}
    )
    adversarial_steps: int = field(default=1, metadata={"help": "Gradient steps that find the adversarial change."})


def load_groups(arguments: DataArguments) -> list[Dataset]:
    """All images of each group."""
    return [
        load_sources(split_group(group), arguments.data_split, arguments.data_revision)
        for group in arguments.train_data
    ]


def split_groups(
    groups: list[Dataset], arguments: DataArguments, real_categories: Sequence[str] = ()
) -> tuple[list[Dataset], Dataset]:
    """Training images of each group, and as many validation images of each, with its number in the column `group`.

    Images that share their bytes are on one side.

    Raises:
        ValueError: If a group has too few images, or no image has one of the categories.
    """
    groups = [add_category_labels(group, real_categories) for group in groups]
    if real_categories and all((category_labels_of(group) == UNKNOWN).all() for group in groups):
        raise ValueError(
            f"{', '.join(arguments.train_data)}: no real image has one of the categories "
            f"{', '.join(real_categories)} in the column category; to train without them, --config_overrides "
            f"{WITHOUT_CATEGORIES}"
        )
    groups = [drop_duplicates(group) for group in groups]
    held_out_of: list[Dataset] = []
    for name, group in zip(arguments.train_data, groups, strict=True):
        try:
            held_out_of.append(hold_out(group, arguments.validation_per_class)[1])
        except ValueError as error:
            raise ValueError(f"--validation_per_class: {name}: {error}") from None
    # Images that several groups share stay in each, so that the classes keep their shares.
    validation = _numbered(held_out_of)
    return [without(group, validation["sha1"][:]) for group in groups], validation


def load_images(
    arguments: DataArguments,
    image_processor: WaveFreqImageProcessor,
    config: WaveFreqConfig,
    seed: int,
) -> tuple[DecodedImages | BalancedViews, Dataset]:
    """Training images and validation images, see [`split_groups`]."""
    groups, validation = split_groups(load_groups(arguments), arguments, config.real_categories)
    train = drop_duplicates(concatenate_datasets(groups))
    if not arguments.views:
        return DecodedImages(train, image_processor, config.image_size), validation
    return BalancedViews(groups, image_processor, config.image_size, len(train), seed), validation


def stream_images(
    arguments: DataArguments, image_processor: WaveFreqImageProcessor, config: WaveFreqConfig, seed: int, workers: int
) -> tuple[IterableDataset, Dataset]:
    """Streamed training images, and validation images from the beginning of each class of each group.

    Raises:
        ValueError: If a class has too few images. Also if one worker of the data loader reads only shards without any
            of it, and would wait for ever.
    """
    if config.real_categories:
        raise ValueError(
            "real_categories: not with --streaming, which reads images and labels alone; to train without them, "
            f"--config_overrides {WITHOUT_CATEGORIES}"
        )
    groups: list[list[IterableDataset]] = []
    validation: list[Dataset] = []
    contents: set[bytes | None] = set()
    for group in arguments.train_data:
        names = split_group(group)
        sources = [stream_source(name, arguments.data_split, arguments.data_revision) for name in names]
        classes = classes_of(concatenate_datasets(sources))
        groups.append(classes)
        held_out: list[dict] = []
        for images in classes:
            shuffled = images.shuffle(seed=seed, buffer_size=max(1000, 2 * arguments.validation_per_class))
            rows = list(shuffled.take(arguments.validation_per_class + 1))
            if len(rows) <= arguments.validation_per_class:
                raise ValueError(
                    f"{group}: cannot hold out {arguments.validation_per_class} images of each class, where one has "
                    f"{len(rows)}"
                )
            held_out += rows[:-1]
        contents |= {content_of(row["image"]) for row in held_out}
        features = classes[0].features
        columns = {name: [row[name] for row in held_out] for name in features}
        validation.append(Dataset.from_dict(columns, features=features))
    # Not images.skip, which in a data loader with workers skips less in each.
    rest = [
        images.filter(lambda row: content_of(row["image"]) not in contents) for classes in groups for images in classes
    ]
    workers = min(workers, *(images.num_shards for images in rest))  # datasets stops the others
    for index, images in itertools.product(range(workers if workers > 1 else 0), rest):
        if not any(True for _ in images.shard(workers, index, contiguous=False).take(1)):
            raise ValueError(
                "--streaming: there are shards without images of a class, expected both classes in each, or "
                "--dataloader_num_workers 0"
            )
    return stream_views(rest, image_processor, config.image_size, seed=seed), _numbered(validation)


def _numbered(groups: list[Dataset]) -> Dataset:
    """The images of all groups, with their group's number in a column."""
    numbered = [
        group.add_column("group", [number] * len(group), feature=Value("int64")) for number, group in enumerate(groups)
    ]
    return concatenate_datasets(numbered)
