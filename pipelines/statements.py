"""What an image file itself states of its making: Content Credentials (C2PA), IPTC, XMP, EXIF and PNG text.

It needs Pillow alone, since `judge.py` of an export takes it along.
"""

import io
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from xml.parsers import expat

from PIL import ExifTags, Image, IptcImagePlugin

from tellsign.modeling.image_files import open_image

from .answer import NOT_READ, UNREADABLE, Statement


MAX_BYTES = 1 << 20
"""Longest text, XMP packet or C2PA report that is read."""
MAX_CHARACTERS = 200
"""Most characters of a text that a statement repeats."""
# Names that stand for generators of images and nothing else.
_GENERATORS = re.compile(
    r"\b(Ideogram AI|Midjourney|NovelAI|DALL[·-]?E(?: ?\d)?|Adobe Firefly|Stable Diffusion|Google AI|InvokeAI)\b"
)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# As a regular expression, since the address of the vocabulary is written with http and https.
_SOURCE_TYPE = re.compile(r"(?:https?://cv\.iptc\.org/newscodes/digitalsourcetype/)?(\w+)")
_XMP_NAMES = {
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29/ DigitalSourceType": "type",
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29/ digitalSourceType": "type",
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29/ AISystemUsed": "system",
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29/ AISystemVersionUsed": "version",
    "http://ns.adobe.com/photoshop/1.0/ Credit": "credit",
    "http://ns.adobe.com/xap/1.0/ CreatorTool": "tool",
}
_RDF_RESOURCE = "http://www.w3.org/1999/02/22-rdf-syntax-ns# resource"
_INVOKEAI = ("invokeai_metadata", "sd-metadata", "Dream")  # the newest first
_C2PA_SETTINGS = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}


def statements_in(content: bytes | Image.Image, name: str) -> list[Statement]:
    """What an image file states of its making, as [`~tellsign.provenance`] says.

    Args:
        content (`bytes` or `PIL.Image.Image`): The file's content, or an image, which has no C2PA manifest.
        name (`str`): What to call it in an error.

    Raises:
        ValueError: If the image cannot be opened.
    """
    if isinstance(content, Image.Image):
        return list(_metadata(content))
    try:
        opened = open_image(content)
        if opened.format == "PNG" and _has_text_behind_pixels(content):
            opened.load()
    except Exception as error:  # Pillow's decoders raise all sorts on damaged files
        raise ValueError(f"{name}: {error}") from error
    return [*_c2pa(content, opened), *_metadata(opened)]


def _short(text: Any) -> str:
    """A text, or the one in bytes, without control characters and cut to what a statement repeats."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    words = "".join(letter if letter.isprintable() else " " for letter in str(text)[: 4 * MAX_CHARACTERS]).split()
    text = " ".join(words)
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"


def _statement(source: str, claim: str, generator: Any = "", version: Any = "", text: Any = "", **c2pa) -> Statement:
    statement = Statement(
        source=source,
        claim=_short(claim),
        generator=_short(generator),
        version=_short(version),
        signer="",
        signature="",
        hash="",
        trust="",
        text=_short(text),
    )
    statement.update(c2pa)  # type: ignore[typeddict-item]
    return statement


def _has_text_behind_pixels(content: bytes) -> bool:
    """Whether Pillow must read the pixels of a PNG file before it knows all of its texts."""
    end = content.rfind(b"IDAT")
    return any(content.find(kind, end) >= 0 for kind in (b"tEXt", b"zTXt", b"iTXt", b"eXIf"))


def _c2pa(content: bytes, image: Image.Image) -> Iterator[Statement]:
    # The beginning of every manifest store, and what says that one lies elsewhere.
    if b"jumdc2pa" not in content and b"dcterms:provenance" not in content:
        return
    try:
        import c2pa
    except ImportError:
        yield _statement("c2pa", NOT_READ, text="pip install c2pa-python")
        return
    mime = "image/jpeg" if image.format == "MPO" else Image.MIME.get(image.format or "", "")
    try:
        with (
            c2pa.Context.from_dict(_C2PA_SETTINGS) as context,
            c2pa.Reader(mime, io.BytesIO(content), context=context) as reader,
        ):
            report = reader.json()
        if len(report) > MAX_BYTES:
            raise ValueError(f"the report has {len(report)} characters")
        yield from list(_manifest_statements(json.loads(report)))
    except (c2pa.C2paError.ManifestNotFound, c2pa.C2paError.NotSupported):
        return
    except Exception as error:  # what is damaged may fail anywhere
        yield _statement("c2pa", UNREADABLE, text=error)


def _manifest_statements(report: dict[str, Any]) -> Iterator[Statement]:
    """What the active manifest and its [`_lineage`] state."""
    active = report["manifests"][report["active_manifest"]]
    codes = report["validation_results"]["activeManifest"]
    fine, wrong = ([entry["code"] for entry in codes.get(key, ())] for key in ("success", "failure"))
    # Failures of the certificate, such as its age, are no mismatch of what it signed.
    is_signed = "claimSignature.validated" in fine
    differs = any(code.startswith("assertion.") for code in wrong)
    signed = {
        "signer": _short(active.get("signature_info", {}).get("issuer", "")),
        "signature": "valid" if is_signed else "invalid",
        "hash": "differs" if differs else "fits" if any(code.endswith("Hash.match") for code in fine) else "",
    }
    seen: list[tuple[str, str]] = []
    for manifest in _lineage(report):
        for action in _actions(manifest):
            agent = action.get("softwareAgent") or {}
            agent = agent if isinstance(agent, dict) else {"name": agent}
            match = _SOURCE_TYPE.fullmatch(action.get("digitalSourceType", ""))
            if match and (found := (match[1], agent.get("name", ""))) not in seen:
                seen.append(found)
                name, version = (found[1], agent.get("version", "")) if found[1] else _claim_generator(manifest)
                yield _statement("c2pa", found[0], name, version, action.get("description", ""), **signed)
    if not seen:
        yield _statement("c2pa", "", *_claim_generator(active), **signed)


def _lineage(report: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The active manifest, then those of the images that it was made out of, one out of the other."""
    manifests, label, visited = report["manifests"], report["active_manifest"], set()
    while label in manifests and label not in visited:
        visited.add(label)
        yield manifests[label]
        parents = (part for part in manifests[label].get("ingredients", ()) if part.get("relationship") == "parentOf")
        label = next((part.get("active_manifest") for part in parents), None)


