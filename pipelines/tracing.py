"""Traces in a picture, in words."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from tellsign.configuration.artifacts import find_artifact

from .answer import ExplainedArtifact, Trace
from .localization import whole_image
from .traces.grids import LEAST_BLOCKS, LEAST_SIDE, LOSSLESS, LOSSLESS_TIFF, strength_of
from .traces.spectrum import middle_of, residual_spectrum
from .traces.table import GENERATED, OTHER_PICTURES, PHOTOGRAPHS, SHOWN, Worth


SIGNATURES = find_artifact("Frequency domain signatures").name


def find_traces(image: Image.Image) -> tuple[list[Trace], str]:
    """The traces that a picture shows.

    Args:
        image (`PIL.Image.Image`): As Pillow opens its file: with its format, neither turned nor resized.

    Returns:
        The traces by falling lift, and a reason if they could not be measured, else an empty string.
    """
    if min(image.size) < LEAST_SIDE:
        return [], f"Traces are not measured in pictures with a side below {LEAST_SIDE} pixels."
    if not _keeps_pixels(image):
        return [], "Traces are measured only in files of PNG, BMP, GIF, PPM and lossless TIFF."
    if image.mode.startswith(("I", "F")):
        return [], "Traces are not measured in pictures of more than 8 bits a channel."
    if image.mode in ("1", "P", "PA"):
        return [], "Traces are not measured in pictures with a palette, in which dithering draws grids."
    spectrum, blocks = residual_spectrum(np.asarray(middle_of(image).convert("L")))
    if blocks < LEAST_BLOCKS:
        return [], "The picture has too little detail for traces to be measured."
    found: list[Trace] = []
    for worth in SHOWN:
        if (strength := strength_of(worth.grid, spectrum)) > worth.threshold:
            found.append(
                {
                    "name": worth.grid.name,
                    "toward": "fake",
                    "strength": round(strength, 1),
                    "lift": round(worth.lift, 1),
                    "box": None,
                    "text": f"{worth.sentence} {_how_often(worth)}",
                }
            )
    return sorted(found, key=lambda trace: -trace["lift"]), ""


def signatures_of(
    traces: Sequence[Trace],
    height: int,
    width: int,
    *,
    candidate_labels: Sequence[str] | None = None,
    threshold: float | None = None,
) -> list[ExplainedArtifact]:
    """The artifact that traces of generators are, if there are any.

    The first of them explains it. Its score is the [`Worth.precision`] of that one.

    Args:
        traces (`Sequence[Trace]`): From [`find_traces`].
        height, width (`int`): Size of the image in pixels.
        candidate_labels (`Sequence[str]`, *optional*):
            The artifacts to look for, in any spelling that [`find_artifact`] knows. Defaults to all.
        threshold (`float`, *optional*): Least score in [0, 1]. Defaults to none.
    """
    if not traces or not (candidate_labels is None or any(map(_means_signatures, candidate_labels))):
        return []
    (score,) = (worth.precision for worth in SHOWN if worth.grid.name == traces[0]["name"])
    if threshold is not None and score < threshold:
        return []
    box = whole_image(height, width)
    return [{"label": SIGNATURES, "score": score, "box": box, "explanation": traces[0]["text"]}]


def _means_signatures(label: str) -> bool:
    """Whether a name is one of those of the artifact that traces are."""
    try:
        return find_artifact(label).name == SIGNATURES
    except ValueError:  # a tagger may know others
        return False


def _keeps_pixels(image: Image.Image) -> bool:
    """Whether the format of an image's file certainly keeps the pixels."""
    return image.format in LOSSLESS and (image.format != "TIFF" or image.info.get("compression") in LOSSLESS_TIFF)


def _how_often(worth: Worth) -> str:
    photographs, others, generated = (
        f"1 of {round(1 / share)}" if share >= 1 / pictures else f"fewer than 1 of {pictures}"
        for share, pictures in (
            (worth.photographs, PHOTOGRAPHS),
            (worth.other_pictures, OTHER_PICTURES),
            (worth.generated, GENERATED),
        )
    )
    return (
        f"In lossless files, {generated} generated pictures shows it, {photographs} photographs, and {others} other "
        "pictures by people."
    )
