"""The places of an image that spoke for the verdict."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label as label_components

from .answer import Box, Evidence
from .localization import bounding_box


MOST_PLACES = 3
LEAST_SHARE = 0.05
STRONGEST = 0.1
"""Share of the cells that frames hold. Larger frames move the logit little more than random ones of their size do, see
`evaluate_evidence`."""


def places_of(evidence: NDArray, height: int, width: int) -> list[Evidence]:
    """The places that speak most for a verdict.

    A place is a connected part of the grid, of the tenth of its cells that speak most.

    Args:
        evidence (`np.ndarray` of shape `(rows, columns)`): What each cell of a grid over the image adds to it.
        height, width (`int`): Size of the image in pixels.

    Returns:
        Up to `MOST_PLACES` of them with at least `LEAST_SHARE`, by falling share; none if no cell speaks for it.
    """
    positive = np.maximum(evidence, 0)
    total = float(positive.sum())
    if not total > 0:
        return []
    strongest = np.zeros(positive.size, bool)
    strongest[np.argsort(-positive, axis=None, kind="stable")[: max(1, round(STRONGEST * positive.size))]] = True
    components, count = label_components(strongest.reshape(positive.shape) & (positive > 0))
    rows, columns = evidence.shape
    places: list[Evidence] = []
    for number in range(1, count + 1):
        cells = components == number
        cell_box = bounding_box(cells)
        box: Box = {
            "xmin": cell_box["xmin"] * width // columns,
            "ymin": cell_box["ymin"] * height // rows,
            "xmax": -(-cell_box["xmax"] * width // columns),
            "ymax": -(-cell_box["ymax"] * height // rows),
        }
        places.append({"box": box, "share": round(float(positive[cells].sum()) / total, 3)})
    places.sort(key=lambda place: -place["share"])
    return [place for place in places[:MOST_PLACES] if place["share"] >= LEAST_SHARE]
