"""Sentences that say what is seen of an artifact, on which object and where, and the statements read from them."""

import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from tellsign.configuration.artifacts import ARTIFACTS, find_artifact
from tellsign.pipelines.explainer import MAX_SENTENCE_WORDS, MAX_WORD_CHARACTERS, SENTENCE, answer_text


# `{how}` says how plain the artifact is, and is left out if that is not known.
SEEN: dict[str, tuple[str, ...]] = {
    "Inconsistent object boundaries": (
        "the outline of {object} {how} wavers instead of running on",
        "the contour of {object} {how} swells and shrinks where it should be even",
        "the edge of {object} {how} bulges in some places and is bitten off in others",
        "the silhouette of {object} {how} wobbles as if drawn by an unsteady hand",
    ),
    "Discontinuous surfaces": (
        "a surface of {object} {how} breaks off and goes on displaced behind a seam",
        "a piece of {object} is {how} shifted against its surroundings, as along a crack",
        "lines and patches of {object} {how} fail to meet across a seam",
        "one piece by {object} {how} sits askew, so that its surface no longer continues",
    ),
    "Floating or disconnected components": (
        "a part of {object} {how} hangs apart from the rest with a gap between",
        "a loose piece of {object} {how} floats in the air without any hold",
        "something that belongs to {object} is {how} severed and hovers on its own",
        "a fragment of {object} {how} drifts free of the body",
    ),
    "Texture bleeding between adjacent regions": (
        "the texture of {object} {how} runs over its border into what lies beside it",
        "colors of {object} {how} leak outward across the outline",
        "the surface of {object} {how} spills into the surroundings like wet paint",
        "traces of the pattern of {object} {how} reach into the neighboring area",
    ),
    "Texture repetition patterns": (
        "one small piece of texture by {object} {how} repeats like wallpaper",
        "the same patch is {how} laid out again and again around {object}",
        "tiles of one identical texture {how} cover the area by {object}",
        "the texture of {object} {how} recurs in identical copies",
    ),
    "Over-smoothing of natural textures": (
        "the texture of {object} is {how} smeared away",
        "fine structure that one expects on {object} is {how} wiped out",
        "a patch of {object} {how} looks washed and flat, without its grain",
        "the natural roughness of {object} {how} gives way to a soft smear",
    ),
    "Artificial noise patterns in uniform surfaces": (
        "grain {how} covers a plain surface by {object}",
        "a plain area beside {object} is {how} speckled with random dots",
        "specks {how} pepper an even surface near {object}",
        "an area by {object} that should be uniform {how} shows noise",
    ),
    "Unrealistic specular highlights": (
        "white hot spots {how} shine on {object} where nothing reflects light",
        "small glints {how} sit on {object} without a lamp to cause them",
        "blown-out points of light {how} dot {object}",
        "spots of pure white {how} sparkle by {object} against the lighting of the scene",
    ),
    "Over-sharpening artifacts": (
        "all edges around {object} {how} carry bright and dark seams",
        "the picture of {object} is {how} harsh, with fringes along its lines",
        "every contour of {object} {how} rings with a pale and a dark line",
        "hard seams {how} line each edge in the picture of {object}",
    ),
    "Aliasing along high-contrast edges": (
        "strong edges of {object} {how} climb in stair steps",
        "the border between bright and dark on {object} {how} runs in blocks instead of smoothly",
        "pixel stairs {how} show along the hard edges of {object}",
        "a high-contrast line by {object} is {how} broken into little steps",
    ),
    "Blurred boundaries in fine details": (
        "the borders of small parts of {object} {how} melt into a haze",
        "fine lines of {object} are {how} washed out at their edges",
        "edges between the details of {object} {how} dissolve",
        "small parts by {object} {how} run together at their rims",
    ),
    "Jagged edges in curved structures": (
        "the curved outline of {object} is {how} toothed like a saw",
        "the round contour of {object} {how} shows notches and spikes",
        "curves of {object} {how} run in ragged corners",
        "where {object} should be rounded, its edge {how} zigzags",
    ),
    "Random noise patterns in detailed areas": (
        "the fine structure of {object} is {how} scrambled into random pixels",
        "random grain {how} lies over the details of {object}",
        "details by {object} {how} drown in disordered dots",
        "noise {how} disturbs the textured parts of {object}",
    ),
    "Loss of fine detail in complex structures": (
        "thin parts of {object} have {how} melted together",
        "the intricate structure of {object} is {how} lost while its coarse form remains",
        "slender details of {object} {how} clump into blobs",
        "what should be delicate on {object} is {how} merged into lumps",
    ),
    "Artificial enhancement artifacts": (
        "colors and local contrast of {object} are {how} pushed as by the filter of a phone",
        "the picture of {object} is {how} overprocessed, with vivid hues and opened shadows",
        "{object} {how} pops out in oversaturated tones",
        "contrast around {object} is {how} exaggerated everywhere, as after an automatic correction",
    ),
    "Regular grid-like artifacts in textures": (
        "a lattice {how} shows through the texture by {object}",
        "crossing lines or blocks {how} divide the surface near {object}",
        "a regular mesh {how} overlays the texture of {object}",
        "the surface by {object} is {how} split into a checkered weave",
    ),
    "Repeated element patterns": (
        "the same element of {object} {how} appears again and again",
        "copies of one detail {how} line up around {object}",
        "a striking detail by {object} is {how} cloned several times",
        "one and the same shape {how} recurs beside {object} at equal distances",
    ),
    "Systematic color distribution anomalies": (
        "all colors around {object} are {how} shifted as in no photograph",
        "the hues of the picture of {object} are {how} turned to foreign tones",
        "the color channels {how} disagree, which tints {object} and all around it",
        "{object} and its surroundings {how} share an unreal color cast",
    ),
    "Frequency domain signatures": (
        "a fine periodic pattern {how} runs over {object} and everything else",
        "a ripple of a few pixels {how} covers the picture of {object}",
        "tiny waves at a constant spacing {how} overlay {object}",
        "a rhythm of single pixels {how} shimmers over {object}",
    ),
    "Color coherence breaks": (
        "a part of {object} {how} takes on another color without a reason",
        "the color of {object} {how} jumps to a foreign tint within one surface",
        "one patch by {object} is {how} stained in a hue that does not belong",
        "{object} {how} changes its tint at a border where nothing else begins",
    ),
    "Unnatural color transitions": (
        "a soft course of color by {object} {how} breaks into bands",
        "the shading around {object} {how} passes through foreign hues",
        "where tones by {object} should blend, they {how} change in steps",
        "the gradient near {object} {how} takes detours through odd colors",
    ),
    "Resolution inconsistencies within regions": (
        "a piece of {object} is {how} coarser than what surrounds it",
        "a rectangle by {object} {how} looks enlarged from a thumbnail",
        "one block near {object} {how} has less detail than the rest",
        "part of {object} is {how} pixelated amid sharper surroundings",
    ),
    "Unnatural Lighting Gradients": (
        "brightness {how} drifts across the picture of {object} without a cause",
        "the light on {object} and its scene {how} changes from side to side",
        "a veil of light or tint {how} slides over the scene with {object}",
        "exposure {how} varies along the picture of {object} although one sun lights it all",
    ),
    "Fake depth of field": (
        "sharpness around {object} {how} falls off by place, not by distance",
        "blur {how} swallows parts by {object} that are no farther away than sharp ones",
        "a zone of focus {how} cuts through {object} without regard to depth",
        "the surroundings of {object} {how} go soft as through a tilted lens",
    ),
    "Abruptly cut off objects": (
        "{object} {how} ends along a straight line",
        "a part of {object} is {how} chopped off and the background takes over",
        "the body of {object} {how} stops short as if cut by a knife",
        "one end of {object} is {how} missing behind a clean cut",
    ),
    "Glow or light bleed around object boundaries": (
        "a luminous rim {how} surrounds {object}",
        "light {how} spills from the outline of {object}",
        "a pale halo {how} clings to the contour of {object}",
        "the border of {object} {how} glows as if lit from within",
    ),
    "Ghosting effects: Semi-transparent duplicates of elements": (
        "a translucent second copy of {object} {how} lies over the scene",
        "a see-through double of {object} {how} hovers in the scene",
        "{object} {how} appears twice, once as a phantom",
        "a shadowy duplicate {how} overlaps {object} like a double exposure",
    ),
    "Cinematization Effects": (
        "the scene with {object} is {how} graded and framed like a film still",
        "movie colors and dark borders {how} dress up the everyday picture of {object}",
        "a film look {how} tints {object} and darkens the frame",
        "{object} is {how} staged in the tones of a motion picture",
    ),
    "Excessive sharpness in certain image regions": (
        "one part of {object} is {how} crisper than the rest",
        "a patch by {object} {how} bristles with hard detail amid softer surroundings",
        "edges in one spot of {object} are {how} etched",
        "local contrast near {object} {how} peaks in a single area",
    ),
    "Artificial smoothness": (
        "{object} {how} looks polished like wax, with its outlines intact",
        "all surfaces around {object} are {how} ironed flat like plastic",
        "the picture of {object} {how} lacks any grain, as if painted in even strokes",
        "fine texture is {how} gone from {object} and everything around it, only contours remain",
    ),
    "Dramatic lighting that defies natural physics": (
        "a spotlight from nowhere {how} lights {object} and leaves the rest in the dark",
        "beams without a source {how} cut through the scene around {object}",
        "darkness {how} swallows all but a lit zone by {object}",
        "stage light {how} falls on {object} although no lamp explains it",
    ),
    "Artificial depth of field in object presentation": (
        "{object} is crisp to its very outline while all behind it is {how} blurred",
        "the background of {object} is {how} softened as in an advertisement",
        "everything but {object} {how} sinks into an even blur",
        "{object} stands cut out before a {how} defocused backdrop",
    ),
    "Unnaturally glossy surfaces": (
        "{object} {how} shines like lacquer",
        "a broad sheen {how} lies on {object} as on plastic",
        "the surface of {object} {how} mirrors light like polished enamel",
        "a glassy reflection {how} runs over {object} although its material is dull",
    ),
}

