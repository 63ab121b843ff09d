"""What the frozen part of the branch for large pictures gives, computed once and kept."""

import copy
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from PIL import Image
from tqdm.auto import tqdm

from tellsign import WaveFreqImageProcessor
from tellsign.modeling.image_loading import load_image
from tellsign.modeling.large_branch import WaveFreqLargeBranch, moments_of
from tellsign.training.data.histories import HISTORIES, random_history, random_look
from tellsign.training.data.sources import content_of
from tellsign.training.trainer.caching import cached


MOST_STRETCHED = 1.5
COPIES_VERSION = "2"
"""Change it with what training copies look like, or features that were kept before would be taken for theirs."""


def random_part(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The largest part of a picture with a random aspect ratio, at a random place.

    The ratio is 1 in two of five cases and otherwise between 2:3 and 3:2, uniform in its logarithm. Most generators
    draw squares and most cameras do not: so the shape of a training picture does not tell its class.
    """
    ratio = 1.0 if rng.random() < 0.4 else float(np.exp(rng.uniform(-1, 1) * np.log(MOST_STRETCHED)))
    width, height = min(image.width, round(image.height * ratio)), min(image.height, round(image.width / ratio))
    left, top = int(rng.integers(image.width - width + 1)), int(rng.integers(image.height - height + 1))
    return image.crop((left, top, left + width, top + height))


def as_seen(content: bytes, history: str | int | None, row_seed: int) -> Image.Image:
    """A picture after a history: none, one of `HISTORIES` by name, or a part of it, changed at random, by
    its seed."""
    image = load_image(content)
    if history is None:
        return image
    if isinstance(history, str):
        return HISTORIES[history](image)
    rng = np.random.default_rng([history, row_seed])
    return random_history(random_look(random_part(image, rng), rng), rng)


@torch.inference_mode()
def picture_moments(
    pictures: Dataset,
    branch: WaveFreqLargeBranch,
    image_processor: WaveFreqImageProcessor,
    history: str | int | None,
    cache_dir: Path | None,
) -> torch.Tensor:
    """The moments of all pictures' feature maps, see [`moments_of`].

    Args:
        pictures (`datasets.Dataset`): From [`load_sources`], all large enough for the branch.
        branch ([`WaveFreqLargeBranch`]): Its head is not used.
        image_processor ([`WaveFreqImageProcessor`]): With a `large_size`.
        history (`str` or `int`, *optional*): See [`as_seen`]; a number is the seed of a training copy.
        cache_dir (`Path`, *optional*): Where to keep the result.

    Returns:
        `torch.FloatTensor` of shape `(len(pictures), num_features)`.

    Raises:
        ValueError: If a picture cannot be read; the message names its row.
    """
    # A part of a picture may be smaller than a picture must be.
    image_processor = copy.copy(image_processor)
    image_processor.smallest_large_side = 1

    def make() -> dict[str, torch.Tensor]:
        moments = []
        for row, image in enumerate(tqdm(pictures["image"], desc=f"Features ({history})", unit="img")):
            try:
                seen = as_seen(content_of(image) or b"", history, row)
                inputs = image_processor(seen, return_tensors="pt")
            except ValueError as error:
                raise ValueError(f"row {row}: {error}") from error
            moments.append(moments_of(branch.feature_maps(inputs["large_pixel_values"]))[0])
        return {"moments": torch.stack(moments)}

    settings = {
        "pictures": hashlib.sha1("".join(pictures["sha1"][:]).encode()).hexdigest(),
        "weights": hashlib.sha1(next(branch.stages.parameters()).detach().numpy().tobytes()).hexdigest(),
        "size": image_processor.large_size,
        "history": history,
    } | ({"copies": COPIES_VERSION} if isinstance(history, int) else {})
    name = hashlib.sha1(repr(sorted(settings.items(), key=str)).encode()).hexdigest()[:16]
    return cached(cache_dir / f"{name}.safetensors" if cache_dir else None, make, settings)["moments"]


def training_copies(
    sets: Sequence[Dataset],
    branch: WaveFreqLargeBranch,
    image_processor: WaveFreqImageProcessor,
    copies: int,
    cache_dir: Path | None,
) -> torch.Tensor:
    """The moments that heads learn from: of all pictures of several sets, each seen in several ways.

    Returns:
        `torch.FloatTensor` of shape `(copies, n, num_features)`, see [`picture_moments`].
    """
    return torch.stack(
        [
            torch.cat([picture_moments(pictures, branch, image_processor, seed, cache_dir) for pictures in sets])
            for seed in range(copies)
        ]
    )
