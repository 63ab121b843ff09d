"""Files whose statements are damaged, hostile or too long: each gets a line that names the field."""

import gzip
import struct
import tracemalloc
import zlib

import pytest
from PIL import Image

import tellsign
from tests.stated import NOVELAI, encoded, exif_of, hidden, packed, picture, png, with_xmp, xmp


MANY = 50 << 20
"""Bytes of a packet that is far too long."""


def refused(source, field: str) -> str:
    """Why the one statement cannot be read; it names the field."""
    (statement,) = tellsign.provenance(source)
    assert statement["claim"] == "unreadable" and statement["trust"] == "stated"
    assert statement["text"].startswith(f"{field}: ")
    return statement["text"]


def with_info(**info) -> Image.Image:
    image = picture()
    image.info |= info
    return image


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><cut off", "unclosed token"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', "declares an entity"),
        (b"<x>" + b" " * MANY + b"</x>", "are read at most"),
        (b"<x>" * 100_000, "deep"),
        (xmp("<ext:DigitalSourceType>" + "<x>" * 5000 + "</x>" * 5000 + "</ext:DigitalSourceType>"), "deep"),
    ],
)
def test_xmp(packet, reason):
    assert reason in refused(with_info(xmp=packet), "XMP")


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_xmp_in_files(image_format):
    packet = b"<x>" + b" " * (2 << 20) + b"</x>" if image_format == "TIFF" else b"<x:xmpmeta><cut off"
    refused(with_xmp(image_format, packet), "XMP")


def test_a_label_that_is_no_json():
    assert "no label" in refused(encoded(xmp=xmp("<TC260:AIGC>{Label: 1</TC260:AIGC>")), "AIGC")


@pytest.mark.parametrize("name", ["parameters", "prompt", "workflow", "AIGC", "Dream"])
def test_a_long_png_text(name):
    refused(png(**{name: "x" * (2 << 20)}), name)


def test_a_png_text_that_unpacks_to_more_refuses_the_file():
    text = zlib.compress(bytes(MANY), 9)
    chunk = b"zTXtparameters\x00\x00" + text
    chunk = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    content = encoded("PNG")
    with pytest.raises(ValueError, match="bomb.png: .*TEXT_CHUNK"):
        tellsign.provenance({"bytes": content[:33] + chunk + content[33:], "path": "bomb.png"})


def test_a_long_exif_block():
    refused(with_info(exif=b"Exif\x00\x00" + bytes(MANY)), "EXIF")


@pytest.mark.parametrize("kind", ["stealth_pngcomp", "stealth_rgbcomp"])
def test_a_hidden_text_that_unpacks_to_more(kind):
    content = hidden(gzip.compress(bytes(MANY), 9), kind, size=(800, 600))
    tracemalloc.start()
    assert "unpacks to more" in refused(content, kind)
    assert tracemalloc.get_traced_memory()[1] < MANY
    tracemalloc.stop()


@pytest.mark.parametrize("kind", ["stealth_pnginfo", "stealth_pngcomp", "stealth_rgbinfo", "stealth_rgbcomp"])
@pytest.mark.parametrize("bits", [2**32 - 1, 10**6])
def test_a_hidden_text_that_is_longer_than_the_picture(kind, bits):
    assert "has room for" in refused(hidden(packed(NOVELAI, kind), kind, bits=bits), kind)


def test_a_hidden_text_that_is_not_packed_as_it_says():
    refused(hidden(b"a moose", "stealth_pngcomp"), "stealth_pngcomp")


@pytest.mark.parametrize("start", [1 << 20, 2**31])
def test_a_thumbnail_outside_of_its_record(start):
    block = bytearray(exif_of(thumbnail=encoded(image=picture().resize((32, 21))), Make="Leica", Model="M11"))
    place = block.rindex(b"\x01\x02\x04\x00" if block[6:8] == b"II" else b"\x02\x01\x00\x04")
    block[place + 8 : place + 12] = start.to_bytes(4, "little" if block[6:8] == b"II" else "big")
    (statement,) = tellsign.provenance(encoded(exif=bytes(block)))
    assert "lies outside of the record" in statement["text"]


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_files_that_are_damaged_anywhere_raise_nothing_else(image_format):
    content = bytearray(with_xmp(image_format, xmp("", 'ext:DigitalSourceType="print"')))
    for place in range(0, len(content), max(1, len(content) // 60)):
        cut = bytes(content[:place])
        for bad in (cut, cut + b"\xff\x00\xff\xff" + bytes(content[place + 4 :])):
            try:
                assert isinstance(tellsign.provenance({"bytes": bad, "path": "bad"}), list)
            except ValueError as error:
                assert str(error).startswith("bad: ")
