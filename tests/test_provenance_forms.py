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
from tests.stated import A1111, AI, NOVELAI, VOCABULARY, encoded, exif_of, hidden, packed, picture, png, with_xmp, xmp


LABEL = {"Label": "1", "ContentProducer": "doubao", "ProduceID": "7", "ReservedCode1": "", "PropagateID": ""}
TENCENT = json.dumps({"AIGC": {"ServiceProvider": "Tencent Cloud", "ServiceUser": "9", "Time": "0"}})
UUID = "0b1c2d3e-1111-2222-3333-444455556666"
SWARM = json.dumps({"sui_image_params": {"prompt": "a moose", "swarm_version": "0.9.3.1"}, "sui_extra_data": {}})
EASY = json.dumps({"prompt": "a", "negative_prompt": "b"})


def only(source) -> tuple[str, str, str, str]:
    """Source, claim, generator and version of the one statement, which anyone can have written."""
    (statement,) = tellsign.provenance(source)
    assert statement["trust"] == "stated" and in_words(statement)
    return statement["source"], statement["claim"], statement["generator"], statement["version"]


def escaped(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).replace('"', "&quot;")


def source_type(term: str) -> str:
    return f'ext:DigitalSourceType="{VOCABULARY}{term}"'


GROKS = (
    '<dc:description><rdf:Alt><rdf:li xml:lang="x-default">Signature: abcd</rdf:li></rdf:Alt></dc:description>'
    f"<dc:creator><rdf:Seq><rdf:li>{UUID}</rdf:li></rdf:Seq></dc:creator>"
)
PARTLY = "compositeWithTrainedAlgorithmicMedia"
IN_XMP = [
    (xmp("", source_type(AI)), (AI, "", "")),
    (xmp(f"<ext:DigitalSourceType>{VOCABULARY}{AI}</ext:DigitalSourceType>"), (AI, "", "")),
    (xmp(f'<ext:DigitalSourceType rdf:resource="{VOCABULARY}{AI}"/>'), (AI, "", "")),
    (
        xmp("", f'{source_type(PARTLY)} photoshop:Credit="Apple Photos Clean Up"'),
        (PARTLY, "Apple Photos Clean Up", ""),
    ),
    (xmp("", 'ext:AISystemUsed="Painter" ext:AISystemVersionUsed="3"'), ("generator", "Painter", "3")),
    (xmp("<ext:AIPromptInformation>a moose</ext:AIPromptInformation>"), ("parameters", "", "")),
    (xmp(f"<TC260:AIGC>{escaped(LABEL)}</TC260:AIGC>"), ("aigc label 1", "doubao", "")),
    (xmp("", f'TC260:AIGC="{escaped(LABEL)}"'), ("aigc label 1", "doubao", "")),
    (xmp("<xmp:CreatorTool>Draw Things</xmp:CreatorTool>"), ("generator", "Draw Things", "")),
    (xmp("<xmp:CreatorTool>reve.com</xmp:CreatorTool>"), ("generator", "reve.com", "")),
    (xmp(GROKS), ("generator", "Grok (xAI)", "")),
]
IN_EXIF = [
    ({"Make": "Ideogram AI"}, ("generator", "Ideogram AI", "")),
    ({"Software": "Reve"}, ("generator", "Reve", "")),
    ({"Software": "Apple Image Playground"}, ("generator", "Apple Image Playground", "")),
    ({"ImageDescription": TENCENT}, ("generator", "Tencent Cloud", "")),
    ({"ImageDescription": "Signature: abcd", "Artist": UUID}, ("generator", "Grok (xAI)", "")),
    *(
        (
            {"Software": f"AI generated;{kind}", "Make": "Black Forest Labs", "Model": "x"},
            ("generator", "Black Forest Labs", "x"),
        )
        for kind in ("txt2img;flux", "img2img;flux2")
    ),
]
IN_COMMENTS = [
    (A1111, ("parameters", "AUTOMATIC1111", "v1.9.3")),
    (SWARM, ("parameters", "SwarmUI", "0.9.3.1")),
    (EASY, ("parameters", "Easy Diffusion", "")),
    (json.dumps({"AIGC": LABEL}), ("aigc label 1", "doubao", "")),
]
IN_PNG = [
    ({"parameters": A1111}, ("parameters", "AUTOMATIC1111", "v1.9.3")),
    ({"parameters": A1111.replace("v1.9.3", "Fooocus v2.5.5")}, ("parameters", "Fooocus", "v2.5.5")),
    ({"parameters": '{"base_model": "x", "version": "Fooocus v2.5.5"}'}, ("parameters", "Fooocus", "v2.5.5")),
    ({"parameters": SWARM}, ("parameters", "SwarmUI", "0.9.3.1")),
    ({"prompt": '{"1": {"class_type": "KSampler"}}'}, ("parameters", "ComfyUI", "")),
    ({"workflow": '{"nodes": []}'}, ("parameters", "ComfyUI", "")),
    ({"invokeai_metadata": '{"app_version": "5.0.2"}'}, ("parameters", "InvokeAI", "5.0.2")),
    ({"sd_metadata": '{"app_version": "v2.3"}'}, ("parameters", "InvokeAI", "v2.3")),
    ({"Dream": '"a moose" -s 50'}, ("parameters", "InvokeAI", "")),
    (NOVELAI, ("parameters", "NovelAI", "NovelAI Diffusion V4")),
    ({"negative_prompt": "", "prompt": "a"}, ("parameters", "Easy Diffusion", "")),
    ({"Negative_Prompt": "x", "Prompt": "a"}, ("parameters", "Easy Diffusion", "")),
    ({"Software": "Luma"}, ("generator", "Luma", "")),
    ({"Description": "Signature: abcd", "Author": UUID}, ("generator", "Grok (xAI)", "")),
    *(({"AIGC": json.dumps(LABEL | {"Label": degree})}, (f"aigc label {degree}", "doubao", "")) for degree in "123"),
    ({"AIGC": json.dumps(LABEL | {"Label": "value1"})}, ("generator", "doubao", "")),
    ({"AIGC": json.dumps({"AIGC": json.dumps(LABEL)})}, ("aigc label 1", "doubao", "")),
]


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_xmp_and_exif_are_read_in_every_format(image_format):
    assert only(with_xmp(image_format, IN_XMP[0][0])) == ("xmp", AI, "", "")
    assert only(encoded(image_format, exif=exif_of(Make="Ideogram AI"))) == ("exif", "generator", "Ideogram AI", "")
    comment = exif_of(UserComment=b"ASCII\x00\x00\x00" + SWARM.encode())
    assert only(encoded(image_format, exif=comment)) == ("exif", "parameters", "SwarmUI", "0.9.3.1")


