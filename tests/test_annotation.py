import io

import numpy as np
import pytest
from PIL import Image, ImageFont

from tellsign import annotate, load_image
from tellsign.pipelines.annotation import COLORS, _tag


def picture(width: int, height: int) -> Image.Image:
    generator = np.random.default_rng(0)
    return Image.fromarray(generator.integers(60, 200, (height, width, 3), dtype=np.uint8))


def answer(*boxes, size=(32, 32), **fields) -> dict:
    artifacts = [
        {
            "label": "Aliasing along high-contrast edges",
            "score": 0.9,
            "box": dict(zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)),
        }
        | fields
        for box in boxes
    ]
    return {"label": "fake", "fake_probability": 0.97, "width": size[0], "height": size[1], "artifacts": artifacts}


def extent(pixels: np.ndarray, color: str) -> tuple[int, int, int, int]:
    """Bounding box of the pixels of a color, with exclusive maxima."""
    wanted = [int(color[at : at + 2], 16) for at in (1, 3, 5)]
    rows, columns = np.nonzero((pixels == wanted).all(-1))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_an_image_without_artifacts_is_enlarged_whole_times():
    image = picture(32, 24)
    drawn = annotate(image, {"label": "real", "fake_probability": 0.02, "width": 32, "height": 24, "artifacts": []})
    assert drawn.mode == "RGB" and drawn.width == 480
    enlarged = np.asarray(image).repeat(15, 0).repeat(15, 1)
    assert np.array_equal(np.asarray(drawn)[-24 * 15 :], enlarged)
    head = np.asarray(drawn)[: -24 * 15]
    assert 15 < len(head) < 90 and head.min() == 0  # black letters


@pytest.mark.parametrize("size", [(1, 1), (32, 32), (7, 300), (640, 480), (3000, 2000), (4000, 3)])
def test_images_of_any_size_give_a_picture_that_fits_a_screen(size):
    drawn = annotate(picture(*size), answer((0, 0, *size), size=size))
    assert 480 <= drawn.width <= 1280 and drawn.height <= 1500


def test_boxes_are_drawn_at_the_place_of_their_pixels():
    image = Image.new("RGB", (32, 32), "black")
    drawn = np.asarray(annotate(image, answer((8, 16, 24, 32), (0, 0, 4, 4))))
    rows = np.nonzero((drawn == 0).all(-1).mean(1) > 0.5)[0]  # rows of the picture are mostly black
    top = rows.min() - 1  # the first row is that of the second box
    part = drawn[top : top + 480]
    left, upper, right, lower = extent(part, COLORS[0])
    for found, expected in zip((left, upper, right, lower), (8, 16, 24, 32), strict=True):
        assert abs(found - 15 * expected) <= 3


def test_each_artifact_has_a_color_in_picture_and_legend():
    drawn = np.asarray(annotate(picture(32, 32), answer(*[(0, 0, 32, 32)] * 6)))
    for color in COLORS:
        wanted = [int(color[at : at + 2], 16) for at in (1, 3, 5)]
        filled = (drawn == wanted).all(-1).sum(1)
        # Rows with at least half a tag of this color: one run in the picture, one in the legend.
        runs = np.flatnonzero(np.diff(np.concatenate([[0], filled >= 8, [0]])) == 1)
        assert len(runs) >= 2


@pytest.mark.parametrize("color", COLORS)
def test_the_number_of_a_tag_stands_out_from_its_color(color):
    def luminance(pixel) -> float:  # as of WCAG 2
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in np.asarray(pixel) / 255]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    tag = np.asarray(_tag(8, color, ImageFont.load_default(40)))
    number = max(
        (tuple(pixel) for pixel in tag.reshape(-1, 3)), key=lambda p: abs(luminance(p) - luminance(tag[0, 0]))
    )
    dark, light = sorted(luminance(pixel) for pixel in (number, tag[0, 0]))
    assert (light + 0.05) / (dark + 0.05) > 4.5


def test_sentences_and_heat_maps_make_the_legend_taller():
    image = picture(32, 32)
    bare = annotate(image, answer((0, 0, 8, 8)))
    sentence = annotate(image, answer((0, 0, 8, 8), explanation="The wing climbs in regular steps. " * 4))
    heat = annotate(image, answer((0, 0, 8, 8), heatmap=np.ones((32, 32), np.float32)))
    assert bare.height < sentence.height and bare.height < heat.height