# By the severity from which on they hold, the lowest first.
HOW: dict[float, tuple[str, ...]] = {
    0.0: ("faintly", "slightly", "subtly"),
    0.55: ("clearly", "visibly", "plainly"),
    0.8: ("strongly", "heavily", "markedly"),
}
UNKNOWN_OBJECT = "subject"
MAX_NOUN_WORDS = 4
OBJECTS = {"airplane": ("airplane", "plane"), "automobile": ("car", "automobile"), "ship": ("ship", "boat")}
"""Words for the categories that have more than one."""
_WHERE = ("at the {}", "in the {} part of the image", "toward the {}")
_EVERYWHERE = ("across the {}", "over the {}", "throughout the {}")
_PLACE = re.compile(r"\b(whole image|(?:top|bottom) (?:left|right)|top|bottom|left|right|center)\b", re.IGNORECASE)


def _in_ascii(text: str) -> str:
    """Removes accents, sets dashes apart, and drops all that is still not ASCII."""
    return unicodedata.normalize("NFKD", re.sub(r"[–—―]", " - ", text)).encode("ascii", "ignore").decode()


def nouns(category: str) -> tuple[str, ...]:
    """The nouns of a category in sentences; none if no word is left.

    Of a name such as `"Tench, Tinca tinca"` the first part counts, in lower case. At most four words remain, and none
    for a place.
    """
    words = re.findall(r"[a-z0-9]+", _PLACE.sub("", _in_ascii(category.split(",")[0]).lower()))
    plain = " ".join(word[:MAX_WORD_CHARACTERS] for word in words[:MAX_NOUN_WORDS])
    return OBJECTS.get(plain, (plain,) if plain else ())


