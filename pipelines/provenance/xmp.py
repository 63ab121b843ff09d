"""Statements in XMP packets, whatever format of file holds them."""

from collections.abc import Iterator
from typing import Any
from xml.parsers import expat

from .aigc_label import label_in
from .generators import GROK, generator_in, generator_of, is_of_grok
from .statement import Statement, checked_length, claim_of, statement, unreadable


MAX_DEPTH = 64
"""Deepest nesting of elements that is read."""
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_NAMES = {
    f"{_IPTC} DigitalSourceType": "type",
    f"{_IPTC} digitalSourceType": "type",
    f"{_IPTC} AISystemUsed": "system",
    f"{_IPTC} AISystemVersionUsed": "version",
    f"{_IPTC} AIPromptInformation": "prompt",
    "http://ns.adobe.com/photoshop/1.0/ Credit": "credit",
    "http://ns.adobe.com/xap/1.0/ CreatorTool": "tool",
    "http://purl.org/dc/elements/1.1/ description": "description",
    "http://purl.org/dc/elements/1.1/ creator": "creator",
    "http://www.tc260.org.cn/ns/AIGC/1.0/ AIGC": "label",
}
_RDF_RESOURCE = "http://www.w3.org/1999/02/22-rdf-syntax-ns# resource"


def statements_of_xmp(packet: bytes) -> Iterator[Statement]:
    """What a packet states."""
    try:
        found = properties_in(packet)
    except (expat.ExpatError, ValueError) as error:
        yield unreadable("xmp", "XMP", error)
        return
    if text := found.get("label"):
        yield label_in("xmp", text) or unreadable("xmp", "AIGC", "is no label in JSON")
    named = [found.get(key, "") for key in ("system", "credit", "tool")]
    words = next(filter(generator_of, named), "")
    generator = found.get("system") or generator_of(words)
    prompt, version = found.get("prompt", ""), found.get("version", "")
    claim, quoted = claim_of(found.get("type", ""))
    if claim:
        yield statement("xmp", claim, generator, version, prompt or found.get("credit", ""))
    elif prompt:
        yield statement("xmp", "parameters", generator, version, prompt)
    elif generator:
        yield statement("xmp", "generator", generator, version, words or found["system"])
    elif is_of_grok(found.get("description", ""), found.get("creator", "")):
        yield statement("xmp", "generator", GROK, text=found["description"])
    elif author := next(filter(None, map(generator_in, (found.get("creator", ""), found.get("description", "")))), ""):
        yield statement("xmp", "generator", author, text=found.get("creator") or found["description"])
    if quoted:
        yield statement("xmp", "", text=quoted)


def properties_in(packet: bytes) -> dict[str, str]:
    """The properties that are read, whether they are attributes or elements.

    Raises:
        ValueError: If the packet is too long or too deep, or declares entities.
        xml.parsers.expat.ExpatError: If it is no XML.
    """
    checked_length(packet)
    found: dict[str, str] = {}
    inside: list[str] = []  # the text of a property may lie in a list or an alternative
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"is nested more than {MAX_DEPTH} deep")
        if name in _NAMES:
            inside.append(_NAMES[name])
        for key, value in [*attributes.items(), (name, attributes.get(_RDF_RESOURCE, ""))]:
            if key in _NAMES and value:
                found.setdefault(_NAMES[key], value)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        if name in _NAMES:
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
