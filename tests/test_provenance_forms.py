"""The forms in which generators, and the law, mark what was generated: each in a file that is built here."""

import io
import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

import tellsign
from tellsign.pipelines.answer import in_words
from tellsign.pipelines.provenance import hidden_text
from tellsign.pipelines.reasons import side_of
from tests.stated import AI, NOVELAI, VOCABULARY, encoded, exif_of, hidden, packed, picture, png, with_xmp, xmp


FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF")
LABEL = {"Label": "1", "ContentProducer": "doubao", "ProduceID": "7", "ReservedCode1": "", "PropagateID": ""}
UUID = "0b1c2d3e-1111-2222-3333-444455556666"


def only(source) -> tuple[str, str, str, str]:
    """Source, claim, generator and version of the one statement, which anyone can have written."""
    (statement,) = tellsign.provenance(source)
    assert statement["trust"] == "stated" and in_words(statement)
    return statement["source"], statement["claim"], statement["generator"], statement["version"]


def escaped(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).replace('"', "&quot;")


def with_exif(image_format: str, **tags) -> bytes:
    return encoded(image_format, exif=exif_of(**tags))


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("is_element", [True, False])
def test_chinas_label_is_read_in_xmp(image_format, is_element):
    inner = f"<TC260:AIGC>{escaped(LABEL)}</TC260:AIGC>" if is_element else ""
    attribute = "" if is_element else f'TC260:AIGC="{escaped(LABEL)}"'
    assert only(with_xmp(image_format, xmp(inner, attribute))) == ("xmp", "aigc label 1", "doubao", "")


@pytest.mark.parametrize("degree", ["1", "2", "3"])
def test_chinas_label_is_read_in_png_text(degree):
    content = png(AIGC=json.dumps(LABEL | {"Label": degree}))
    assert only(content) == ("png_text", f"aigc label {degree}", "doubao", "")
    assert side_of(tellsign.provenance(content)[0]) == "fake"


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("code", [b"", b"ASCII\x00\x00\x00", b"UNICODE\x00"])
def test_chinas_label_is_read_in_the_users_comment(image_format, code):
    text = json.dumps({"AIGC": LABEL})
    comment = code + text.encode("utf-16-le" if code[:1] == b"U" else "utf-8")
    assert only(with_exif(image_format, UserComment=comment)) == ("exif", "aigc label 1", "doubao", "")


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_tencents_form_of_the_label_is_read(image_format):
    label = json.dumps({"AIGC": {"ServiceProvider": "Tencent Cloud", "ServiceUser": "9", "Time": "0"}})
    assert only(with_exif(image_format, ImageDescription=label)) == ("exif", "generator", "Tencent Cloud", "")


def test_a_label_may_be_a_text_within_its_object():
    assert only(png(AIGC=json.dumps({"AIGC": json.dumps(LABEL)})))[1] == "aigc label 1"


@pytest.mark.parametrize("text", ["AIGC", "{}", '{"AIGC": {"course": "art"}}', "[1]", '{"AIGC": 1}', "{" * 5000])
def test_the_letters_aigc_alone_are_no_label(text):
    assert tellsign.provenance(png(AIGC=text)) == []


def test_a_label_of_another_degree_names_its_producer_alone():
    assert only(png(AIGC=json.dumps(LABEL | {"Label": "value1"}))) == ("png_text", "generator", "doubao", "")


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("kind", ["txt2img;flux", "img2img;flux2"])
def test_black_forest_labs_are_read(image_format, kind):
    tags = {"Software": f"AI generated;{kind}", "Make": "Black Forest Labs", "Model": "flux-schnell"}
    assert only(with_exif(image_format, **tags)) == ("exif", "generator", "Black Forest Labs", "flux-schnell")


SWARM = json.dumps({"sui_image_params": {"prompt": "a moose", "swarm_version": "0.9.3.1"}, "sui_extra_data": {}})


def test_swarmui_is_read_in_png_text():
    assert only(png(parameters=SWARM)) == ("png_text", "parameters", "SwarmUI", "0.9.3.1")


@pytest.mark.parametrize("image_format", FORMATS)
def test_swarmui_is_read_in_exif(image_format):
    comment = b"UNICODE\x00" + SWARM.encode("utf-16-le")
    assert only(with_exif(image_format, UserComment=comment)) == ("exif", "parameters", "SwarmUI", "0.9.3.1")


@pytest.mark.parametrize("texts", [{"negative_prompt": "", "prompt": "a"}, {"Negative_Prompt": "x", "Prompt": "a"}])
def test_easy_diffusion_is_read_in_png_text(texts):
    assert only(png(**texts)) == ("png_text", "parameters", "Easy Diffusion", "")


@pytest.mark.parametrize("image_format", ["JPEG", "WEBP"])
def test_easy_diffusion_is_read_in_exif(image_format):
    comment = b"ASCII\x00\x00\x00" + json.dumps({"prompt": "a", "negative_prompt": "b"}).encode()
    assert only(with_exif(image_format, UserComment=comment)) == ("exif", "parameters", "Easy Diffusion", "")


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("tool", ["Draw Things", "reve.com", "Luma AI"])
def test_a_tool_is_read_in_xmp(image_format, tool):
    content = with_xmp(image_format, xmp(f"<xmp:CreatorTool>{tool}</xmp:CreatorTool>"))
    assert only(content) == ("xmp", "generator", tool, "")


