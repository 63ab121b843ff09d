"""What image files state of their making."""

import datetime
import io
import json
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from transformers import pipeline

import tellsign
from tellsign.pipelines import statements as module
from tellsign.pipelines.answer import in_words


FILES = Path(__file__).parents[2] / "shared" / "data" / "provenance"
needs_files = pytest.mark.skipif(not FILES.is_dir(), reason="../shared/data/provenance is not there")
AI = "trainedAlgorithmicMedia"
VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"
A1111 = "a moose\nNegative prompt: blur\nSteps: 40, Sampler: Euler a, CFG scale: 7, Seed: 1, Version: v1.9.3"


def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))


def encoded(image_format: str = "JPEG", **options) -> bytes:
    buffer = io.BytesIO()
    picture().save(buffer, image_format, **options)
    return buffer.getvalue()


def png(**texts: str) -> bytes:
    info = PngImagePlugin.PngInfo()
    for name, text in texts.items():
        info.add_text(name.replace("sd_metadata", "sd-metadata"), text)
    return encoded("PNG", pnginfo=info)


def xmp(inner: str, attributes: str = "") -> bytes:
    return f"""<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">
    <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
    xmlns:ext="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" {attributes}>{inner}</rdf:Description></rdf:RDF>
    </x:xmpmeta><?xpacket end="w"?>""".encode()


def only(source) -> dict:
    """The one statement of an image, without what it does not say."""
    (statement,) = tellsign.provenance(source)
    assert set(statement) == set(module.Statement.__annotations__)
    return {key: value for key, value in statement.items() if value}


@pytest.fixture(scope="session")
def signed() -> bytes:
    """A JPEG file with a manifest that a certificate of the test's own signs."""
    c2pa = pytest.importorskip("c2pa")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def name_of(text: str) -> x509.Name:
        parts = (NameOID.ORGANIZATION_NAME, "Test Studio"), (NameOID.COMMON_NAME, text)
        return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])

    def certificate(subject: str, issuer: str, key, signing_key, is_authority: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        flags = dict.fromkeys(
            "content_commitment key_encipherment data_encipherment key_agreement crl_sign encipher_only "
            "decipher_only".split(),
            False,
        )
        usage = x509.KeyUsage(digital_signature=not is_authority, key_cert_sign=is_authority, **flags)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name_of(subject))
            .issuer_name(name_of(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()), critical=False
            )
        )
        if not is_authority:
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        return builder.sign(signing_key, hashes.SHA256())

    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    chain = [
        certificate("Signer", "Root", key, root_key, False),
        certificate("Root", "Root", root_key, root_key, True),
    ]
    signer = c2pa.Signer.from_info(
        c2pa.C2paSignerInfo(
            alg=c2pa.C2paSigningAlg.ES256,
            sign_cert=b"".join(part.public_bytes(serialization.Encoding.PEM) for part in chain),
            private_key=key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
            ta_url=None,
        )
    )
    action = {"action": "c2pa.created", "digitalSourceType": VOCABULARY + AI, "softwareAgent": {"name": "Painter"}}
    action["softwareAgent"]["version"] = "2.1"
    manifest = {
        "claim_generator_info": [{"name": "tests", "version": "1"}],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [action]}}],
    }
    output = io.BytesIO()
    with c2pa.Builder(json.dumps(manifest)) as builder:
        builder.sign(signer, "image/jpeg", io.BytesIO(encoded()), output)
    return output.getvalue()


def test_a_manifest_tells_claim_generator_and_signer(signed):
    assert only(signed) == {
        "source": "c2pa",
        "claim": AI,
        "generator": "Painter",
        "version": "2.1",
        "signer": "Test Studio",
        "signature": "valid",
        "hash": "fits",
    }


def test_a_changed_pixel_breaks_the_hash_but_not_the_signature(signed):
    changed = bytearray(signed)
    changed[-20] ^= 1
    statement = only(bytes(changed))
    assert (statement["signature"], statement["hash"], statement["claim"]) == ("valid", "differs", AI)


def test_a_changed_claim_breaks_the_signature(signed):
    changed = signed.replace(b"Painter", b"Printer")
    assert changed != signed and only(changed)["hash"] == "differs"
    changed = signed.replace(b"tests", b"tasks")
    assert changed != signed and only(changed)["signature"] == "invalid"


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_a_cut_off_manifest_is_unreadable_and_no_crash(signed, share, monkeypatch):
    monkeypatch.setattr(module, "open_image", lambda _: Image.open(io.BytesIO(encoded())))  # which C2PA does not need
    statement = only(signed[: signed.index(b"c2pa") + int(share * 10_000)])
    assert (statement["source"], statement["claim"]) == ("c2pa", "unreadable")


