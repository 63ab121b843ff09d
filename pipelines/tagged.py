"""Artifacts that were named in an image, with their places."""

from collections.abc import Sequence
from typing import NotRequired, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedConfig

from tellsign.configuration.configuration_artifact_siglip import GLOBAL_ARTIFACTS

from .localization import Box, box_in, heat_map, whole_image


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


def tagged_in_large(
    config: PreTrainedConfig,
    logits: torch.Tensor,
    map_logits: torch.Tensor,
    height: int,
    width: int,
    *,
    threshold: float | None = None,
    top_k: int | None = None,
    candidate_labels: Sequence[str] | None = None,
    return_heatmap: bool = False,
) -> list[TaggedArtifact]:
    """The artifacts that a detector names in a large picture.

    Args:
        config (`PreTrainedConfig`): The detector's, with `large_artifact_labels`.
        logits (`torch.FloatTensor` of shape `(num_labels,)`): Its `artifact_logits` of the picture.
        map_logits (`torch.FloatTensor` of shape `(num_labels, rows, columns)`): Its `artifact_map_logits`.
        height, width (`int`): Size of the picture in pixels.
        threshold (`float`, *optional*, defaults to 0.5): Least score in [0, 1] of a named artifact.
        candidate_labels (`Sequence[str]`, *optional*): Names to choose from, in the detector's spelling.
        top_k, return_heatmap: As for [`tagged_artifacts`].
    """
    labels = list(config.large_artifact_labels)
    scores = logits.float().sigmoid().cpu().numpy()
    is_candidate = np.asarray([candidate_labels is None or label in candidate_labels for label in labels])
    chosen = is_candidate & (scores >= (0.5 if threshold is None else threshold))
    maps = map_logits.float().sigmoid().cpu().numpy()
    return tagged_artifacts(labels, scores, chosen, maps, height, width, top_k=top_k, return_heatmap=return_heatmap)


__all__ = ["TaggedArtifact", "tagged_artifacts", "tagged_in_large"]
