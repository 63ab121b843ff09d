"""Traces in a picture, in words."""

from collections.abc import Sequence

from PIL import Image

from tellsign.configuration.artifacts import find_artifact

from .answer import ExplainedArtifact, Trace
from .localization import whole_image
from .traces.grids import LEAST_BLOCKS, LEAST_SIDE, is_lossless, measured_spectrum, strength_of
from .traces.table import SHOWN, Worth


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
    if image.format is None:
        return [], "Traces are measured in files alone, not in arrays or changed images."
    if image.mode.startswith(("I", "F")):
        return [], "Traces are not measured in pictures of more than 8 bits a channel."
    spectrum, blocks = measured_spectrum(image)
    if blocks < LEAST_BLOCKS:
        return [], "The picture has too little detail for traces to be measured."
    lossless = is_lossless(image)
    found: list[Trace] = []
    for worth in SHOWN:
        if worth.is_lossless == lossless and (strength := strength_of(worth.grid, spectrum)) > worth.threshold:
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
    shares = {(worth.grid.name, round(worth.lift, 1)): worth.photographs for worth in SHOWN}
    found = [trace for trace in traces if trace["toward"] == "fake"]
    if not found:
        return []
    rarest = min(shares[trace["name"], trace["lift"]] for trace in found)
    box = whole_image(height, width)
    return [{"label": SIGNATURES, "score": 1 - rarest, "box": box, "explanation": found[0]["text"]}]


def _how_often(worth: Worth) -> str:
    photographs, others, generated = (
        f"1 of {round(1 / share)}" if share >= 0.005 else "fewer than 1 of 200"
        for share in (worth.photographs, worth.other_pictures, worth.generated)
    )
    kind = "lossless" if worth.is_lossless else "compressed"
    return (
        f"In {kind} files, {generated} generated pictures shows it, {photographs} photographs, and {others} other "
        "pictures by people."
    )
