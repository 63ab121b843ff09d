"""Traces in a picture, in words."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from tellsign.configuration.artifacts import find_artifact

from .answer import ExplainedArtifact, Trace
from .localization import whole_image
from .traces.grids import LEAST_BLOCKS, LEAST_SIDE, LOSSLESS, strength_of
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
    if image.format not in LOSSLESS:
        return [], "Traces are measured only in lossless files, such as PNG."
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


def signatures_of(traces: Sequence[Trace], height: int, width: int) -> list[ExplainedArtifact]:
    """The artifact that traces of generators are, if there are any.

    Its score is the share of photographs that do not show the rarest of them. The strongest explains it.

    Args:
        traces (`Sequence[Trace]`): From [`find_traces`].
        height, width (`int`): Size of the image in pixels.
    """
    if not traces:
        return []
    shares = {worth.grid.name: worth.false_alarms for worth in SHOWN}
    rarest = min(shares[trace["name"]] for trace in traces)
    box = whole_image(height, width)
    return [{"label": SIGNATURES, "score": 1 - rarest, "box": box, "explanation": traces[0]["text"]}]


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
