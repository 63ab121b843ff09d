"""What the frozen part of the network gives of original files that are not at hand."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from tellsign.modeling.modeling_large_picture import moments_of_features


FACTS = ("source", "format", "width", "height")


@dataclass(frozen=True)
class Originals:
    """Original files as the detector sees them: wholes squeezed to squares, and three cuts at native pixels.

    Args:
        moments (`torch.FloatTensor` of shape `(n, 2, num_moments)`): Of wholes and of cuts, see [`moments_of`].
        places (`np.ndarray` of shape `(n,)`): The pictures, reduced, that were made of them.
        facts (`dict`): `source`, `format`, `width` and `height` of each file, as arrays.
    """

    moments: torch.Tensor
    places: NDArray
    facts: dict[str, NDArray]


def load_originals(path: Path, wholes: Sequence[str]) -> Originals:
    """Reads features, a tensor `(n, 2, num_moments)` of safetensors, and the table of the same name with `.tsv`.

    Args:
        path (`Path`): Of the features. The table has their rows, the columns `FACTS`, and `whole`.
        wholes (`Sequence[str]`): The sha1 of pictures, one of which each `whole` names.

    Returns:
        [`Originals`] of those of which a picture is there.

    Raises:
        ValueError: If the table has another length, or none of its pictures is there.
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
