"""What the frozen network gives of a user's pictures, computed once and kept."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from tqdm.auto import tqdm

from tellsign import LargePictureConfig, LargePictureForImageClassification, LargePictureImageProcessor
from tellsign.modeling.modeling_large_picture import (
    FULL_SIDE,
    LargePictureHead,
    calibration_of_size,
    moments_of,
    octaves_below,
)
from tellsign.training.data.caching import cached
from tellsign.training.data.degradations import cut_as_seen, whole_as_seen
from tellsign.training.data.moments import COPIES_VERSION, weights_of
from tellsign.training.data.sources import content_of
from tellsign.training.trainer.tuning import HISTORIES


@dataclass(frozen=True)
class OwnMoments:
    """Moments of pictures, see [`moments_of`].

    Args:
        plain (`torch.FloatTensor` of shape `(n, 1 + num_cuts, num_moments)`): Of the whole and all cuts.
        laundered (`torch.FloatTensor` of shape `(num_histories, n, 2, num_moments)`):
            Of the whole and one cut, after each of some random histories.
        octaves (`torch.FloatTensor` of shape `(n,)`): See [`octaves_below`].
    """

    plain: torch.Tensor
    laundered: torch.Tensor
    octaves: torch.Tensor

    @torch.inference_mode()
    def logits(self, head: LargePictureHead, config: LargePictureConfig) -> NDArray[np.float64]:
        """Of fake, `(n,)`, of the pictures as they are, before the temperature."""
        return self.for_size(head(self.plain).double().numpy(), config)

    def for_size(self, logits: NDArray, config: LargePictureConfig) -> NDArray[np.float64]:
        """Logits of a head as those of pictures of their sizes, see [`calibration_of_size`]."""
        scale, shift = calibration_of_size(config, self.octaves)
        return logits * scale.numpy() - shift.numpy()

    @torch.inference_mode()
    def normalized(self, head: LargePictureHead) -> torch.Tensor:
        """Features for a head, `(1 + num_histories, n, 2, num_moments)`: as they are, then laundered."""
        return torch.cat([head.normalized(self.plain)[None], head.normalized(self.laundered)])

    def copies(self) -> torch.Tensor:
        """What a new head learns from, `(1 + num_histories, n, 2, num_moments)`, see [`fit_head`]: one cut each."""
        middle = self.plain[:, [0, 1 + (self.plain.shape[1] - 1) // 2]]
        return torch.cat([middle[None], self.laundered])


class MomentExtractor:
    """A frozen network, and how it sees pictures.

    Both classes are treated alike: middle squares, cuts at native pixels, one JPEG for all.

    Args:
        model ([`LargePictureForImageClassification`]): In evaluation.
        image_processor ([`LargePictureImageProcessor`]): Its own.
        cache_dir (`Path`): Where moments are kept, by the picture's content and the model.
    """

    def __init__(
        self, model: LargePictureForImageClassification, image_processor: LargePictureImageProcessor, cache_dir: Path
    ):
        self.model, self.image_processor = model, image_processor
        # What moments depend on besides the picture.
        names = ("size", "cut_size", "num_cuts", "image_mean", "image_std")
        settings = *(getattr(image_processor, name) for name in names), model.config.out_indices
        settings = *settings, HISTORIES, COPIES_VERSION, FULL_SIDE
        self.folder = cache_dir / hashlib.sha1(f"{weights_of(model)} {settings}".encode()).hexdigest()[:16]

    def __call__(self, pictures: Dataset) -> tuple[OwnMoments, dict[int, str]]:
        """Moments of pictures, and the reason for each row that cannot be read or is too small, which is left out."""
        seen, unreadable = [], {}
        for row, image in enumerate(tqdm(pictures["image"], desc="Features", unit="img")):
            try:
                seen.append(self._of(content_of(image) or b""))
            except ValueError as error:
                unreadable[row] = str(error)
        if not seen:
            num_moments = self.model.head.baseline.shape[1]
            none = torch.zeros(0, 1 + self.image_processor.num_cuts, num_moments)
            return OwnMoments(none, torch.zeros(len(HISTORIES), 0, 2, num_moments), torch.zeros(0)), unreadable
        plain, laundered, octaves = ([each[name] for each in seen] for name in ("plain", "laundered", "octaves"))
        return OwnMoments(torch.stack(plain), torch.stack(laundered, dim=1), torch.cat(octaves)), unreadable

    def _of(self, content: bytes) -> dict[str, torch.Tensor]:
        name = hashlib.sha1(content).hexdigest()
        path = self.folder / name[:2] / f"{name}.safetensors"
        return cached(path, lambda: self._moments(content, int(name[:8], 16)))

    @torch.inference_mode()
    def _moments(self, content: bytes, seed: int) -> dict[str, torch.Tensor]:
        """Moments of the whole and all cuts, and of the whole and one cut after each history."""
        boxes = []

        def see(history: int | None) -> torch.Tensor:
            whole = whole_as_seen(content, history, seed)
            part = cut_as_seen(content, history, seed, self.image_processor.cut_size)
            if min(whole.size) < self.image_processor.smallest_side:
                raise ValueError(f"has a shorter side below {self.image_processor.smallest_side} pixels")
            pixels = self.image_processor(whole, return_tensors="pt")["pixel_values"]
            of_part = self.image_processor(part, return_tensors="pt")
            boxes.append(of_part["cut_boxes"])
            cuts = of_part["cuts"][0]
            cuts = cuts if history is None else cuts[self.image_processor.num_cuts // 2, None]
            return torch.cat([moments_of(self.model.feature_maps(views)) for views in (pixels, cuts)])

        seen = {"plain": see(None), "laundered": torch.stack([see(history) for history in HISTORIES])}
        return seen | {"octaves": octaves_below(boxes[0], self.image_processor.cut_size)}
