"""The pipeline's answer: its types, and the same in words.

`tellsign/answer.schema.json` holds the types for all programs that answer, and a test holds it against these.
"""

from collections.abc import Iterable
from typing import NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from .provenance.statement import (
    BROKEN,
    CLAIMS,
    MARK,
    NOT_READ,
    OF_CAMERAS,
    OF_GENERATORS,
    TRUSTED,
    UNKNOWN,
    UNREADABLE,
    Statement,
)


PLACES = {f"{row} {column}".strip() for row in ("top", "", "bottom") for column in ("left", "", "right")} - {""}
PLACES |= {"center", "whole image"}
"""What [`place_of`] may say."""
NO_LEAN = (0.25, 0.75)
"""Between these probabilities an uncertain image leans to neither verdict. Probabilities are calibrated, so more than
a quarter of such leans would be wrong; `leave_out` prints the calibration error."""
LEAST_SIDE = 16
"""Pixels of the shorter side below which a verdict means nothing: half of what the packaged detector looks at."""
SMALL_SIDE = 64
"""Pixels of the shorter side from which an image is not small. A detector that sees fewer is made for small ones."""
LEAST_CONTRAST = 2.0
"""Standard deviation of levels, from 0 to 255, below which an image counts as of one color. A line of 100 black pixels
on 1024 x 1024 white ones has 2.5."""
MOST_STRETCHED = 8
"""How many times as long as wide an image may be. It is seen squeezed into a square, of 256 pixels if it is large: a
part as wide as high then has 32 columns, as many as small images are seen at."""
UNTOLD = ("uncertain", 0.5)
"""Label and probability of an image with a `verdict_note`. They say nothing."""
SOURCES = {"png_text": "PNG text", "hidden_text": "text hidden in its pixels", "watermark": "watermark"}
SOURCES |= {source: f"{source.upper()} data" for source in ("c2pa", "iptc", "xmp", "exif")}


class Box(TypedDict):
    """A rectangle in pixels, with exclusive maxima."""

    xmin: int
    ymin: int
    xmax: int
    ymax: int


class Evidence(TypedDict):
    """A place that spoke for the verdict, and its share of all that did, in (0, 1]."""

    box: Box
    share: float


class ExplainedArtifact(TypedDict):
    """An artifact and its place in pixels of the image.

    A tagger gives its `score`, the probability in [0, 1] that it is there, and an explainer the sentence that explains
    it. Of a grid that runs through a file the score is how probably a generator left it: the share of generated
    pictures among those that show it, of as many by people as generated. On request there is a `heatmap`, but of a
    grid: how strongly each pixel shows the artifact, float32 of shape `(height, width)`, in [0, 1].
    """

    label: str
    score: NotRequired[float]
    box: Box
    explanation: NotRequired[str]
    heatmap: NotRequired[NDArray[np.float32]]


class Trace(TypedDict):
    """Something in a file's own pixels that anyone can check.

    Args:
        name (`str`): What it is called.
        toward (`str`): For which verdict it speaks, `"fake"` or `"real"`.
        strength (`float`):
            How far it stands out. Of a grid: the natural logarithm of the spectrum's power at its peaks, less the
            largest near them.
        lift (`float`): How many times as often generated pictures show it as photographs, in such files.
        box ([`Box`], *optional*): Where it is; `None` if it runs through the whole picture.
        text (`str`): What it is and how often it is found, in two sentences.
    """

    name: str
    toward: str
    strength: float
    lift: float
    box: Box | None
    text: str


class FailedImage(TypedDict):
    """The reason why an image could not be opened, in place of an explanation, and the image's name as there."""

    image: NotRequired[str]
    error: str


class ImageExplanation(TypedDict):
    """The answer to one image.

    Args:
        image (`str`):
            What the image is called, by programs that take names. The pipeline takes images, and answers in their
            order.
        label (`str`): `"real"`, `"fake"` or `"uncertain"`.
        fake_probability (`float`): Calibrated, in [0, 1]. With a `verdict_note` it is 0.5 and says nothing.
        operating_point (`str`): `"cautious"` or `"balanced"`: by which thresholds the label is given.
        verdict_note (`str`):
            The reason why nothing can be told of the image; usually empty. The label is then `"uncertain"`, and there
            are neither evidence nor artifacts.
        animated (`bool`): True, and there, if the image has more frames than the first, which was judged.
        width, height (`int`): Of the image in pixels.
        evidence (`list` of [`Evidence`]): The places that spoke most for the likelier verdict.
        artifacts (`list` of [`ExplainedArtifact`]): By falling score.
        artifacts_note (`str`): The reason why the image was not searched for artifacts; empty if it was.
        traces (`list` of [`Trace`]): By falling lift. They change no probability.
        traces_note (`str`): The reason why traces were not measured; empty if they were.
        provenance (`list` of [`Statement`]): What the file states.
        evidence_map (`np.ndarray` of shape `(rows, columns)`):
            On request, what each place adds to the logit of fake. Not there with a `verdict_note`.
        summary (`str`): A few short sentences that sum this up.
    """

    image: NotRequired[str]
    label: str
    fake_probability: float
    operating_point: str
    verdict_note: str
    animated: NotRequired[bool]
    width: int
    height: int
    evidence: list[Evidence]
    artifacts: list[ExplainedArtifact]
    artifacts_note: str
    traces: list[Trace]
    traces_note: str
    provenance: list[Statement]
    evidence_map: NotRequired[NDArray[np.float32]]
    summary: str


