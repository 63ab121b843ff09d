"""Features of places in planted and untouched large pictures, and the training of the head that names artifacts."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from tqdm.auto import tqdm

from tellsign import WaveFreqConfig, WaveFreqImageProcessor
from tellsign.modeling.image_loading import load_image
from tellsign.modeling.large_branch import CELL, WaveFreqArtifactHead, WaveFreqLargeBranch, place_features
from tellsign.training.data.degradations import random_history
from tellsign.training.data.sources import content_of
from tellsign.training.planting import plant, plantable
from tellsign.training.planting.planter import encoded
from tellsign.training.planting.registry import Use
from tellsign.training.planting.rows import OPERATORS_VERSION

from .head import train_in_cycle
from .moments import cached_features


UNTOUCHED = 0.25
MOST = 3
EPOCHS = 12
BATCH_SIZE = 32
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 0.05
# How much more the map of an artifact that is there counts than one of an artifact that is not.
PRESENT_WEIGHT = 10


def _planted(
    image: Image.Image, use: Use, rng: np.random.Generator, grid: int
) -> tuple[Image.Image, NDArray[np.bool_], NDArray[np.float16]]:
    """A picture with artifacts, or none in `UNTOUCHED` of the training pictures, which artifacts, and which share of
    each cell they take."""
    names = plantable()
    present, masks = np.zeros(len(names), bool), np.zeros((len(names), grid, grid), np.float16)
    untouched = use == "training" and rng.random() < UNTOUCHED
    pixels = np.asarray(image)
    if not untouched:
        count = int(rng.integers(1, MOST + 1))
        planted = plant(pixels, rng.permutation(plantable(use)).tolist(), rng, use, count=count)
        pixels = planted.image
        for artifact in planted.artifacts:
            index = names.index(artifact.label)
            present[index] = True
            mask = torch.from_numpy(artifact.mask[None, None].astype(np.float32))
            masks[index] = nn.functional.adaptive_avg_pool2d(mask, grid)[0, 0].numpy()
    picture = Image.fromarray(encoded(pixels))
    if use == "training" and rng.random() < 0.5:
        picture = random_history(picture, rng)
    return picture, present, masks


@torch.inference_mode()
def picture_places(
    pictures: Dataset,
    rows: Sequence[int],
    branch: WaveFreqLargeBranch,
    image_processor: WaveFreqImageProcessor,
    use: Use | None,
    seed: int,
    cache_dir: Path,
) -> dict[str, torch.Tensor]:
    """Features of the places of pictures, with artifacts planted or as they are.

    Args:
        pictures (`datasets.Dataset`): From [`load_sources`], all large enough for the branch.
        rows (`Sequence[int]`): Which of them.
        branch ([`WaveFreqLargeBranch`]): Its heads are not used.
        image_processor ([`WaveFreqImageProcessor`]): With a `large_size`.
        use (`str`, *optional*):
            `"training"` plants up to `MOST` artifacts by the training operators, leaves some pictures untouched, and
            gives half of all a [`random_history`]. `"evaluation"` plants by the others. `None` plants nothing.
        seed (`int`): Of what is planted, with the picture's row.
        cache_dir (`Path`): Where to keep the result.

    Returns:
        - `features` of shape `(n, num_features, size, size)`, float16, see [`place_features`].
        - `present` of shape `(n, num_plantable)`, bool, in the order of [`plantable`].
        - `masks` of shape `(n, num_plantable, size, size)`, float16, the share of each cell that an artifact takes.

    Raises:
        ValueError: If a picture cannot be read; the message names its row.
    """
    grid = image_processor.large_size["height"] // CELL  # type: ignore[index]

    def make() -> dict[str, torch.Tensor]:
        features, present, masks = [], [], []
        for row in tqdm(rows, desc=f"Places ({use or 'as they are'}, {seed})", unit="img"):
            rng = np.random.default_rng([seed, int(row)])
            try:
                image = load_image(content_of(pictures[int(row)]["image"]) or b"")
                if use is not None:
                    image, has, where = _planted(image, use, rng, grid)
                    present.append(torch.from_numpy(has))
                    masks.append(torch.from_numpy(where))
                inputs = image_processor(image, return_tensors="pt")
            except ValueError as error:
                raise ValueError(f"row {row}: {error}") from error
            maps = branch.feature_maps(inputs["large_pixel_values"])
            features.append(place_features(maps, grid)[0].half())
        tensors = {"features": torch.stack(features)}
        return tensors if use is None else tensors | {"present": torch.stack(present), "masks": torch.stack(masks)}

    sha1 = pictures["sha1"][:]
    seen_as = {"use": use, "operators": use and OPERATORS_VERSION, "seed": seed}
    chosen = [sha1[row] for row in rows]
    return cached_features(cache_dir, make, chosen, branch, image_processor, seen_as, prefix="places-")


def fit_artifact_head(
    config: WaveFreqConfig, features: torch.Tensor, present: torch.Tensor, masks: torch.Tensor, seed: int = 0
) -> WaveFreqArtifactHead:
    """A head trained by AdamW in a cycle of rates, on pictures mirrored and turned.

    Args:
        config ([`WaveFreqConfig`]): Its `large_artifact_labels` are what `present` and `masks` tell of.
        features, present, masks: As from [`picture_places`].
        seed (`int`, *optional*, defaults to 0): Of the weights, the order, the turns and the dropout.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = WaveFreqArtifactHead(config, features.shape[1])
        sample = features[:: max(1, len(features) // 1000)].float()
        head.feature_mean.copy_(sample.mean((0, 2, 3)))
        head.feature_std.copy_(sample.std((0, 2, 3)) + 1e-4)
        nn.init.constant_(head.classifier.bias, -2.0)  # few pictures show any one artifact
        loss_of = nn.functional.binary_cross_entropy_with_logits

        def losses(rows: torch.Tensor) -> torch.Tensor:
            places, truth, where = features[rows].float(), present[rows].float(), masks[rows].float()
            for axes in ([2], [3]):
                if torch.rand(()) < 0.5:
                    places, where = places.flip(axes), where.flip(axes)
            logits, map_logits = head(places)
            weights = 1 + (PRESENT_WEIGHT - 1) * truth
            map_losses = loss_of(map_logits, where, reduction="none").mean((2, 3))
            return loss_of(logits, truth) + (weights * map_losses).sum() / weights.sum()

        epochs = tqdm(range(EPOCHS), desc="Artifact head", unit="epoch")
        train_in_cycle(head, losses, len(features), epochs, BATCH_SIZE, LEARNING_RATE, WEIGHT_DECAY)
    return head.eval()
