"""What an answer shows of an image: the places that spoke for the verdict, and the artifacts that were named."""

from collections.abc import Sequence
from typing import NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label as label_components

from tellsign.configuration.configuration_artifact_siglip import GLOBAL_ARTIFACTS

from .formats import Evidence, place_of
from .localization import Box, bounding_box, box_in, heat_map, whole_image


MOST_PLACES = 3
LEAST_SHARE = 0.05


def places_of(evidence: NDArray, height: int, width: int) -> list[Evidence]:
    """The places that speak most for a verdict.

    A place is a connected part of the grid whose cells speak more than the mean of those that speak for the verdict.

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
    components, count = label_components(positive >= positive[positive > 0].mean())
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


def summary_of(
    places: list[Evidence], artifacts: int | None, height: int, width: int, leaning: str | None = None
) -> str:
    """A few short sentences: how many artifacts were found, and which place speaks most for the verdict.

    A place that takes most of the image is not named.

    Args:
        places (`list[Evidence]`): From [`places_of`].
        artifacts (`int`, *optional*): How many were found; `None` if the image was not searched.
        height, width (`int`): Size of the image in pixels.
        leaning (`str`, *optional*): Of an uncertain verdict the likelier one, for which the places speak.
    """
    sentences = []
    if artifacts is not None:
        found = f"{artifacts} artifact{'s' * (artifacts > 1)} found." if artifacts else "No known artifact was found."
        sentences.append(found)
    if leaning:
        sentences.append(f'It leans to "{leaning}".')
    if places and (place := place_of(places[0]["box"], width, height)) != "whole image":
        sentences.append(f"Strongest evidence: {place}, {places[0]['share']:.0%}.")
    return " ".join(sentences)


class TaggedArtifact(TypedDict):
    """An artifact in an image.

    `score` is its probability in [0, 1], and `box` is in pixels of the image. `heatmap`, if asked for, is how strongly
    each pixel shows it: float32 of shape `(height, width)`, in [0, 1].
    """

    label: str
    score: float
    box: Box
    heatmap: NotRequired[NDArray[np.float32]]


def tagged_artifacts(
    labels: Sequence[str],
    scores: NDArray,
    chosen: NDArray[np.bool_],
    maps: NDArray,
    height: int,
    width: int,
    *,
    top_k: int | None = None,
    return_heatmap: bool = False,
    global_artifacts: Sequence[str] = GLOBAL_ARTIFACTS,
    box_threshold: float = 0.5,
) -> list[TaggedArtifact]:
    """The artifacts that were chosen, the likeliest first.

    Args:
        labels (`Sequence[str]`): Their names.
        scores, chosen (`np.ndarray` of shape `(num_labels,)`): The score of each, in [0, 1], and whether it is named.
        maps (`np.ndarray` of shape `(num_labels, rows, columns)`): Where each one shows, in [0, 1].
        height, width (`int`): Size of the image in pixels.
        top_k (`int`, *optional*): Largest number of artifacts.
        return_heatmap (`bool`, *optional*, defaults to `False`): Whether each one comes with its `heatmap`.
        global_artifacts (`Sequence[str]`, *optional*): Those whose place is the whole image.
        box_threshold (`float`, *optional*, defaults to 0.5): See [`box_in`].
    """
    artifacts: list[TaggedArtifact] = []
    for index in np.argsort(-scores, kind="stable"):
        if not chosen[index] or len(artifacts) == top_k:
            continue
        is_global = labels[index] in global_artifacts
        artifact: TaggedArtifact = {
            "label": labels[index],
            "score": float(scores[index]),
            "box": whole_image(height, width) if is_global else box_in(maps[index], height, width, box_threshold),
        }
        if return_heatmap:
            artifact["heatmap"] = heat_map(maps[index], height, width)
        artifacts.append(artifact)
    return artifacts


__all__ = ["TaggedArtifact", "places_of", "summary_of", "tagged_artifacts"]