def place_of(box: Box, width: int, height: int) -> str:
    """Says in words where in an image a box is.

    Args:
        box ([`Box`]): In pixels.
        width, height (`int`): Size of the image in pixels.

    Returns:
        `str`: The thirds of the image's height and width that hold the center of the box, "top left" to "bottom
        right", or "center". A direction in which the box covers more than two thirds of the image is left out; if
        that is both, "whole image".

    Raises:
        ValueError: If the box is empty or reaches beyond the image.
    """
    if not (0 <= box["xmin"] < box["xmax"] <= width and 0 <= box["ymin"] < box["ymax"] <= height):
        raise ValueError(f"box {dict(box)} is not inside an image of {width}x{height} pixels")

    def third(low: int, high: int, size: int, names: tuple[str, str, str]) -> str | None:
        return None if 3 * (high - low) > 2 * size else names[3 * (low + high) // (2 * size)]

    row = third(box["ymin"], box["ymax"], height, ("top", "", "bottom"))
    column = third(box["xmin"], box["xmax"], width, ("left", "", "right"))
    if row is None and column is None:
        return "whole image"
    return f"{row or ''} {column or ''}".strip() or "center"


def box_of_place(place: str, width: int, height: int) -> Box:
    """The part of an image, made of thirds, that a place from [`place_of`] names.

    Args:
        place (`str`): "top left", "center", "whole image", ...
        width, height (`int`): Size of the image in pixels.

    Returns:
        [`Box`] in pixels.
    """

    def part(size: int, first: str, last: str) -> tuple[int, int]:
        if first in place:
            return 0, -(-size // 3)
        if last in place:
            return 2 * size // 3, size
        return (size // 3, -(-2 * size // 3)) if place == "center" else (0, size)

    (ymin, ymax), (xmin, xmax) = part(height, "top", "bottom"), part(width, "left", "right")
    return Box(xmin=xmin, ymin=ymin, xmax=xmax, ymax=ymax)


def in_words(statement: Statement) -> str:
    """A statement as a sentence without its end, such as "made by a generative model, GPT-4o (C2PA, signature valid,
    signed as OpenAI by a certificate that nobody vouches for)". The names in it are those of the file: escape them
    where that matters."""
    source = SOURCES.get(statement["source"], statement["source"].upper())
    if statement["claim"] == UNREADABLE:
        return f"something in its {source} that cannot be read"
    if statement["claim"] == NOT_READ:
        return f"something in its {source} that was not read ({statement['text']})"
    details = [source.removesuffix(" data")]
    if statement["signature"]:
        details.append(f"signature {statement['signature']}{_signer_of(statement)}")
    if statement["hash"] == "differs":
        details.append("but the file was changed after that")
    claim, maker = CLAIMS.get(statement["claim"], statement["claim"]), _maker_of(statement)
    shown = statement["text"] if statement["claim"] in ("camera", "") else ""
    return f"{claim}{maker and ', '}{maker}{shown and ': '}{shown} ({', '.join(details)})"


def speaker_of(statement: Statement) -> str:
    """What makes a statement, as the beginning of a sentence."""
    return "The pixels say" if statement["trust"] == MARK else "The file states"


def _maker_of(statement: Statement) -> str:
    return f"{statement['generator']} {statement['version']}".strip()


def _signer_of(statement: Statement) -> str:
    """Whom a certificate names, and who vouches for it."""
    signer, trust = statement["signer"], statement["trust"]
    if trust == TRUSTED:
        return f", signed by {signer or 'somebody without a name'}, whose certificate is trusted"
    named = f", signed as {signer}" if signer else ", signed" if trust == UNKNOWN else ""
    return named + " by a certificate that nobody vouches for" * (trust == UNKNOWN)


def says_generated(statement: Statement) -> bool:
    """Whether a statement says that a file is generated, at least in part, and nothing shows that it is broken."""
    return statement["claim"] in OF_GENERATORS and statement["trust"] != BROKEN


def leading_statement(statements: Iterable[Statement]) -> Statement | None:
    """The statement with which a summary begins: the one that is best vouched for, then the one that claims most."""
    order = [*CLAIMS, UNREADABLE, NOT_READ]
    vouched = [TRUSTED, MARK, UNKNOWN]

    def rank(statement: Statement) -> tuple[int, int]:
        claim, trust = statement["claim"], statement["trust"]
        is_vouched = trust in vouched and claim not in (UNREADABLE, NOT_READ)
        return vouched.index(trust) if is_vouched else len(vouched), order.index(claim)

    return min((statement for statement in statements if statement["claim"]), key=rank, default=None)


def is_undecided(label: str, fake_probability: float) -> bool:
    """Whether an image is uncertain and leans to neither verdict."""
    return label == "uncertain" and NO_LEAN[0] <= fake_probability <= NO_LEAN[1]


def doubt_of(label: str, fake_probability: float, width: int, height: int, contrast: float, seen: int | None) -> str:
    """The reason why nothing can be told of an image, whose label and probability are then [`UNTOLD`]; usually empty.

    Args:
        label, fake_probability: What the network says.
        width, height (`int`): Size of the image in pixels.
        contrast (`float`): What [`contrast_of`] the image is.
        seen (`int`, *optional*): Side in pixels at which the network that judged sees images, if it has one.
    """
    side = min(width, height)
    if side < LEAST_SIDE:
        return "The image has too few pixels to tell."
    if contrast < LEAST_CONTRAST:
        return "The image is of nearly one color: that is too little to tell."
    if max(width, height) > MOST_STRETCHED * side:
        return f"The image is a strip, more than {MOST_STRETCHED} times as long as wide: that is too narrow to tell."
    if seen is not None and seen < SMALL_SIDE <= side:
        return f"This detector sees {seen} pixels a side: it was made for small images, not for this one."
    if side < SMALL_SIDE and is_undecided(label, fake_probability):
        return f"Below {SMALL_SIDE} pixels this detector only tells images like those that it learned from."
    return ""


def summary_of(answer: ImageExplanation) -> str:
    """A few short sentences: what the file or its watermark states, then [`findings_of`] its pixels.

    The names in it are those of the file: escape them where that matters.
    """
    stated = leading_statement(answer["provenance"])
    return " ".join(([f"{speaker_of(stated)}: {in_words(stated)}."] if stated else []) + findings_of(answer))


def findings_of(answer: ImageExplanation) -> list[str]:
    """What the pixels say, in sentences.

    To what an uncertain image leans, the strongest trace and the names of others, the strongest evidence, and how many
    artifacts were found or why they were not looked for.
    """
    count, note = len(answer["artifacts"]), answer.get("artifacts_note")
    found = [f"{count} artifact{'s' * (count > 1)} found."] if count else []
    found += [note] if note else [] if count else ["No known artifact was found."]
    shown = answer.get("traces", [])
    traces = [trace["text"] for trace in shown[:1]]
    if len(shown) > 1:
        traces.append(f"Also found: {', '.join(trace['name'] for trace in shown[1:])}.")
    doubt = answer.get("verdict_note")
    return [*([doubt] if doubt else _lean(answer)), *traces, *_strongest(answer), *found]


def leaning(answer: ImageExplanation) -> str | None:
    """The verdict for which an answer's evidence speaks; `None` if that would mislead.

    It is the likelier one. There is none if a trace, a mark or a trusted statement speaks against it, if a note says
    that nothing can be told, or if the image is uncertain and its probability near the middle. What anybody can write
    into the file hides nothing.
    """
    if answer.get("verdict_note"):
        return None
    probability = answer["fake_probability"]
    likelier = "fake" if probability > 0.5 else "real"
    if is_undecided(answer["label"], probability):
        return None
    against = [_contradicts(statement, likelier) for statement in answer.get("provenance", ())]
    against += [trace["toward"] != likelier for trace in answer.get("traces", ())]
    return None if any(against) else likelier


def _lean(answer: ImageExplanation) -> list[str]:
    """To which verdict an uncertain image leans."""
    if answer["label"] != "uncertain":
        return []
    if is_undecided(answer["label"], answer["fake_probability"]):
        return ['It leans to neither "real" nor "fake".']
    return [f'It leans to "{lean}".' for lean in [leaning(answer)] if lean]


def _strongest(answer: ImageExplanation) -> list[str]:
    """The strongest evidence for the verdict, or for that to which the image leans."""
    if lean := leaning(answer):
        for strongest in answer.get("evidence", [])[:1]:
            place = place_of(strongest["box"], answer["width"], answer["height"])
            if place != "whole image":  # which says nothing
                return [f'Strongest evidence for "{lean}": {place}, {strongest["share"]:.0%} of the total.']
    return []


def _contradicts(statement: Statement, verdict: str) -> bool:
    """Whether a statement that somebody vouches for, or a mark, speaks against a verdict."""
    holds = statement["trust"] in (TRUSTED, MARK)
    return holds and statement["claim"] in (OF_GENERATORS if verdict == "real" else OF_CAMERAS)


__all__ = [
    "CLAIMS",
    "NOT_READ",
    "PLACES",
    "SOURCES",
    "UNREADABLE",
    "UNTOLD",
    "Box",
    "Evidence",
    "ExplainedArtifact",
    "FailedImage",
    "ImageExplanation",
    "Statement",
    "Trace",
    "box_of_place",
    "doubt_of",
    "findings_of",
    "in_words",
    "leading_statement",
    "leaning",
    "place_of",
    "says_generated",
    "speaker_of",
    "summary_of",
]
