"""Traces in a picture, in words."""

from PIL import Image

from .answer import Trace
from .traces.grids import LEAST_BLOCKS, LEAST_SIDE, is_lossless, measured_spectrum, strength_of
from .traces.table import SHOWN, Worth


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


__all__ = ["find_traces"]
