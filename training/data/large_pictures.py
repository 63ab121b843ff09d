"""Pictures that the network for large ones learns from, and what is known of them."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file

from tellsign.modeling.modeling_large_picture import moments_of_features

from .sources import content_of, drop_duplicates, load_sources


DATA_HELP = (
    "Parquet files, data sets, or folders with real/ and fake/, whose deeper folders are generators and collections. "
    "Columns: image; label, real or fake. Better also: generator, the model or the collection; family, models whose "
    "images look alike; kind, photo or another such as artwork; source, REPOSITORY:FILE, by which a person's pictures "
    "are known."
)
"""Help of the commands that read large pictures."""
CUTS_HELP = (
    "Cuts at native pixels, with the same columns and whole, the sha1 of the picture's file among the data. Without "
    "them the data are taken for original files, and cut."
)
ORIGINALS_HELP = (
    "What the backbone gives of the original files of some of the data: features as safetensors, and a table .tsv "
    "beside them. Heads learn from these wholes too. Verdicts are fitted and measured on these files."
)
FACTS = ("source", "format", "width", "height")
KNOWN = ("label", "generator", "family", "kind", "person")


@dataclass(frozen=True)
class Originals:
    """Original files as the detector sees them: wholes squeezed to squares, and three cuts at native pixels.

    Args:
        moments (`torch.FloatTensor` of shape `(n, 2, num_moments)`): Of wholes and of cuts, see [`moments_of`].
        places (`np.ndarray` of shape `(n,)`): The pictures, reduced, that were made of them.
        facts (`dict`): Of each file, `FACTS` as arrays.
    """

    moments: torch.Tensor
    places: NDArray
    facts: dict[str, NDArray]


@dataclass(frozen=True)
class LargePictures:
    """Pictures of which there is the whole, a cut at native pixels, or both.

    Args:
        wholes, cuts (`datasets.Dataset`): From [`load_pictures`].
        whole_rows, cut_rows (`np.ndarray` of shape `(n,)`): The row of each picture in these, -1 where there is none.
        columns (`Mapping`): What is known of each picture, as arrays.
        originals ([`Originals`], *optional*): Of the last pictures. These have a cut, and no whole in `wholes`.
    """

    wholes: Dataset
    cuts: Dataset
    whole_rows: NDArray
    cut_rows: NDArray
    columns: Mapping[str, NDArray]
    originals: Originals | None = None

    @property
    def complete(self) -> NDArray:
        """The pictures of which both are there."""
        return np.flatnonzero((self.whole_rows >= 0) & (self.cut_rows >= 0))

    @property
    def original_rows(self) -> NDArray:
        """The pictures that are original files."""
        count = 0 if self.originals is None else len(self.originals.moments)
        return np.arange(len(self.whole_rows) - count, len(self.whole_rows))

    @property
    def measured(self) -> NDArray:
        """The pictures on which a detector is measured: originals, or where there are none, complete ones."""
        return self.complete if self.originals is None else self.original_rows

    def shorter_sides(self) -> NDArray:
        """Of the files of `measured`, in pixels. Of files that are not there, but for a cut, it is unknown: inf."""
        if self.originals is not None:
            return np.minimum(self.originals.facts["width"], self.originals.facts["height"]).astype(float)
        if self.cuts is not self.wholes:
            return np.full(len(self.complete), np.inf)
        return _shorter_sides(self.wholes.select(self.whole_rows[self.complete])).astype(float)

    @property
    def measured_wholes(self) -> NDArray:
        """The pictures whose wholes are those of `measured`, perhaps reduced."""
        return self.complete if self.originals is None else self.originals.places


def load_large_pictures(
    data: Sequence[str], cuts: Sequence[str], smallest_side: int, originals: Path | None = None
) -> LargePictures:
    """Pictures with their cuts, first those that have one, then those without, then original files.

    Args:
        data, smallest_side: As for [`load_pictures`].
        cuts (`Sequence[str]`): Sources of cuts. Without them cuts are taken from the pictures themselves.
        originals (`Path`, *optional*): See [`load_originals`]. Each counts as one more picture of the same source.
    """
    wholes = load_pictures(data, smallest_side)
    rows = np.arange(len(wholes))
    pictures = LargePictures(wholes, wholes, rows, rows, columns_of(wholes))
    if cuts:
        native = drop_duplicates(load_sources(list(cuts), "train"))
        row_of = {sha1: row for row, sha1 in enumerate(wholes["sha1"][:])}
        joined = np.asarray([row_of.get(sha1, -1) for sha1 in native["whole"][:]])
        alone = np.setdiff1d(rows, joined)
        whole_rows, cut_rows = np.append(joined, alone), np.append(np.arange(len(native)), np.full(len(alone), -1))
        of_cuts = columns_of(native)
        known = {name: np.append(of_cuts[name], of[alone]) for name, of in pictures.columns.items()}
        pictures = LargePictures(wholes, native, whole_rows, cut_rows, known)
    if originals is None:
        return pictures
    sha1s = pictures.wholes["sha1"][:]
    loaded = load_originals(originals, [sha1s[row] if row >= 0 else "" for row in pictures.whole_rows])
    places = loaded.places
    return replace(
        pictures,
        whole_rows=np.concatenate([pictures.whole_rows, np.full(len(places), -1)]),
        cut_rows=np.concatenate([pictures.cut_rows, pictures.cut_rows[places]]),
        columns={name: np.concatenate([values, values[places]]) for name, values in pictures.columns.items()},
        originals=loaded,
    )


def load_originals(path: Path, wholes: Sequence[str]) -> Originals:
    """Reads features, a tensor `(n, 2, num_moments)` of safetensors, and the table of the same name with `.tsv`.

    The table has a row for each, the columns `FACTS`, and `whole`, the sha1 of a picture. Those count whose picture is
    among `wholes`. A `ValueError` says if there are none, or the table has another length.
    """
    with path.with_suffix(".tsv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file, delimiter="\t"))
    features = load_file(path)["features"].float()
    if len(features) != len(table):
        raise ValueError(f"{path}: has features of {len(features)} files, and a table of {len(table)}")
    place_of = {sha1: place for place, sha1 in enumerate(wholes) if sha1}
    found = [at for at, file in enumerate(table) if file["whole"] in place_of]
    if not found:
        raise ValueError(f"{path}: holds no original of these pictures")
    facts = {name: np.asarray([table[at][name] for at in found]) for name in FACTS}
    facts |= {name: facts[name].astype(int) for name in ("width", "height")}
    places = np.asarray([place_of[table[at]["whole"]] for at in found])
    return Originals(moments_of_features(features[found]), places, facts)


def load_pictures(data: Sequence[str], smallest_side: int) -> Dataset:
    """The pictures of several sources, once each, without those whose shorter side is smaller.

    A `ValueError` says if none is large enough. Training and scoring take those of half the side at which pictures
    are seen: others would be mostly enlarged.
    """
    pictures = drop_duplicates(load_sources(list(data), "train"))
    large = np.flatnonzero(_shorter_sides(pictures) >= smallest_side)
    if not len(large):
        raise ValueError(f"{', '.join(data)}: no picture has a short side of {smallest_side} pixels")
    return pictures.select(large)


def _shorter_sides(pictures: Dataset) -> NDArray:
    contents = (content_of(image) or b"" for image in pictures["image"])
    return np.asarray([min(Image.open(io.BytesIO(content)).size) for content in contents])


def columns_of(pictures: Dataset) -> dict[str, NDArray]:
    """What is known of each picture, as arrays; without a column `kind` real ones count as photographs."""
    columns = {name: np.asarray(pictures[name][:]) for name in KNOWN}
    columns["kind"] = np.where(columns["kind"] == "", "photo", columns["kind"])
    return columns
