"""Random views: images of any size, origin and format become training images of one size and one distribution."""

import io

import numpy as np
import torch
from datasets import Array3D, Dataset, Features, IterableDataset, Sequence, Value, interleave_datasets
from PIL import Image as PILImage
from PIL import ImageEnhance, ImageFilter
from torch.utils.data import get_worker_info
from transformers import BaseImageProcessor
from transformers.utils import logging

from tellsign.modeling.image_loading import load_image, recode_uniformly

from .images import as_batch, make_uniform
from .sources import LABELS, category_labels_of, content_of


logger = logging.get_logger(__name__)
RESAMPLERS = [*PILImage.Resampling]


def _recode(image: PILImage.Image, rng: np.random.Generator) -> PILImage.Image:
    """The image after a pass through JPEG or WebP of a random quality."""
    buffer = io.BytesIO()
    quality = int(rng.integers(40, 96))
    if rng.random() < 0.8:
        image.save(buffer, "JPEG", quality=quality, subsampling=int(rng.integers(0, 3)))
    else:
        image.save(buffer, "WEBP", quality=quality)
    return PILImage.open(buffer).convert("RGB")


def _resize(image: PILImage.Image, size: tuple[int, int], rng: np.random.Generator) -> PILImage.Image:
    """The image at another size, by a random resampler."""
    resampler = RESAMPLERS[rng.integers(len(RESAMPLERS))]
    if resampler == PILImage.Resampling.NEAREST:  # alone it would alias as no camera or program does
        image = image.filter(ImageFilter.GaussianBlur(0.4 * max(image.size) / max(size)))
    return image.resize(size, resampler)


def _disturb(image: PILImage.Image, rng: np.random.Generator) -> PILImage.Image:
    """The image with another brightness, contrast or saturation, or with noise."""
    enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    choice = int(rng.integers(len(enhancers) + 1))
    if choice < len(enhancers):
        return enhancers[choice](image).enhance(rng.uniform(0.3, 1.7))
    pixels = np.asarray(image) + rng.normal(0, rng.uniform(2, 20), (image.height, image.width, 3))
    return PILImage.fromarray(pixels.clip(0, 255).round().astype(np.uint8))


def random_view(image: PILImage.Image, image_size: int, rng: np.random.Generator) -> np.ndarray:
    """Cuts a random part out of an image and brings it to a square by a random way of storing and resizing.

    Half of the views hold as much of the image as a random aspect ratio between 3:4 and 4:3 allows. The others hold a
    part whose side is drawn log-uniformly. The part is resized by a random resampler, perhaps over a size in between.
    Before or after that, it is perhaps stored as JPEG or WebP of a random quality. A quarter of the views get another
    brightness, contrast or saturation, or noise. Half of the views end as JPEG of quality 75, 4:2:0, a quarter as they
    are, a quarter in another random encoding. An image that has the wanted size already is in three of four cases
    neither cut nor resized.

    Nothing of it depends on the class. Images are first brought to at most five times the wanted size: the original's
    size shows in the views as little as can be.

    Args:
        image (`PIL.Image.Image`): RGB, of any size.
        image_size (`int`): Height and width of the view in pixels.
        rng (`np.random.Generator`): Draws the view.

    Returns:
        `np.ndarray` of shape `(image_size, image_size, 3)`, uint8.
    """
    target = (image_size, image_size)
    if image.size != target or rng.random() < 0.25:
        shrink = min(image.size) / (5 * image_size)
        if shrink > 1:
            image = image.resize([max(1, round(side / shrink)) for side in image.size], PILImage.Resampling.LANCZOS)
        image = image.crop(_random_box(image.size, image_size, rng))
        stored_first = rng.random() < 0.5
        if stored_first and rng.random() < 0.5:
            image = _recode(image, rng)
        if rng.random() < 0.25:
            between = np.exp(rng.uniform(np.log(image_size), np.log(max(*image.size, image_size + 1))))
            image = _resize(image, (round(between), round(between)), rng)
        image = _resize(image, target, rng)
        if not stored_first and rng.random() < 0.5:
            image = _recode(image, rng)
    if rng.random() < 0.25:
        image = _disturb(image, rng)
    ending = rng.random()
    if ending < 0.5:
        image = recode_uniformly(image)
    elif ending < 0.75:
        image = _recode(image, rng)
    return np.array(image)


