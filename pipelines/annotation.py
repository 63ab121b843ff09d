"""A picture of what was found in an image."""

import itertools
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont

from tellsign.modeling.image_loading import load_image

from .answer import (
    Box,
    ExplainedArtifact,
    FailedImage,
    ImageExplanation,
    in_words,
    place_of,
    speaker_of,
)
from .localization import heat_map
from .tracing import pictures_of


# Okabe and Ito's colors, which color-blind viewers can tell apart, without black and yellow.
COLORS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
EVIDENCE_COLOR = "#f0e442"  # their yellow
MIN_SIDE, MAX_SIDE = 480, 1280


def annotate(image: Image.Image, result: ImageExplanation | FailedImage) -> Image.Image:
    """Draws an answer of the pipeline: what the file states, the verdict and its reasons, the image, and a legend.

    In the image each artifact has a numbered box, and what the verdict rests on has frames.

    Args:
        image (`PIL.Image.Image`): The image that was explained.
        result ([`ImageExplanation`]):
            The answer for it. With `return_heatmap=True` the legend has the map of the evidence and the heat map of
            each artifact. They are scaled to their maxima and laid over the image in grey.

    Returns:
        `PIL.Image.Image` in mode RGB. A trace has a picture beside it. The image in it is enlarged by a whole
        factor, without smoothing, until its longer side has at least 480 pixels, or reduced to 1280.

    Raises:
        ValueError: If the result is an error entry, or was made for an image of another size.
    """
    picture = mark_places(image, result)
    image, result = load_image(image), cast(ImageExplanation, result)
    width = max(picture.width, MIN_SIDE)
    font = _font(width)
    title = f"{result['label']} (probability of being generated: {result['fake_probability']:.1%})"
    if result.get("verdict_note"):  # the probability says nothing
        title = result["label"]
    stated = [f"{speaker_of(statement)}: {in_words(statement)}" for statement in result.get("provenance", ())]
    parts = [_row(width, font, text) for text in (*stated, title, result["summary"])] + [picture]
    traces = result.get("traces", [])
    for trace, (beside, caption) in zip(traces, pictures_of(image, traces), strict=True):
        side = max(beside.width, width // 3)
        beside = beside.resize((side, side * beside.height // beside.width), Image.Resampling.NEAREST)
        parts.append(_row(width, font, f"{trace['text']}\n{caption}", None, beside))
    if places := result.get("evidence"):
        text = f"Yellow: what speaks for {places[0]['toward']}. Frames mark the strongest places."
        shown = evidence_picture(image, result, width // 2) if "evidence_map" in result else None
        parts.append(_row(width, font, text, None, shown))
    for number, (color, artifact) in enumerate(zip(itertools.cycle(COLORS), result["artifacts"]), 1):
        heat = artifact.get("heatmap")
        thumbnail = None if heat is None else _heat_picture(image, heat, color, width // 5)
        score = f" ({artifact['score']:.0%})" if "score" in artifact else ""
        text = artifact["label"] + score + "\n" + artifact.get("explanation", "")
        parts.append(_row(width, font, text, _tag(number, color, font), thumbnail))

    canvas = Image.new("RGB", (width, sum(part.height for part in parts)), "white")
    top = 0
    for part in parts:
        canvas.paste(part, ((width - part.width) // 2, top))
        top += part.height
    return canvas


def mark_places(image: Image.Image, result: ImageExplanation | FailedImage) -> Image.Image:
    """Draws the places of an answer alone, without words.

    Each artifact has a numbered box, and each place that the verdict rests on a yellow frame.

    Args:
        image, result: As for [`annotate`].

    Returns:
        `PIL.Image.Image` in mode RGB, enlarged or reduced as by [`annotate`].

    Raises:
        ValueError: As for [`annotate`].
    """
    if "error" in result:
        raise ValueError(f"the result is an error, there is nothing to draw: {cast(FailedImage, result)['error']}")
    result = cast(ImageExplanation, result)
    image = load_image(image)  # upright, as it was explained
    size = result["width"], result["height"]
    if image.size != size:
        raise ValueError(f"the result is for an image of {size[0]}x{size[1]} pixels, got {image.width}x{image.height}")
    for found in [*result["artifacts"], *result.get("evidence", [])]:
        place_of(found["box"], *size)  # raises if the box is not inside
    picture = _at_drawn_size(image)
    font = _font(max(picture.width, MIN_SIDE))
    draw, thickness = ImageDraw.Draw(picture), max(2, round(font.size / 7))
    for place in result.get("evidence", []):
        sides = _drawn_box(place["box"], picture, size)
        draw.rectangle(sides, outline="black", width=thickness + 2)
        draw.rectangle(sides, outline=EVIDENCE_COLOR, width=thickness)
    _draw_boxes(picture, size, result["artifacts"], font)
    return picture


def evidence_picture(image: Image.Image, result: ImageExplanation, side: int = MIN_SIDE) -> Image.Image:
    """Draws where the pixels of an image speak for the verdict of its evidence.

    Args:
        image (`PIL.Image.Image`): The image that was explained.
        result ([`ImageExplanation`]): The answer for it, with `evidence` and an `evidence_map`.
        side (`int`, *optional*, defaults to 480): The longer side in pixels.

    Returns:
        `PIL.Image.Image` in mode RGB: the image in grey, yellow where that is.
    """
    image, evidence = load_image(image), result["evidence_map"]
    toward = np.maximum(evidence if result["evidence"][0]["toward"] == "fake" else -evidence, 0)
    shown = heat_map(toward / max(float(toward.max()), 1e-6), image.height, image.width)
    return _heat_picture(image, shown, EVIDENCE_COLOR, side)


def _font(width: int) -> ImageFont.FreeTypeFont:
    return cast(ImageFont.FreeTypeFont, ImageFont.load_default(max(15, width // 32)))


def _drawn_box(box: Box, picture: Image.Image, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """A box of an image of `size`, in pixels of the picture: left, top, right, bottom."""
    scale_x, scale_y = picture.width / size[0], picture.height / size[1]
    left, top = round(scale_x * box["xmin"]), round(scale_y * box["ymin"])
    right = max(left + 1, round(scale_x * box["xmax"])) - 1
    return left, top, right, max(top + 1, round(scale_y * box["ymax"])) - 1


def _at_drawn_size(image: Image.Image) -> Image.Image:
    longer = max(image.size)
    if longer < MIN_SIDE:
        factor = -(-MIN_SIDE // longer)
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    picture = image.copy()
    picture.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    return picture


def _draw_boxes(
    picture: Image.Image, size: tuple[int, int], artifacts: list[ExplainedArtifact], font: ImageFont.FreeTypeFont
) -> None:
    """Draws boxes given in pixels of an image of `size`, the first on top; tags never hide each other."""
    draw = ImageDraw.Draw(picture)
    thickness = max(2, round(font.size / 7))
    corners = []
    for color, artifact in reversed([*zip(itertools.cycle(COLORS), artifacts)]):
        sides = _drawn_box(artifact["box"], picture, size)
        draw.rectangle(sides, outline="white", width=thickness + 2)
        draw.rectangle(sides, outline=color, width=thickness)
        corners.append(sides[:2])
    taken: list[tuple[int, int]] = []
    for number, (color, (left, top)) in enumerate(zip(itertools.cycle(COLORS), reversed(corners)), 1):
        tag = _tag(number, color, font)
        left, top = min(left, picture.width - tag.width), min(top, picture.height - tag.height)
        while any(abs(left - x) < tag.width and abs(top - y) < tag.height for x, y in taken):
            left += tag.width
            if left + tag.width > picture.width:
                left, top = 0, top + tag.height
        taken.append((left, top))
        picture.paste(tag, (left, top))


def _tag(number: int, color: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    """A square with a number, black or white, whichever has the higher contrast."""
    side = round(1.5 * font.size)
    tag = Image.new("RGB", (side, side), color)
    red, green, blue = ((value / 255) ** 2.2 for value in ImageColor.getrgb(color)[:3])
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    fill = "black" if luminance > 0.18 else "white"  # where both have a contrast of 4.6
    ImageDraw.Draw(tag).text((side / 2, side / 2), str(number), fill=fill, font=font, anchor="mm")
    return tag


def _heat_picture(image: Image.Image, heat: NDArray[np.floating], color: str, side: int) -> Image.Image:
    """The image in grey and at most `side` pixels large, in `color` where the heat map is high."""
    if heat.shape != (image.height, image.width):
        raise ValueError(f"a heat map has shape {heat.shape}, the image {image.height}x{image.width} pixels")
    opacity = Image.fromarray(np.rint(heat / max(float(heat.max()), 1e-6) * 200).astype(np.uint8))
    grey = image.convert("L").convert("RGB")
    grey.paste(Image.new("RGB", image.size, ImageColor.getrgb(color)), mask=opacity)
    factor = side / max(image.size)
    size = max(1, round(factor * image.width)), max(1, round(factor * image.height))
    return grey.resize(size, Image.Resampling.NEAREST if factor > 1 else Image.Resampling.LANCZOS)


def _row(
    width: int,
    font: ImageFont.FreeTypeFont,
    text: str,
    tag: Image.Image | None = None,
    thumbnail: Image.Image | None = None,
) -> Image.Image:
    """A strip with a tag and a thumbnail, if there are, beside wrapped text."""
    margin, line_height = round(font.size / 2), round(1.4 * font.size)
    left = margin
    places = []
    for part in (tag, thumbnail):
        if part:
            places.append((part, (left, margin)))
            left += part.width + margin
    lines: list[str] = []
    for paragraph in text.splitlines():
        lines.append("")
        for word in paragraph.split():
            longer = f"{lines[-1]} {word}".lstrip()
            if lines[-1] and font.getlength(longer) > width - left - margin:
                lines.append(word)
            else:
                lines[-1] = longer
    height = max([line_height * len(lines), *(part.height for part, _ in places)])
    row = Image.new("RGB", (width, height + 2 * margin), "white")
    for part, corner in places:
        row.paste(part, corner)
    ImageDraw.Draw(row).multiline_text(
        (left, margin), "\n".join(lines), fill="black", font=font, spacing=line_height - font.size
    )
    return row
