"""What the frozen part of the network for large pictures gives, computed once and kept."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from datasets import Dataset
from tqdm.auto import tqdm

from tellsign import LargePictureForImageClassification, LargePictureImageProcessor
from tellsign.modeling.modeling_large_picture import moments_of

from .caching import cached
from .degradations import as_seen
from .sources import content_of


COPIES_VERSION = "2"
"""Change it with what training copies look like, or features that were kept before would be taken for theirs."""


@torch.inference_mode()
def picture_moments(
    pictures: Dataset,
    model: LargePictureForImageClassification,
    image_processor: LargePictureImageProcessor,
    history: str | int | None,
    cache_dir: Path | None,
) -> torch.Tensor:
    """The moments of all pictures' feature maps, see [`moments_of`].

    Args:
        pictures (`datasets.Dataset`): From [`load_sources`], all large enough for the model.
        model ([`LargePictureForImageClassification`]): Its head is not used.
        image_processor ([`LargePictureImageProcessor`]): Its own.
        history (`str` or `int`, *optional*): See [`as_seen`]; a number is the seed of a training copy.
        cache_dir (`Path`, *optional*): Where to keep the result.

    Returns:
        `torch.FloatTensor` of shape `(len(pictures), num_features)`.

    Raises:
        ValueError: If a picture cannot be read; the message names its row.
    """

    def make() -> dict[str, torch.Tensor]:
        moments = []
        for row, image in enumerate(tqdm(pictures["image"], desc=f"Features ({history})", unit="img")):
            try:
                seen = as_seen(content_of(image) or b"", history, row)
                inputs = image_processor(seen, return_tensors="pt")
            except ValueError as error:
                raise ValueError(f"row {row}: {error}") from error
            moments.append(moments_of(model.feature_maps(inputs["pixel_values"]))[0])
        return {"moments": torch.stack(moments)}

    settings = {
        "pictures": hashlib.sha1("".join(pictures["sha1"][:]).encode()).hexdigest(),
        "weights": hashlib.sha1(next(model.backbone.parameters()).detach().numpy().tobytes()).hexdigest(),
        "size": dict(image_processor.size),
        "history": history,
    } | ({"copies": COPIES_VERSION} if isinstance(history, int) else {})
    name = hashlib.sha1(repr(sorted(settings.items(), key=str)).encode()).hexdigest()[:16]
    return cached(cache_dir / f"{name}.safetensors" if cache_dir else None, make, settings)["moments"]


def training_copies(
    sets: Sequence[Dataset],
    model: LargePictureForImageClassification,
    image_processor: LargePictureImageProcessor,
    copies: int,
    cache_dir: Path | None,
) -> torch.Tensor:
    """The moments that heads learn from: of all pictures of several sets, each seen in several ways.

    Returns:
        `torch.FloatTensor` of shape `(copies, n, num_features)`, see [`picture_moments`].
    """
    return torch.stack(
        [
            torch.cat([picture_moments(pictures, model, image_processor, seed, cache_dir) for pictures in sets])
            for seed in range(copies)
        ]
    )