def _load(entry: dict | None, place: str, image_size: int) -> PILImage.Image:
    """An image as it is, unless it has the wanted size: its views may keep its pixels, and so what its format did."""
    content = content_of(entry) or b""
    image = load_image(content, (entry or {}).get("path") or place)
    return make_uniform(image, content, image_size) if image.size == (image_size, image_size) else image


def _random_box(size: tuple[int, int], image_size: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a random part, at least `image_size` wide and high where the image is."""
    width, height = size
    aspect = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
    largest = min(width / np.sqrt(aspect), height * np.sqrt(aspect))
    smallest = min(largest, image_size * np.sqrt(max(aspect, 1 / aspect)))
    side = largest if rng.random() < 0.5 else np.exp(rng.uniform(np.log(smallest), np.log(largest)))
    box_width = min(width, max(1, round(side * np.sqrt(aspect))))
    box_height = min(height, max(1, round(side / np.sqrt(aspect))))
    left, top = rng.integers(0, width - box_width + 1), rng.integers(0, height - box_height + 1)
    return int(left), int(top), int(left + box_width), int(top + box_height)


class BalancedViews(torch.utils.data.Dataset):
    """Random views of several groups of images, without end, cut into epochs.

    Each view is of a group drawn uniformly, and in it of a class drawn uniformly. In the class a generator (or
    collection of photographs) is drawn with the square root of its number of images, in it any image. So
    whatever tells one group from another tells nothing about the class, and a large source does not drown small ones.

    View `i` of epoch `e` is drawn from a random generator seeded with `(seed, e, i)`. It is the same in whichever
    process and order it is asked for, and in a run that was resumed.

    Args:
        groups (`list[Dataset]`): From [`load_sources`]; each with both classes.
        image_processor (`BaseImageProcessor`): Makes `pixel_values` of the views.
        image_size (`int`): Height and width of the views.
        images_per_epoch (`int`): Number of views in an epoch.
        seed (`int`, *optional*, defaults to 0): Seed of all draws.

    Attributes:
        epoch (`int`): The epoch whose views are handed out, see [`EpochCallback`].

    Raises:
        ValueError: If a group lacks a class.
    """

    def __init__(
        self,
        groups: list[Dataset],
        image_processor: BaseImageProcessor,
        image_size: int,
        images_per_epoch: int,
        seed: int = 0,
    ):
        self.epoch = 0
        self.groups = groups
        self.image_processor = image_processor
        self.image_size = image_size
        self.images_per_epoch = images_per_epoch
        self.seed = seed
        self.categories = [category_labels_of(group) for group in groups]
        self.sources = [_sources_of(group) for group in groups]

    def __len__(self) -> int:
        return self.images_per_epoch

    def choose(self, rng: np.random.Generator) -> tuple[int, int, int]:
        """A random image: its group, its label, its row in the group."""
        group, label = int(rng.integers(len(self.groups))), int(rng.integers(len(LABELS)))
        rows, probabilities = self.sources[group][label]
        return group, label, int(rng.choice(rows[rng.choice(len(rows), p=probabilities)]))

    def view(self, index: int) -> tuple[np.ndarray, tuple[int, int], int, int]:
        """View `index` of this epoch, see [`random_view`], height and width of its image, its label, and its category
        or -100.

        An image that cannot be read is named in a warning, and another one chosen in its place.
        """
        rng = np.random.default_rng((self.seed, self.epoch, index))
        for _ in range(100):
            group, label, row = self.choose(rng)
            try:
                image = _load(self.groups[group][row]["image"], f"row {row} of group {group}", self.image_size)
                size = (image.height, image.width)
                return random_view(image, self.image_size, rng), size, label, int(self.categories[group][row])
            except ValueError as error:
                logger.warning_once(f"Left out: {error}")
        raise ValueError(f"100 images in succession could not be read, the last of them row {row} of group {group}")

    def __getitems__(self, indices: list[int]) -> dict[str, torch.Tensor]:
        views, *known = zip(*(self.view(int(index)) for index in indices), strict=True)
        images = torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2)
        return as_batch(self.image_processor, images, *map(torch.tensor, known))


def _sources_of(group: Dataset) -> list[tuple[list[np.ndarray], np.ndarray]]:
    """For each class the rows of each of its generators, and the probabilities with which generators are drawn."""
    labels, generators = np.asarray(group["label"][:]), np.asarray(group["generator"][:])
    sources = []
    for label, title in enumerate(LABELS):
        names = np.unique(generators[labels == label])
        if not len(names):
            some = ", ".join(np.unique(generators)[:3])
            raise ValueError(f"a group of training images ({some}) has no {title} image")
        rows = [np.flatnonzero((labels == label) & (generators == name)) for name in names]
        weights = np.sqrt([len(members) for members in rows])
        sources.append((rows, weights / weights.sum()))
    return sources


def stream_views(
    streams: list[IterableDataset],
    image_processor: BaseImageProcessor,
    image_size: int,
    buffer_size: int = 1000,
    seed: int = 0,
) -> IterableDataset:
    """Random views of images that are too many to load: read while they are used, shuffled in a buffer.

    Each view is of a stream drawn uniformly; a stream that ends starts again.

    Args:
        streams (`list[IterableDataset]`): From [`classes_of`], of each group of images.
        image_processor (`BaseImageProcessor`): Makes `pixel_values` of the views.
        image_size (`int`): Height and width of the views.
        buffer_size (`int`, *optional*, defaults to 1000): Number of images among which the next one is drawn.
        seed (`int`, *optional*, defaults to 0): Seed of all draws.

    Returns:
        `datasets.IterableDataset` without end, of `pixel_values` (NumPy, float32), `image_sizes` (height and width of
        the view's image) and `labels`. Each worker of a data loader draws views of its own. In each pass the images of
        a stream come in the same order, and their views are others. Images that cannot be read are named in a warning
        and left out.
    """

    def views(rows: dict[str, list], indices: list[int]) -> dict[str, list]:
        kept: dict[str, list] = {"pixel_values": [], "image_sizes": [], "labels": []}
        worker = get_worker_info()  # each counts its own images
        for index, entry, label in zip(indices, rows["image"], rows["label"], strict=True):
            try:
                image = _load(entry, f"image {index} of the stream", image_size)
            except ValueError as error:
                logger.warning_once(f"Left out: {error}")
                continue
            rng = np.random.default_rng((seed, worker.id if worker else 0, index))
            view = torch.from_numpy(random_view(image, image_size, rng))
            kept["pixel_values"].append(image_processor(view.permute(2, 0, 1), return_tensors="np")["pixel_values"][0])
            kept["image_sizes"].append((image.height, image.width))
            kept["labels"].append(label)
        return kept

    streams = [stream.shuffle(seed=seed, buffer_size=buffer_size).repeat(None) for stream in streams]
    mixed = interleave_datasets(streams, probabilities=[1 / len(streams)] * len(streams), seed=seed)
    features = Features(
        {
            "pixel_values": Array3D((3, image_size, image_size), "float32"),
            "image_sizes": Sequence(Value("int64"), length=2),
            "labels": Value("int64"),
        }
    )
    columns = ["image", "label"]
    mixed = mixed.map(views, with_indices=True, batched=True, batch_size=16, features=features, remove_columns=columns)
    return mixed.with_format("numpy")