@pytest.mark.parametrize("name", ["Reve", "Luma", "reve.com", "Apple Image Playground"])
def test_a_program_is_read_in_exif_and_png_text(name):
    assert only(with_exif("JPEG", Software=name))[1:3] == ("generator", name)
    assert only(png(Software=name)) == ("png_text", "generator", name, "")


@pytest.mark.parametrize("text", ["Un reve de lumiere", "Luminar", "Alumalabs", "Revenue"])
def test_words_of_a_language_are_no_program(text):
    assert tellsign.provenance(png(Software=text, Author=text)) == []


def test_apples_clean_up_is_partly_generated():
    kind = f'ext:DigitalSourceType="{VOCABULARY}compositeWith{AI[0].upper()}{AI[1:]}"'
    packet = xmp("", f'{kind} photoshop:Credit="Apple Photos Clean Up"')
    claim = "compositeWithTrainedAlgorithmicMedia"
    assert only(encoded(xmp=packet)) == ("xmp", claim, "Apple Photos Clean Up", "")


@pytest.mark.parametrize("image_format", FORMATS)
def test_grok_is_read_in_xmp(image_format):
    author = f"<dc:creator><rdf:Seq><rdf:li>{UUID}</rdf:li></rdf:Seq></dc:creator>"
    signature = '<rdf:Alt><rdf:li xml:lang="x-default">Signature: abcd</rdf:li></rdf:Alt>'
    content = with_xmp(image_format, xmp(f"<dc:description>{signature}</dc:description>{author}"))
    assert only(content) == ("xmp", "generator", "Grok (xAI)", "")


def test_grok_is_read_in_png_text_and_exif():
    assert only(png(Description="Signature: abcd", Author=UUID)) == ("png_text", "generator", "Grok (xAI)", "")
    tags = {"ImageDescription": "Signature: abcd", "Artist": UUID}
    assert only(with_exif("WEBP", **tags)) == ("exif", "generator", "Grok (xAI)", "")
    assert tellsign.provenance(png(Description="Signature: abcd", Author="A. Painter")) == []


@pytest.mark.parametrize("image_format", FORMATS)
def test_a_prompt_is_read_in_xmp(image_format):
    inner = "<ext:AIPromptInformation>a moose</ext:AIPromptInformation><ext:AISystemUsed>Painter</ext:AISystemUsed>"
    content = with_xmp(image_format, xmp(inner))
    assert only(content) == ("xmp", "parameters", "Painter", "")
    assert tellsign.provenance(content)[0]["text"] == "a moose"


@pytest.mark.parametrize("kind", ["stealth_pnginfo", "stealth_pngcomp", "stealth_rgbinfo", "stealth_rgbcomp"])
@pytest.mark.parametrize("size", [(96, 64), (400, 9), (7, 300)])
def test_hidden_parameters_are_read_in_png(kind, size):
    content = hidden(packed(NOVELAI, kind), kind, size=size)
    assert only(content) == ("hidden_text", "parameters", "NovelAI", "NovelAI Diffusion V4")


def test_hidden_parameters_are_read_in_webp_and_in_an_image():
    content = hidden(packed(NOVELAI, "stealth_pngcomp"), "stealth_pngcomp", "WEBP")
    expected = ("hidden_text", "parameters", "NovelAI", "NovelAI Diffusion V4")
    assert only(content) == expected
    with Image.open(io.BytesIO(content)) as image:
        assert only(image) == expected


@pytest.mark.parametrize(
    ("text", "generator"),
    [("x\nSteps: 4, Version: v1", "AUTOMATIC1111"), (SWARM, "SwarmUI"), ("something else", ""), ("[1]", "")],
)
def test_hidden_text_tells_whose_parameters_it_holds(text, generator):
    assert only(hidden(text.encode(), "stealth_pnginfo"))[:3] == ("hidden_text", "parameters", generator)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "L", "P", "1"])
@pytest.mark.parametrize("image_format", ["PNG", "WEBP"])
def test_a_picture_without_hidden_text_states_nothing(mode, image_format):
    if image_format == "PNG" or mode in ("RGB", "RGBA"):
        assert tellsign.provenance(encoded(image_format, picture(mode=mode))) == []


@pytest.mark.parametrize("color_type", [2, 4, 6])
def test_the_first_column_is_that_of_pillow(color_type):
    channels, rng = {2: 3, 4: 2, 6: 4}[color_type], np.random.default_rng(0)
    pixels, above, rows = rng.integers(0, 256, (200, channels)), np.zeros(channels, int), b""
    for pixel, kind in zip(
        pixels, rng.integers(0, 5, 200), strict=True
    ):  # each filter of PNG, of pictures of one column
        less = {2: above, 3: above // 2, 4: above}.get(int(kind), 0 * above)
        rows += bytes([kind, *((pixel - less) % 256)])
        above = pixel

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 1, 200, 8, color_type, 0, 0, 0)
    data = zlib.compress(rows)
    parts = chunk(b"IHDR", head), chunk(b"IDAT", data[:50]), chunk(b"IDAT", data[50:]), chunk(b"IEND", b"")
    content = b"\x89PNG\r\n\x1a\n" + b"".join(parts)
    with Image.open(io.BytesIO(content)) as image:
        assert np.array_equal(np.asarray(image)[:, 0], pixels)
    assert np.array_equal(list(hidden_text._first_column(content)), pixels)
