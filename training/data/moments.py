"""What the frozen part of the network for large pictures gives, computed once and kept."""

import hashlib
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from safetensors.torch import save
from tqdm.auto import tqdm

from tellsign import LargePictureForImageClassification, LargePictureImageProcessor
from tellsign.modeling.modeling_large_picture import moments_of

from .caching import cached
from .degradations import SQUEEZED, cut_as_seen, whole_as_seen
from .large_pictures import LargePictures
from .sources import content_of


COPIES_VERSION = "3"
"""Change it with what pictures are seen as, or features that were kept before would be taken for theirs."""
VIEWS = ("whole", "cut")


def weights_of(model: LargePictureForImageClassification) -> str:
    """A name for the weights of a model's backbone, on which features depend."""
    return hashlib.sha1(save(model.backbone.state_dict())).hexdigest()


@torch.inference_mode()
def view_moments(
    pictures: Dataset,
    view: str,
    model: LargePictureForImageClassification,
    image_processor: LargePictureImageProcessor,
    history: str | int | None,
    cache_dir: Path | None,
) -> torch.Tensor:
    """The moments of one view of pictures, see [`moments_of`]: a tensor of shape `(len(pictures), num_moments)`.

    Args:
        pictures (`datasets.Dataset`): Wholes or cuts, see [`LargePictures`].
        view (`str`): "whole", or "cut" for the middle cut.
        model, image_processor: The head is not used.
        history (`str` or `int`, *optional*): See [`whole_as_seen`] and [`cut_as_seen`].
        cache_dir (`Path`, *optional*): Where to keep the result.

    Raises:
        ValueError: If a picture cannot be read; the message names its row.
    """

    def see(content: bytes, row: int) -> torch.Tensor:
        if view == "whole":
            return image_processor(whole_as_seen(content, history, row), return_tensors="pt")["pixel_values"]
        seen = cut_as_seen(content, history, row, image_processor.cut_size)
        return image_processor(seen, return_tensors="pt")["cuts"][:, image_processor.num_cuts // 2]

    def make() -> dict[str, torch.Tensor]:
        moments = []
        for row, image in enumerate(tqdm(pictures["image"], desc=f"Features ({view}, {history})", unit="img")):
            try:
                seen = see(content_of(image) or b"", row)
            except ValueError as error:
                raise ValueError(f"row {row}: {error}") from error
            moments.append(moments_of(model.feature_maps(seen))[0])
        return {"moments": torch.stack(moments)}

    settings = {
        "pictures": hashlib.sha1("".join(pictures["sha1"][:]).encode()).hexdigest(),
        "weights": weights_of(model),
        "view": view,
        "size": dict(image_processor.size) if view == "whole" else image_processor.cut_size,
        "history": history,
        "copies": COPIES_VERSION,
    }
    name = hashlib.sha1(repr(sorted(settings.items(), key=str)).encode()).hexdigest()[:16]
    return cached(cache_dir / f"{name}.safetensors" if cache_dir else None, make, settings)["moments"]


class Moments:
    """The moments of pictures, of both views, see [`view_moments`]."""

    def __init__(
        self,
        pictures: LargePictures,
        model: LargePictureForImageClassification,
        image_processor: LargePictureImageProcessor,
        cache_dir: Path | None,
    ):
        self.pictures, self.how, self.cache_dir = pictures, (model, image_processor), cache_dir

    def __call__(
        self,
        whole_history: str | int | None = None,
        cut_history: str | int | None = None,
        rows: NDArray | None = None,
    ) -> torch.Tensor:
        """Moments after a history of each view: a tensor of shape `(n, 2, num_moments)`, NaN for a missing view.

        Args:
            whole_history, cut_history (`str` or `int`, *optional*): See [`whole_as_seen`] and [`cut_as_seen`].
            rows (`np.ndarray`, *optional*): The pictures to look at. Defaults to all; others are NaN.
        """
        pictures, views = self.pictures, []
        looked_at = np.zeros(len(pictures.whole_rows), bool)
        looked_at[slice(None) if rows is None else rows] = True
        for view, seen, rows_of, history in (
            ("whole", pictures.wholes, pictures.whole_rows, whole_history),
            ("cut", pictures.cuts, pictures.cut_rows, cut_history),
        ):
            there = np.flatnonzero(looked_at & (rows_of >= 0))
            seen = seen if rows is None else seen.select(rows_of[there])
            moments = view_moments(seen, view, *self.how, history, self.cache_dir)
            of_all = torch.full((len(looked_at), moments.shape[1]), torch.nan)
            of_all[there] = moments[rows_of[there]] if rows is None else moments
            views.append(of_all)
        if pictures.originals is not None and rows is None:  # the whole is as the file is
            views[0][pictures.original_rows] = pictures.originals.moments[:, 0]
        return torch.stack(views, dim=1)

    def as_detected(self) -> torch.Tensor:
        """Moments of complete pictures squeezed to squares, and of originals with their own cuts. Others are NaN."""
        moments = self(SQUEEZED, None, self.pictures.complete)
        if self.pictures.originals is not None:
            moments[self.pictures.original_rows] = self.pictures.originals.moments
        return moments

    def as_reduced(self, history: str) -> torch.Tensor:
        """Moments of small copies of what is measured, one of `REDUCED`, with cuts of these. Others are NaN."""
        rows = self.pictures.measured_wholes
        wholes = self.pictures.wholes.select(self.pictures.whole_rows[rows])
        views = [view_moments(wholes, view, *self.how, history, self.cache_dir) for view in VIEWS]
        moments = torch.full((len(self.pictures.whole_rows), 2, views[0].shape[1]), torch.nan)
        moments[rows] = torch.stack(views, dim=1)
        return moments

    def training_copies(self, copies: int) -> torch.Tensor:
        """What heads learn from, `(copies, n, 2, num_moments)`: pictures as they are, then after random histories."""
        return torch.stack([self(None, 0), *(self(seed, seed) for seed in range(1, copies))])