def explanation_sentence(
    label: str,
    place: str,
    rng: np.random.Generator,
    category: str | None = None,
    severity: float | None = None,
) -> str:
    """Writes a sentence on what is seen of an artifact, on which object and where.

    Args:
        label (`str`): The artifact, see [`find_artifact`]. One that is not in `SEEN` is quoted by its definition.
        place (`str`): Place in words, from [`place_of`].
        rng (`np.random.Generator`): Chooses the words.
        category (`str`, *optional*): Category of the image.
        severity (`float`, *optional*): Severity in [0, 1].

    Returns:
        `str`: A sentence that matches [`tellsign.pipelines.explainer.SENTENCE`].

    Raises:
        ValueError: If there is no such artifact.
    """
    artifact = find_artifact(label)
    noun = UNKNOWN_OBJECT if category is None else _pick(nouns(category) or (UNKNOWN_OBJECT,), rng)
    where = _pick(_EVERYWHERE if place == "whole image" else _WHERE, rng).format(place)
    if artifact.name in SEEN:
        how = "" if severity is None else _pick(HOW[max(least for least in HOW if least <= severity)], rng)
        seen = _pick(SEEN[artifact.name], rng).format(object=f"the {noun}", how=how).replace("  ", " ")
    else:
        seen = f"on the {noun}, {artifact.definition[0].lower()}{artifact.definition[1:-1]}"
    # A definition may hold words for places, so the place comes before it.
    order = rng.integers(3 if artifact.name in SEEN else 2)
    text = (f"{where}, {seen}", f"{place}: {seen}", f"{seen}, {where}")[order]
    return f"{text[0].upper()}{text[1:]}."