@pytest.mark.parametrize(("packet", "expected"), IN_XMP)
def test_xmp_is_read(packet, expected):
    assert only(encoded(xmp=packet)) == ("xmp", *expected)


@pytest.mark.parametrize(("tags", "expected"), IN_EXIF)
def test_exif_is_read(tags, expected):
    assert only(encoded(exif=exif_of(**tags))) == ("exif", *expected)


@pytest.mark.parametrize(("text", "expected"), IN_COMMENTS)
def test_the_users_comment_is_read_in_each_encoding(text, expected):
    comments = [b"ASCII\x00\x00\x00" + text.encode()]
    comments += [b"UNICODE\x00" + text.encode(code) for code in ("utf-16-le", "utf-16-be")]
    comments += [text.encode()] * text.startswith("{")  # without the name of its encoding only JSON is read
    for comment in comments:
        assert only(encoded(exif=exif_of(UserComment=comment))) == ("exif", *expected)


@pytest.mark.parametrize(("texts", "expected"), IN_PNG)
def test_png_text_is_read(texts, expected):
    content = png(**texts)
    assert only(content) == ("png_text", *expected) and side_of(tellsign.provenance(content)[0]) == "fake"


@pytest.mark.parametrize("text", ["AIGC", "{}", '{"AIGC": {"course": "art"}}', "[1]", '{"AIGC": 1}', "{" * 5000])
def test_the_letters_aigc_alone_are_no_label(text):
    assert tellsign.provenance(png(AIGC=text)) == []


@pytest.mark.parametrize("text", ["Un reve de lumiere", "Luminar", "Alumalabs", "Revenue", "A. Painter"])
def test_words_of_a_language_are_no_program(text):
    assert tellsign.provenance(png(Software=text, Author=text, Description="Signature: abcd")) == []


def test_a_prompt_in_xmp_is_quoted():
    packet = xmp(
        "<ext:AIPromptInformation>a moose</ext:AIPromptInformation><ext:AISystemUsed>Painter</ext:AISystemUsed>"
    )
    (statement,) = tellsign.provenance(encoded(xmp=packet))
    assert (statement["generator"], statement["text"]) == ("Painter", "a moose")


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
def test_a_picture_without_hidden_text_states_nothing(mode):
    for image_format in ("PNG", "WEBP") if mode.startswith("RGB") else ("PNG",):
        assert tellsign.provenance(encoded(image_format, picture(mode=mode))) == []


@pytest.mark.parametrize("color_type", [2, 4, 6])
def test_the_first_column_is_that_of_pillow(color_type):
    channels, rng = {2: 3, 4: 2, 6: 4}[color_type], np.random.default_rng(0)
    pixels, above, rows = rng.integers(0, 256, (200, channels)), np.zeros(channels, int), b""
    for pixel, kind in zip(pixels, rng.integers(0, 5, 200), strict=True):  # each filter of PNG
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
