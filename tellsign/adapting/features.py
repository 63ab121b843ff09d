"""What the frozen network gives of a user's pictures, computed once and kept."""

import hashlib
from pathlib import Path

import torch
from datasets import Dataset
from numpy.typing import NDArray
from tqdm.auto import tqdm

from tellsign import LargePictureForImageClassification, LargePictureImageProcessor
from tellsign.modeling.modeling_large_picture import moments_of
from tellsign.training.data.caching import cached
from tellsign.training.data.degradations import cut_as_seen, whole_as_seen
from tellsign.training.data.moments import COPIES_VERSION, weights_of
from tellsign.training.data.sources import content_of
from tellsign.training.trainer.tuning import HISTORIES


class OwnFeatures:
    """Features of pictures for a head, each seen as it is and after random histories.

    Both classes are treated alike: middle squares, cuts at native pixels, one JPEG for all.

    Args:
        model ([`LargePictureForImageClassification`]): Its head normalizes them.
        image_processor ([`LargePictureImageProcessor`]): Its own.
        cache_dir (`Path`): Where moments are kept, by the picture's content and the model.
    """

    def __init__(
        self,
        model: LargePictureForImageClassification,
        image_processor: LargePictureImageProcessor,
        cache_dir: Path,
    ):
        self.model, self.image_processor = model, image_processor
        # What features depend on besides the picture.
        settings = image_processor.size, image_processor.cut_size, image_processor.num_cuts, HISTORIES, COPIES_VERSION
        self.folder = cache_dir / hashlib.sha1(f"{weights_of(model)} {settings}".encode()).hexdigest()[:16]

    def __call__(self, pictures: Dataset, rows: NDArray) -> tuple[torch.Tensor, dict[int, str]]:
        """Features of some of the pictures.

        Returns:
            `torch.FloatTensor` of shape `(1 + num_histories, n, 2, num_moments)`, and the reason for each row that
            cannot be read or is too small, which is left out.
        """
        features, unreadable = [], {}
        for row in tqdm(rows.tolist(), desc="Features", unit="img"):
            try:
                features.append(self._of(content_of(pictures[row]["image"]) or b""))
            except ValueError as error:
                unreadable[row] = str(error)
        size = (1 + len(HISTORIES), 0, *self.model.head.feature_mean.shape)
        return torch.stack(features, dim=1) if features else torch.zeros(size), unreadable

    @torch.inference_mode()
    def _of(self, content: bytes) -> torch.Tensor:
        name = hashlib.sha1(content).hexdigest()
        path = self.folder / name[:2] / f"{name}.safetensors"
        kept = cached(path, lambda: self._moments(content, int(name[:8], 16)))
        head = self.model.head
        return torch.cat([head.normalized(kept["plain"])[None], head.normalized(kept["laundered"])])

    def _moments(self, content: bytes, seed: int) -> dict[str, torch.Tensor]:
        """Moments of the whole and all cuts, and of the whole and one cut after each history."""

        def see(history: int | None) -> torch.Tensor:
            whole = whole_as_seen(content, history, seed)
            part = cut_as_seen(content, history, seed, self.image_processor.cut_size)
            if min(whole.size) < self.image_processor.smallest_side:
                raise ValueError(f"has a shorter side below {self.image_processor.smallest_side} pixels")
            pixels = self.image_processor(whole, return_tensors="pt")["pixel_values"]
            cuts = self.image_processor(part, return_tensors="pt")["cuts"][0]
            cuts = cuts if history is None else cuts[self.image_processor.num_cuts // 2, None]
            return torch.cat([moments_of(self.model.feature_maps(views)) for views in (pixels, cuts)])

        return {"plain": see(None), "laundered": torch.stack([see(history) for history in HISTORIES])}