def _actions(manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for assertion in manifest.get("assertions", ()):
        if assertion["label"].startswith("c2pa.actions"):
            yield from assertion["data"].get("actions", ())


def _claim_generator(manifest: dict[str, Any]) -> tuple[str, str]:
    """Name and version of the program that wrote a manifest."""
    for info in manifest.get("claim_generator_info") or ():
        return info.get("name", ""), info.get("version", "")
    name, _, version = manifest.get("claim_generator", "").partition("/")
    return name, version


def _metadata(image: Image.Image) -> Iterator[Statement]:
    """The statements in the metadata that Pillow reads."""
    info = image.info
    yield from _iptc(image)
    if xmp := info.get("xmp") or info.get("XML:com.adobe.xmp"):
        yield from _xmp(xmp if isinstance(xmp, bytes) else str(xmp).encode())
    yield from _exif(image)
    if image.format == "PNG":
        yield from _texts("png_text", {name: value for name, value in info.items() if isinstance(name, str)})


def _iptc(image: Image.Image) -> Iterator[Statement]:
    try:
        fields = IptcImagePlugin.getiptcinfo(image) or {}  # type: ignore[arg-type] # any image with its `info`
        credit = fields.get((2, 110), b"")  # its name in IPTC's Information Interchange Model is Credit
        text = _short(credit if isinstance(credit, bytes) else b" ".join(credit))
    except Exception as error:  # Pillow checks little
        yield _statement("iptc", UNREADABLE, text=error)
        return
    if match := _GENERATORS.search(text):
        yield _statement("iptc", "generator", match[1], text=text)


def _xmp(packet: bytes) -> Iterator[Statement]:
    try:
        found = _xmp_properties(packet)
    except (expat.ExpatError, ValueError) as error:
        yield _statement("xmp", UNREADABLE, text=error)
        return
    named = [found.get(key, "") for key in ("system", "credit", "tool")]
    match = next(filter(None, map(_GENERATORS.search, named)), None)
    generator = found.get("system") or (match[1] if match else "")
    if kind := _SOURCE_TYPE.fullmatch(found.get("type", "").strip()):
        yield _statement("xmp", kind[1], generator, found.get("version", ""), found.get("credit", ""))
    elif generator:
        text = match.string if match else found["system"]
        yield _statement("xmp", "generator", generator, found.get("version", ""), text)


def _xmp_properties(packet: bytes) -> dict[str, str]:
    """Those of `_XMP_NAMES` in an XMP packet, whether they are attributes or elements.

    Raises:
        ValueError: If it is too long, or declares entities.
        xml.parsers.expat.ExpatError: If it is no XML.
    """
    if len(packet) > MAX_BYTES:
        raise ValueError(f"has {len(packet)} bytes")
    found: dict[str, str] = {}
    inside: list[str] = []  # the text of a property may lie in a list or an alternative

    def start(name: str, attributes: dict[str, str]) -> None:
        if name in _XMP_NAMES:
            inside.append(_XMP_NAMES[name])
        for key, value in [*attributes.items(), (name, attributes.get(_RDF_RESOURCE, ""))]:
            if key in _XMP_NAMES and value:
                found.setdefault(_XMP_NAMES[key], value)

    def end(name: str) -> None:
        if name in _XMP_NAMES:
            inside.pop()

    def text(content: str) -> None:
        if inside and content.strip():
            found[inside[-1]] = found.get(inside[-1], "") + content

    def refuse(*_: Any) -> None:
        raise ValueError("declares an entity")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.EntityDeclHandler = text, refuse
    parser.Parse(packet.strip(b"\x00"), True)
    return found


def _exif(image: Image.Image) -> Iterator[Statement]:
    if image.format == "PNG" and not {"exif", "Raw profile type exif"} & image.info.keys():
        return  # Pillow would read the pixels to find out
    try:
        exif = image.getexif()
        tags = {ExifTags.TAGS.get(key, ""): value for key, value in exif.items()}
        comment = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment, b"")
        comment = _user_comment(comment) if isinstance(comment, bytes) else str(comment)
    except Exception as error:  # what is damaged may fail anywhere
        yield _statement("exif", UNREADABLE, text=error)
        return
    texts = {"parameters": comment}
    for name in ("Make", "Model", "ImageDescription"):
        key, _, value = str(tags.get(name, "")).partition(":")
        if key in ("prompt", "workflow"):  # as ComfyUI writes WebP
            texts[key] = value
    if found := list(_texts("exif", texts)):
        yield from found
        return
    for name in ("Make", "Model", "Software", "ImageDescription", "Artist"):
        text = _short(tags.get(name, ""))
        if match := _GENERATORS.search(text):
            yield _statement("exif", "generator", match[1], text=text)
            return
    # What xAI writes: a signature, and the number of the picture in place of an artist.
    description = str(tags.get("ImageDescription", ""))
    if description.startswith("Signature: ") and _UUID.fullmatch(str(tags.get("Artist", ""))):
        yield _statement("exif", "generator", "Grok (xAI)", text=description)