@pytest.mark.parametrize(("probability", "half"), [(0.9, "left"), (0.2, "right")])
def test_a_map_shows_what_speaks_for_the_likelier_verdict(probability, half):
    image, given = Image.new("RGB", (32, 32), "white"), answer()
    evidence = np.ones((8, 8), np.float32)
    evidence[:, 4:] = -1
    given |= {"fake_probability": probability, "evidence_map": evidence}
    drawn = np.asarray(annotate(image, given)).astype(int)
    yellow = np.nonzero(drawn[..., 0] - drawn[..., 2] > 100)[1]
    side = drawn.shape[1] // 2  # of the map, in the left half of the picture
    assert len(yellow) > 1000
    assert np.median(yellow) < side / 2 + 10 if half == "left" else np.median(yellow) > side / 2


def test_a_probability_that_says_nothing_is_not_drawn():
    image, given = picture(32, 32), answer() | {"label": "uncertain", "verdict_note": "It is white."}
    drawn, other = (annotate(image, given | {"fake_probability": value}) for value in (0.5, 0.9))
    assert drawn == other and drawn != annotate(image, given | {"verdict_note": ""})


def test_a_yellow_frame_is_explained_below_the_image():
    given = answer()
    bare = annotate(picture(32, 32), given)
    box = {"xmin": 0, "ymin": 0, "xmax": 32, "ymax": 32}  # the whole image, which no sentence names
    framed = np.asarray(annotate(picture(32, 32), given | {"evidence": [{"box": box, "share": 0.4}]}))
    legend = framed[bare.height :]
    assert len(legend) > 15 and legend.min() == 0 and (legend[..., 0] == legend[..., 2]).all()  # black letters


def test_a_heat_map_colors_the_image_where_it_is_high():
    image = Image.new("RGB", (32, 32), "white")
    heat = np.zeros((32, 32), np.float32)
    heat[:, :16] = 0.3
    plain = np.asarray(annotate(image, answer((0, 0, 32, 32), heatmap=np.zeros((32, 32), np.float32))))
    drawn = np.asarray(annotate(image, answer((0, 0, 32, 32), heatmap=heat)))
    rows, columns = np.nonzero((plain != drawn).any(-1))
    assert columns.max() - columns.min() + 1 == pytest.approx(48, abs=2)  # half of the thumbnail's 96 pixels
    assert rows.max() - rows.min() + 1 == pytest.approx(96, abs=2)


def test_the_image_itself_is_left_alone():
    image = picture(500, 500)
    before = np.asarray(image).copy()
    annotate(image, answer((0, 0, 500, 500), size=image.size))
    assert np.array_equal(np.asarray(image), before)


def test_a_photograph_is_drawn_upright_as_it_was_explained():
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    picture(60, 40).save(buffer, "PNG", exif=exif)
    stored = Image.open(buffer)
    upright = load_image(stored)
    assert (stored.size, upright.size) == ((60, 40), (40, 60))
    result = answer((0, 0, 10, 20), size=upright.size)
    assert np.array_equal(annotate(stored, result), annotate(upright, result))


def test_results_that_do_not_belong_to_the_image_raise():
    with pytest.raises(ValueError, match="not inside an image of 32x32"):
        annotate(picture(32, 32), answer((0, 0, 33, 8)))
    with pytest.raises(ValueError, match="for an image of 32x32 pixels, got 32x24"):
        annotate(picture(32, 24), answer((0, 0, 8, 8)))
    with pytest.raises(ValueError, match=r"heat map has shape \(16, 16\)"):
        annotate(picture(32, 32), answer((0, 0, 8, 8), heatmap=np.ones((16, 16), np.float32)))
    with pytest.raises(ValueError, match="nothing to draw: a.jpg: the file is empty"):
        annotate(picture(32, 32), {"error": "a.jpg: the file is empty"})


def test_what_the_file_states_stands_above_the_verdict():
    image, result = picture(32, 32), answer()
    statement = {"source": "exif", "trust": "stated", "claim": "generator", "generator": "Painter"}
    plain = annotate(image, result)
    drawn = annotate(
        image,
        result | {"provenance": [statement | dict.fromkeys(("version", "signer", "signature", "hash", "text"), "")]},
    )
    added = drawn.height - plain.height
    assert added > 15 and np.array_equal(np.asarray(drawn)[added:], np.asarray(plain))
