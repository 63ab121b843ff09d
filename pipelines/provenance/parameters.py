"""Parameters of generators. Each writes them as text under names of its own."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .aigc_label import label_in
from .generators import GROK, generator_of, is_of_grok
from .statement import MAX_BYTES, Statement, statement, unreadable


_INVOKEAI = ("invokeai_metadata", "sd-metadata", "Dream")  # the newest first
_NAMES = ("parameters", "prompt", "workflow", "AIGC", *_INVOKEAI)
_NEGATIVE = ("negative_prompt", "Negative Prompt")


class Texts:
    """Texts of a file by their names; those that are too long are left out."""

    def __init__(self, texts: Mapping[Any, Any]):
        self.texts = texts

    def text(self, *names: str) -> str:
        """The first of the texts of these names, or nothing."""
        values = map(self.texts.get, names)
        return next((value for value in values if isinstance(value, str) and value and len(value) <= MAX_BYTES), "")

    def object(self, *names: str) -> dict[str, Any]:
        """The object that the first of these texts is in JSON, or an empty one."""
        try:
            value = json.loads(self.text(*names))
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}


def statements_of_texts(source: str, given: Mapping[Any, Any]) -> Iterator[Statement]:
    """What texts state: parameters, a label, and where there are none of these, the name of a generator."""
    for name in _NAMES:
        if len(str(given.get(name, ""))) > MAX_BYTES:
            yield unreadable(source, name, f"longer than {MAX_BYTES} characters")
    texts = Texts(given)
    found = [read(texts) for read in _READERS]
    if label := label_in(source, texts.text("AIGC")):
        yield label
    for generator, version, text in filter(None, found):
        yield statement(source, "parameters", generator, version, text)
    if label or any(found):
        return
    author, description = texts.text("Author", "Artist"), texts.text("Description", "ImageDescription")
    if is_of_grok(description, author):
        yield statement(source, "generator", GROK, text=description)
        return
    for name in ("Software", "Author", "Credit"):
        if generator := generator_of(texts.text(name)):
            yield statement(source, "generator", generator, text=texts.text(name))
            return


_Found = tuple[str, Any, str] | None


def _automatic1111(texts: Texts) -> _Found:
    parameters = texts.text("parameters")
    if not re.search(r"\bSteps: \d+, ", parameters):
        return None
    match = re.search(r"\bVersion: ([^,\n]+)", parameters)
    generator, number = "AUTOMATIC1111", match[1] if match else ""
    if number.startswith("Fooocus"):
        generator, _, number = number.partition(" ")
    return generator, number, parameters


def _fooocus(texts: Texts) -> _Found:
    scheme = texts.object("parameters")
    if "base_model" not in scheme:
        return None
    return "Fooocus", str(scheme.get("version", "")).removeprefix("Fooocus"), texts.text("parameters")


def _swarmui(texts: Texts) -> _Found:
    said = texts.object("parameters").get("sui_image_params")
    return ("SwarmUI", said.get("swarm_version", ""), texts.text("parameters")) if isinstance(said, dict) else None


def _comfyui(texts: Texts) -> _Found:
    graph, workflow = texts.object("prompt"), texts.object("workflow")
    is_graph = any(isinstance(node, dict) and "class_type" in node for node in graph.values())
    return ("ComfyUI", "", texts.text("prompt", "workflow")) if is_graph or "nodes" in workflow else None


def _invokeai(texts: Texts) -> _Found:
    text = texts.text(*_INVOKEAI)
    return ("InvokeAI", texts.object(*_INVOKEAI).get("app_version", ""), text) if text else None


def _novelai(texts: Texts) -> _Found:
    is_novelai = texts.text("Software") == "NovelAI"
    return ("NovelAI", texts.text("Source"), texts.text("Description")) if is_novelai else None


def _easy_diffusion(texts: Texts) -> _Found:
    prompt = texts.text("prompt", "Prompt")
    return ("Easy Diffusion", "", prompt) if prompt and any(name in texts.texts for name in _NEGATIVE) else None


_READERS = (_automatic1111, _fooocus, _swarmui, _comfyui, _invokeai, _novelai, _easy_diffusion)


__all__ = ["Texts", "statements_of_texts"]