def _user_comment(comment: bytes) -> str:
    """The text of EXIF's UserComment, which begins with 8 bytes that name its encoding."""
    code, text = comment[:8].rstrip(b"\x00"), comment[8:]
    if code == b"UNICODE":
        return text.decode("utf-16-le" if text[1:2] == b"\x00" else "utf-16-be", "replace")
    return text.decode("utf-8", "replace")


def _texts(source: str, texts: Mapping[str, Any]) -> Iterator[Statement]:
    """Parameters of generators. Each writes them as text under names of its own."""

    def text_of(name: str) -> str:
        text = texts.get(name)
        return text if isinstance(text, str) and len(text) <= MAX_BYTES else ""

    def object_of(name: str) -> dict[str, Any]:
        try:
            value = json.loads(text_of(name))
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}

    for name in ("parameters", "prompt", "workflow", *_INVOKEAI):
        if len(str(texts.get(name, ""))) > MAX_BYTES:
            yield _statement(source, UNREADABLE, text=f"{name}: longer than {MAX_BYTES} characters")
    parameters = text_of("parameters")
    if re.search(r"\bSteps: \d+, ", parameters):
        match = re.search(r"\bVersion: ([^,\n]+)", parameters)
        generator, number = "AUTOMATIC1111", match[1] if match else ""
        if number.startswith("Fooocus"):
            generator, _, number = number.partition(" ")
        yield _statement(source, "parameters", generator, number, parameters)
    elif "base_model" in (scheme := object_of("parameters")):
        version = str(scheme.get("version", "")).removeprefix("Fooocus")
        yield _statement(source, "parameters", "Fooocus", version, parameters)
    graph, workflow = object_of("prompt"), object_of("workflow")
    if any(isinstance(node, dict) and "class_type" in node for node in graph.values()) or "nodes" in workflow:
        yield _statement(source, "parameters", "ComfyUI", text=text_of("prompt") or text_of("workflow"))
    if name := next(filter(text_of, _INVOKEAI), ""):
        yield _statement(source, "parameters", "InvokeAI", object_of(name).get("app_version", ""), text_of(name))
    if text_of("Software") == "NovelAI":
        yield _statement(source, "parameters", "NovelAI", text_of("Source"), text_of("Description"))
