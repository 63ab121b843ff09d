"""Content Credentials: what a manifest states, and who vouches for it."""

import copy
import io
import json
import socket

import pytest
from PIL import Image

import tellsign
from tellsign.pipelines.answer import in_words
from tellsign.pipelines.provenance import content_credentials as module
from tellsign.pipelines.provenance import statements
from tests.stated import AI, VOCABULARY, Authority, encoded, xmp


pytest.importorskip("c2pa")


@pytest.fixture(scope="module")
def root() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def signed(root) -> bytes:
    """A JPEG file with a manifest."""
    return root.sign()


@pytest.fixture
def anchors(root, tmp_path):
    """The file of the root's certificate."""
    (tmp_path / "anchors.pem").write_bytes(b"# the tests' own\n" + root.pem)
    return tmp_path / "anchors.pem"


def only(content: bytes, **options) -> dict:
    (statement,) = tellsign.provenance(content, **options)
    return {key: value for key, value in statement.items() if value}


def report_of(content: bytes, root: Authority) -> dict:
    import c2pa

    settings = module._SETTINGS | {"trust": {"trust_anchors": root.pem.decode()}}
    with (
        c2pa.Context.from_dict(settings) as context,
        c2pa.Reader("image/jpeg", io.BytesIO(content), context=context) as reader,
    ):
        return json.loads(reader.json())


def test_a_manifest_tells_claim_generator_and_signer(signed):
    made = {"source": "c2pa", "trust": "unknown", "claim": AI, "generator": "Painter", "version": "2.1"}
    assert only(signed) == made | {"signer": "Test Studio", "signature": "valid", "hash": "fits"}


def test_a_changed_pixel_breaks_the_hash_but_not_the_signature(signed, anchors):
    changed = bytearray(signed)
    changed[-20] ^= 1
    statement = only(bytes(changed), trust_anchors=anchors)
    assert (statement["signature"], statement["hash"], statement["claim"]) == ("valid", "differs", AI)
    assert statement["trust"] == "broken"
    words = in_words(tellsign.provenance(bytes(changed))[0])
    assert "signed as Test Studio" in words and "but the file was changed after that" in words


def test_a_changed_claim_breaks_the_signature(signed, anchors):
    changed = signed.replace(b"Painter", b"Printer")
    assert changed != signed and only(changed)["hash"] == "differs"
    changed = signed.replace(b"tests", b"tasks")
    statement = only(changed, trust_anchors=anchors)
    assert changed != signed and (statement["signature"], statement["trust"]) == ("invalid", "broken")


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_a_chain_to_an_anchor_is_trusted_in_any_format(image_format, root, anchors):
    mime = f"image/{image_format.lower()}"
    statement = only(root.sign(encoded(image_format), mime), trust_anchors=anchors)
    assert (statement["trust"], statement["hash"]) == ("trusted", "fits")


@pytest.mark.parametrize("name", ["Other", "Root"])
def test_another_root_is_a_stranger_whatever_its_name(name, signed, tmp_path):
    (tmp_path / "other.pem").write_bytes(Authority(name).pem)
    assert only(signed, trust_anchors=tmp_path / "other.pem")["trust"] == "unknown"


@pytest.mark.parametrize("code", ["expired", "ocsp.revoked", "invalid", "untrusted"])
def test_a_certificate_that_fails_is_not_trusted(code, signed, root):
    report = report_of(signed, root)
    assert [found["trust"] for found in module._statements(report)] == ["trusted"]
    failure = {"code": f"signingCredential.{code}", "url": "", "explanation": ""}
    report["validation_results"]["activeManifest"]["failure"].append(failure)
    assert [found["trust"] for found in module._statements(report)] == ["unknown"]


def test_a_manifest_without_a_hash_of_pixels_is_not_trusted(signed, root):
    report = report_of(signed, root)
    codes = report["validation_results"]["activeManifest"]
    codes["success"] = [entry for entry in codes["success"] if not entry["code"].endswith("Hash.match")]
    (statement,) = module._statements(report)
    assert (statement["trust"], statement["hash"]) == ("unknown", "")


def test_a_trusted_editor_does_not_vouch_for_a_strangers_claim(root, anchors):
    stranger = Authority("Stranger").sign(source_type=VOCABULARY + "digitalCapture")
    statement = only(root.sign(parent=stranger), trust_anchors=anchors)
    assert (statement["claim"], statement["hash"], statement["trust"]) == ("digitalCapture", "fits", "unknown")


def test_a_stranger_does_not_inherit_trust_from_what_was_opened(root, anchors):
    forged = Authority("Stranger").sign(parent=root.sign(source_type=VOCABULARY + "digitalCapture"))
    statement = only(forged, trust_anchors=anchors)
    assert (statement["claim"], statement["trust"]) == ("digitalCapture", "unknown")


def test_a_word_that_iptc_does_not_know_is_quoted_and_no_claim(root):
    statement = only(root.sign(source_type=VOCABULARY + "Verified_photograph_by_Reuters"))
    assert "claim" not in statement and "Verified_photograph_by_Reuters" in statement["text"]


def test_a_watermark_that_cannot_be_read_is_named(root):
    binding = {"label": "c2pa.soft-binding", "data": {"alg": "com.digimarc.validate.1", "blocks": []}}
    assert "com.digimarc.validate.1" in only(root.sign(assertions=(binding,)))["text"]


def test_words_say_that_nobody_vouches_for_a_stranger(signed, anchors):
    (stranger,), (known,) = tellsign.provenance(signed), tellsign.provenance(signed, trust_anchors=anchors)
    assert "signed as Test Studio by a certificate that nobody vouches for" in in_words(stranger)
    assert "nobody" not in in_words(known) and "signed by Test Studio" in in_words(known)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_a_cut_off_manifest_is_unreadable_and_no_crash(signed, share, monkeypatch):
    opened = Image.open(io.BytesIO(encoded()))
    monkeypatch.setattr(statements, "open_image", lambda _: copy.copy(opened))  # which C2PA does not need
    statement = only(signed[: signed.index(b"c2pa") + int(share * 10_000)])
    assert (statement["source"], statement["claim"]) == ("c2pa", "unreadable")


def test_a_manifest_whose_report_is_too_long_is_unreadable(signed, monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    assert only(signed)["claim"] == "unreadable"


def test_a_manifest_that_lies_elsewhere_is_not_fetched():
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
    statement = only(signed)
    assert (statement["claim"], statement["text"]) == ("not read", "pip install c2pa-python")


def test_the_letters_c2pa_alone_are_no_manifest(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "c2pa", None)
    assert tellsign.provenance(encoded() + b"c2pa") == []


def test_unreadable_anchors_are_an_error_that_names_them(signed, tmp_path):
    (tmp_path / "empty.pem").write_text("nothing")
    for name, reason in (("missing.pem", "No such file"), ("empty.pem", "holds no certificate")):
        with pytest.raises(ValueError, match=f"{name}: {reason}"):
            tellsign.provenance(signed, trust_anchors=tmp_path / name)


def test_the_environment_names_anchors(signed, anchors, monkeypatch):
    monkeypatch.setenv("TELLSIGN_TRUST_ANCHORS", str(anchors))
    assert only(signed)["trust"] == "trusted"
