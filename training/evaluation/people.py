"""Agreement of a tagger with people who annotated images.

Nobody labels everything. So what people do not mention counts neither way.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score
from tqdm.auto import tqdm

from tellsign.annotating.agreement import cohen_kappa
from tellsign.modeling.image_loading import load_image
from tellsign.pipelines.localization import box_overlap, whole_image
from tellsign.pipelines.tagger import ArtifactTagger
from tellsign.training.data.annotated import AnnotatedImage

from .metrics import bootstrap
from .tagging import switched_on


@dataclass
class PeoplesLabels:
    """Labels by people and by a tagger, arrays of shape `(num_images, num_artifacts)`.

    Args:
        present: 1 if people say that the artifact is there, 0 if that it is not, NaN if nothing.
        scores, chosen: The tagger's score, and whether it named it.
        pointed: 1 if the heat map's maximum is within a box that people drew, 0 if not, NaN if none.
        overlap: Largest intersection over union of the tagger's box and one of theirs, NaN if none.
    """

    present: NDArray[np.float64]
    scores: NDArray[np.float64]
    chosen: NDArray[np.bool_]
    pointed: NDArray[np.float64]
    overlap: NDArray[np.float64]

    def measured(self) -> dict[str, float | None]:
        """Scores; `None` where there is nothing to measure.

        Precision is of artifacts that people see in some images and not in others, places of boxes of less than the
        whole image. `kappa` is Cohen's, over all that people say.
        """
        precisions = []
        for present, scores in zip(self.present.T, self.scores.T, strict=True):
            known = ~np.isnan(present)
            if len(set(present[known])) == 2:
                precisions.append(average_precision_score(present[known], scores[known]))
        known, has_place = ~np.isnan(self.present), ~np.isnan(self.pointed)
        return {
            "macro_average_precision": float(np.mean(precisions)) if precisions else None,
            "pointing_game": float(self.pointed[has_place].mean()) if has_place.any() else None,
            "box_iou": float(self.overlap[has_place].mean()) if has_place.any() else None,
            "kappa": cohen_kappa((self.present[known] == 1).tolist(), self.chosen[known].tolist()),
        }


def compare(tagger: ArtifactTagger, images: Sequence[AnnotatedImage], names: Sequence[str]) -> PeoplesLabels:
    """Runs a tagger over annotated images, for artifacts among which may be some that it never names."""
    index_of, shape = {name: index for index, name in enumerate(names)}, (len(images), len(names))
    present, pointed, overlap = (np.full(shape, np.nan) for _ in range(3))
    scores, chosen = np.zeros(shape), np.zeros(shape, bool)
    for row, annotated in enumerate(tqdm(images, desc="Tagging", unit="img", leave=False)):
        image = load_image(annotated.path)
        for artifact in tagger([image], candidate_labels=names)[0]:
            chosen[row, index_of[artifact["label"]]] = True
        everywhere = whole_image(image.height, image.width)
        placed = [name for name in annotated.boxes if name in index_of and everywhere not in annotated.boxes[name]]
        with switched_on(tagger, names):
            scored = tagger([image], candidate_labels=names, threshold=0.0)[0]
            located = tagger([image], candidate_labels=placed, threshold=0.0, return_heatmap=True)[0]
        for artifact in scored:
            scores[row, index_of[artifact["label"]]] = artifact["score"]
        for name, is_there in annotated.artifacts.items():
            if name in index_of:
                present[row, index_of[name]] = is_there
        for artifact in located:
            column, boxes = index_of[artifact["label"]], annotated.boxes[artifact["label"]]
            y, x = np.unravel_index(artifact["heatmap"].argmax(), artifact["heatmap"].shape)
            pointed[row, column] = any(
                box["xmin"] <= x < box["xmax"] and box["ymin"] <= y < box["ymax"] for box in boxes
            )
            overlap[row, column] = max(box_overlap(artifact["box"], box) for box in boxes)
    return PeoplesLabels(present, scores, chosen, pointed, overlap)


def peoples_scores(
    tagger: ArtifactTagger, images: Sequence[AnnotatedImage], names: Sequence[str], resamples: int, seed: int = 0
) -> dict:
    """Agreement of a tagger with people, with 95% bootstrap intervals by resampled images.

    `judged` is the number of pairs of image and artifact of which people say something.
    """
    compared = compare(tagger, images, names)
    arrays = list(vars(compared).values())
    return {
        "images": len(images),
        "judged": int((~np.isnan(compared.present)).sum()),
        "scores": compared.measured(),
        "intervals": bootstrap([np.stack(arrays, axis=-1)], _measured_of, resamples, seed),
    }


def _measured_of(stacked: NDArray) -> dict[str, float | None]:
    """Scores of the arrays of [`PeoplesLabels`], stacked along a last axis."""
    present, scores, chosen, pointed, overlap = np.moveaxis(stacked, -1, 0)
    return PeoplesLabels(present, scores, chosen.astype(bool), pointed, overlap).measured()