def test_a_manifest_whose_report_is_too_long_is_unreadable(signed, monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    assert only(signed)["claim"] == "unreadable"


def test_a_manifest_that_lies_elsewhere_is_not_fetched():
    pytest.importorskip("c2pa")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        place = f"http://127.0.0.1:{server.getsockname()[1]}/manifest"
        address = f'xmlns:dcterms="http://purl.org/dc/terms/" dcterms:provenance="{place}"'
        statement = only(encoded(xmp=xmp("", address)))
        with pytest.raises(BlockingIOError):  # nobody has called
            server.accept()
    assert statement["claim"] == "unreadable" and place in statement["text"]


def test_without_the_package_a_manifest_is_said_to_be_unread(signed, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "c2pa", None)
    assert only(signed) == {"source": "c2pa", "claim": "not read", "text": "pip install c2pa-python"}


def test_the_letters_c2pa_alone_are_no_manifest(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "c2pa", None)
    assert tellsign.provenance(encoded() + b"c2pa") == []


@pytest.mark.parametrize(
    "packet",
    [
        xmp("", f'ext:DigitalSourceType="{VOCABULARY}{AI}"'),
        xmp(f"<ext:DigitalSourceType>{VOCABULARY}{AI}</ext:DigitalSourceType>"),
        xmp(f'<ext:DigitalSourceType rdf:resource="{VOCABULARY}{AI}"/>'),
    ],
)
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_xmp_tells_the_digital_source_type(packet, image_format):
    if image_format == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", packet.decode())
        content = encoded("PNG", pnginfo=info)
    else:
        content = encoded(image_format, xmp=packet)
    assert only(content) == {"source": "xmp", "claim": AI}


def test_xmp_tells_the_system_and_its_version():
    packet = xmp("", 'ext:AISystemUsed="Painter" ext:AISystemVersionUsed="3"')
    assert only(encoded(xmp=packet)) == {
        "source": "xmp",
        "claim": "generator",
        "generator": "Painter",
        "version": "3",
        "text": "Painter",
    }


@pytest.mark.parametrize(
    "packet",
    [
        b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><cut off",
        b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>',
        b"<x>" + b" " * (1 << 20) + b"</x>",
    ],
)
def test_broken_or_hostile_or_long_xmp_is_unreadable(packet):
    image = picture()
    image.info["xmp"] = packet
    assert only(image)["claim"] == "unreadable"


@pytest.mark.parametrize(
    ("texts", "generator", "version"),
    [
        ({"parameters": A1111}, "AUTOMATIC1111", "v1.9.3"),
        ({"parameters": A1111.replace("v1.9.3", "Fooocus v2.5.5")}, "Fooocus", "v2.5.5"),
        ({"parameters": '{"base_model": "x", "version": "Fooocus v2.5.5"}'}, "Fooocus", "v2.5.5"),
        ({"prompt": '{"1": {"class_type": "KSampler"}}'}, "ComfyUI", ""),
        ({"workflow": '{"nodes": []}'}, "ComfyUI", ""),
        ({"invokeai_metadata": '{"app_version": "5.0.2"}'}, "InvokeAI", "5.0.2"),
        ({"sd_metadata": '{"app_version": "v2.3"}'}, "InvokeAI", "v2.3"),
        ({"Dream": '"a moose" -s 50'}, "InvokeAI", ""),
        (
            {"Software": "NovelAI", "Source": "NovelAI Diffusion V4", "Description": "x"},
            "NovelAI",
            "NovelAI Diffusion V4",
        ),
    ],
)
def test_png_text_tells_whose_parameters_it_holds(texts, generator, version):
    statement = only(png(**texts))
    assert (statement["source"], statement["claim"]) == ("png_text", "parameters")
    assert (statement["generator"], statement.get("version", "")) == (generator, version)


@pytest.mark.parametrize("text", ["a moose", '{"a": ' * 100_000, "[1]", '{"1": 2}', "9" * 5000])
def test_png_text_of_something_else_states_nothing(text):
    assert tellsign.provenance(png(parameters=text, prompt=text, workflow=text, Software=text)) == []


def test_png_text_behind_the_pixels_is_read():
    content, head = png(parameters=A1111), encoded("PNG")
    start = content.index(b"tEXt") - 4
    chunk = content[start : start + 12 + int.from_bytes(content[start : start + 4], "big")]
    moved = head[:-12] + chunk + head[-12:]
    assert only(moved)["generator"] == "AUTOMATIC1111"


def test_png_text_that_is_too_long_is_unreadable(monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 50)
    assert only(png(parameters=A1111))["claim"] == "unreadable"


def exif_of(**tags) -> bytes:
    exif = Image.Exif()
    for name, value in tags.items():
        if name == "UserComment":
            exif.get_ifd(0x8769)[0x9286] = value
        else:
            exif[{value: key for key, value in module.ExifTags.TAGS.items()}[name]] = value
    return exif.tobytes()


@pytest.mark.parametrize("image_format", ["JPEG", "WEBP"])
@pytest.mark.parametrize("code", [b"UNICODE\x00", b"ASCII\x00\x00\x00"])
def test_exif_holds_parameters_in_the_user_comment(image_format, code):
    comment = code + A1111.encode("utf-16-be" if code[0] == ord("U") else "ascii")
    statement = only(encoded(image_format, exif=exif_of(UserComment=comment)))
    assert (statement["source"], statement["generator"], statement["version"]) == ("exif", "AUTOMATIC1111", "v1.9.3")


def test_exif_names_a_generator_while_a_camera_states_nothing():
    assert only(encoded(exif=exif_of(Make="Ideogram AI")))["generator"] == "Ideogram AI"
    assert tellsign.provenance(encoded(exif=exif_of(Make="NIKON", Software="Picasa", Artist="A. Imagen"))) == []


def test_control_characters_and_length_of_a_text_are_bounded():
    text = only(png(parameters="\x1b[31m<b>" + "x" * 10_000 + A1111))["text"]
    assert len(text) == 200 and text.isprintable() and text.startswith("[31m<b>")


def test_arrays_and_plain_files_state_nothing():
    assert tellsign.provenance(np.zeros((8, 8, 3), np.uint8)) == []
    assert tellsign.provenance(encoded()) == []


def test_what_is_no_image_is_refused_by_name(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"c2pa")
    with pytest.raises(ValueError, match="broken.jpg"):
        tellsign.provenance(tmp_path / "broken.jpg")


def test_words_say_who_signed_and_that_the_file_was_changed(signed):
    changed = bytearray(signed)
    changed[-20] ^= 1
    assert in_words(tellsign.provenance(bytes(changed))[0]) == (
        "made by a generative model, Painter 2.1 (C2PA, signature valid, signed as Test Studio, but the file was "
        "changed after that)"
    )


# Of the statements of each file: source, claim and generator, and of C2PA signer, signature and hash.
STATED = {
    "designer_c2pa.jpg": [
        ("c2pa", AI, "Image Creator from Designer", "Microsoft Corporation", "valid", "fits"),
    ],
    "tampered_c2pa.jpg": [
        ("c2pa", AI, "Image Creator from Designer", "Microsoft Corporation", "valid", "differs"),
    ],
    "chatgpt_c2pa.webp": [("c2pa", AI, "DALL·E", "OpenAI", "valid", "fits")],  # by the image that it was made out of
    "openai_api_c2pa.png": [("c2pa", AI, "GPT-4o", "OpenAI", "valid", "fits")],
    "google_c2pa.jpg": [("c2pa", AI, "Google C2PA Core Generator Library", "Google LLC", "valid", "fits")],
    "google_xmp.jpg": [("iptc", "generator", "Google AI", "", "", ""), ("xmp", AI, "Google AI", "", "", "")],
    "imagefx_iptc.jpg": [("iptc", "generator", "Google AI", "", "", ""), ("xmp", AI, "Google AI", "", "", "")],
    "ideogram_exif.jpg": [("exif", "generator", "Ideogram AI", "", "", "")],
    "grok_exif.jpg": [("exif", "generator", "Grok (xAI)", "", "", "")],
    "a1111_parameters.png": [("png_text", "parameters", "AUTOMATIC1111", "", "", "")],
    "comfyui_prompt.png": [("png_text", "parameters", "ComfyUI", "", "", "")],
    "camera_exif.jpg": [],
}


@needs_files
@pytest.mark.parametrize("name", STATED)
def test_real_files_are_read_as_their_readme_says(name):
    pytest.importorskip("c2pa")
    keys = ("source", "claim", "generator", "signer", "signature", "hash")
    assert [tuple(found[key] for key in keys) for found in tellsign.provenance(FILES / name)] == STATED[name]


def test_answers_hold_what_a_file_states_in_whatever_form(checkpoint, tmp_path):
    content = png(parameters=A1111)
    (tmp_path / "made.png").write_bytes(content)
    sources = [str(tmp_path / "made.png"), content, {"bytes": content, "path": None}, Image.open(io.BytesIO(content))]
    judge = pipeline("artifact-explanation", model=str(checkpoint), explain="never")
    stated = [answer["provenance"] for answer in judge([*sources, encoded()], batch_size=5)]
    assert stated == [*[[only(content) | dict.fromkeys(("signer", "signature", "hash"), "")]] * 4, []]
    assert judge(sources[0])["provenance"] == stated[0]


@needs_files
@pytest.mark.parametrize("name", [name for name, found in STATED.items() if found])
def test_what_real_files_state_leads_the_summary(name):
    pytest.importorskip("c2pa")
    summary = pipeline("artifact-explanation", explain="never")(FILES / name)["summary"]
    assert summary.startswith("The file states: ")
    assert ("but the file was changed after that" in summary) == (name == "tampered_c2pa.jpg")