def _pick(choices: tuple[str, ...], rng: np.random.Generator) -> str:
    return choices[rng.integers(len(choices))]


def stated_place(sentence: str) -> str | None:
    """The place that a sentence states, in the words of [`place_of`]. `None` if it states none."""
    found = _PLACE.search(sentence)
    return found[0].lower() if found else None


def stated_categories(sentence: str, categories: list[str]) -> list[str]:
    """The categories that a sentence names."""
    words = " ".join(re.findall(r"\w+", sentence.lower()))
    # The longest come first, so that a hot dog is no dog.
    known = sorted({noun for category in categories for noun in nouns(category)}, key=len, reverse=True)
    stated = set(re.findall(rf"\b(?:{'|'.join(known)})\b", words))
    return [category for category in categories if stated.intersection(nouns(category))]


def stated_artifacts(sentence: str) -> set[str]:
    """The artifacts whose names stand in a sentence, in singular or plural: of a name the part before its colon."""
    words = _singular(sentence)
    return {artifact.name for artifact in ARTIFACTS if _singular(artifact.name.split(":")[0]) in words}


def _singular(text: str) -> str:
    """The words of a text without case, punctuation and plural, each between spaces."""
    words = re.findall(r"\w+", text.casefold())
    return f" {' '.join(re.sub('ies$', 'y', word).rstrip('s') for word in words)} "


def as_sentence(text: str) -> str | None:
    """Turns a caption into a sentence that matches [`tellsign.pipelines.explainer.SENTENCE`].

    Args:
        text (`str`): Free text.

    Returns:
        `str`: Its first sentence of at least 4 words, cut to the allowed characters and number of words. `None` if
        there is none, or one of its words is too long.
    """
    plain = re.sub(r"\.{2,}", " ", _in_ascii(text.replace("’", "'")))
    plain = re.sub(r"\bi\.e\.", "that is", re.sub(r"\be\.g\.", "such as", plain))
    for part in re.split(r"(?<=[.!?])\s", plain):
        part = re.sub(r"[^A-Za-z0-9'(),;:%/-]+", " ", part)
        # Long compounds are split into words.
        words = [
            piece
            for word in part.split()
            for piece in ([word] if len(word) <= MAX_WORD_CHARACTERS else re.findall(r"[^/-]+", word))
        ]
        kept = " ".join(words[:MAX_SENTENCE_WORDS]).rstrip(",;:- ").lstrip("',;:%/- ")
        if kept.startswith("("):  # not allowed by SENTENCE
            kept = kept[1:].replace(")", "", 1)
        sentence = f"{kept[:1].upper()}{kept[1:]}."
        if re.fullmatch(SENTENCE, sentence):
            return sentence
    return None


def example_texts(categories: Sequence[str], seed: int, each: int = 100) -> list[str]:
    """Answers about each artifact, and the parts of prompts beside names and definitions."""
    rng, texts = np.random.default_rng(seed), []
    places = [f"{row} {column}".strip() for row in ("top", "", "bottom") for column in ("left", "", "right")]
    places = ["whole image", *(place or "center" for place in places)]
    shown = [*categories, None]
    for artifact in ARTIFACTS:
        for _ in range(each):
            place, category = places[rng.integers(len(places))], shown[rng.integers(len(shown))]
            sentence = explanation_sentence(artifact.name, place, rng, category, rng.random())
            known = f"fake. real. uncertain. {category or ''}. "
            texts += [answer_text({"": sentence, " ": sentence}), f"{known}\n- ({place}): "]
    return texts
