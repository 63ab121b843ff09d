"""Explanations in what a language model wrote freely."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import json_repair

from tellsign.configuration.artifacts import ARTIFACTS, find_artifact

from .formats import limit_words


_DECORATION = r"[\s>#*_\-–—•'\"`\[{(]*"
_BULLET = re.compile(rf"^(?:{_DECORATION}(?P<number>\(?\d{{1,2}}(?:[.):](?=\s|\*|$)|\s*$)))?{_DECORATION}")
_ORDINAL = re.compile(r"^(?:the|a|an|another) (?:[\w-]+ )?artifact (?:here )?is (?:called |that of )?", re.IGNORECASE)
_SEPARATOR = re.compile(r"\s*:\s*|\s+[-–—]\s+")
_SENTENCE = re.compile(r"(?<=[.!?])[\"')*_]*\s+|\n+")
_SUMMARY = re.compile(
    r"(?:overall|in (?:conclusion|summary|short)|to sum up|(?:all (?:of )?)?th[eo]se artifacts|"
    r"the (?:image|picture|photo) (?:contains|shows|has) the following)\b",
    re.IGNORECASE,
)
# Of stems, before a name and after it; and of what a heading says.
_NEGATION = re.compile(
    r"\b(?:no(?! longer)|none of|neither|nor|without|free (?:of|from)|absence of|lack|cannot|not (?:show|see|seen)|"
    r"(?:do|doe|did|can|could) not|(?:don|doesn|didn|can|couldn) t|(?:isn|aren) t (?:show|see))\b"
)
_ABSENCE = r"(?:not (?:present|visible|seen|found|there|evident|apparent|observed|detected)|absent)\b"
_DENIED_AFTER = re.compile(rf"(?: \w+){{0,2}} (?:i|are|wa|were) {_ABSENCE}")
_DENIAL = re.compile(rf"(?:(?:it |this )?(?:is |are )?{_ABSENCE}|none\b)", re.IGNORECASE)
_NAME_KEYS = ("artifact", "artifact name", "artifact_name", "name", "label", "class", "type")
_EXPLANATION_KEYS = ("explanation", "description", "reason", "caption")
_LONGEST_NAME = 1 + max(len(artifact.name.split()) for artifact in ARTIFACTS)


def repair(output: str | Mapping[str, Any], names: Sequence[str] | None = None) -> dict[str, str]:
    """Finds in what a language model wrote freely which artifacts it explained, and how.

    Read are JSON objects (fenced, nested, cut off in the middle, or taken apart at periods and colons, with sentences
    as keys), lists ("2. Aliasing: ..."), and prose that names artifacts ("The second artifact is ...", "The picture
    shows a bird with unnatural color transitions."). An artifact is explained by what follows its heading, or by the
    sentence that names it and those after it, up to the next artifact, item or summary. Sentences that deny an
    artifact, and mere lists of names, explain nothing.

    Args:
        output (`str` or `Mapping`): The model's text, or the JSON object that was made of it.
        names (`Sequence[str]`, *optional*):
            The artifacts that the model was asked about, in any spelling that [`find_artifact`] knows. Explanations
            of others are dropped. Defaults to all.

    Returns:
        `dict[str, str]`: Official names, in order of appearance, and their explanations of at most 50 words.

    Raises:
        ValueError: If `names` has an unknown one.
    """
    asked = [artifact.name for artifact in ARTIFACTS] if names is None else names
    wanted = {find_artifact(name).name for name in asked}
    sections: dict[str, list[str]] = {}
    current: list[str] = []  # the artifacts that the sentence at hand explains
    headed = False  # whether a heading opened the section, so that names in its text are not new sections
    before: list[str] = []  # sentences since the last section
    for sentence in _sentences(output):
        if sentence is None or _SUMMARY.match(sentence):
            current, headed, before = [], False, []
            continue
        name, text = _heading(sentence)
        if name:
            current, headed = ([] if _DENIAL.match(text) else [name]), True
        elif not headed and (mentioned := _mentions(sentence)) and mentioned != current:
            if re.match(r"(?:this|that|it) is\b", sentence, re.IGNORECASE) and not current:
                text = " ".join([*before, text])
            current = mentioned
        if not current:
            before.append(text)
        elif text:
            before = []
            for artifact in current:
                sections.setdefault(artifact, []).append(text)
    return {name: limit_words(" ".join(texts)) for name, texts in sections.items() if name in wanted}


def _sentences(output: str | Mapping[str, Any]) -> Iterator[str | None]:
    """The sentences of a model's output, with `None` where an item of a list or an object ends."""
    if isinstance(output, Mapping):
        if (name := _text_at(_NAME_KEYS, output)) and (text := _text_at(_EXPLANATION_KEYS, output)):
            yield None
            yield from _sentences(f"{name}: {text}")
            return
        for key, value in _members(output):
            if isinstance(value, Mapping):
                text = _text_at(_EXPLANATION_KEYS, value)
                yield from _sentences({key: text} if text and not _text_at(_NAME_KEYS, value) else value)
            elif not isinstance(value, str):
                continue
            elif value.strip() == key.strip():
                yield from _sentences(key)
            else:
                # A sentence that was taken apart at its colon goes on with the section, any other key ends it.
                if not _heading(f"{key}: {value}")[0]:
                    yield None
                    name, text = _heading(value)
                    if name and not text:
                        continue  # a mere name explains nothing
                yield from _sentences(f"{key}: {value}")
        return
    if objects := _json_objects(output):
        for found in objects:
            yield from _sentences(found)
        return
    for line in _SENTENCE.split(output):
        line = line.strip()
        if (bullet := _BULLET.match(line)) and bullet["number"]:
            yield None
        sentence = _BULLET.sub("", line, count=1).rstrip(" *_`,")
        if sentence.count('"') % 2:  # the other one of the pair was cut off
            sentence = "".join(sentence.rpartition('"')[::2])
        if re.search(r"\w", sentence):
            yield sentence if sentence.endswith((".", "!", "?", ":")) else f"{sentence}."


def _members(output: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Keys and values of an object, a value that is a list once for each of its items."""
    for key, value in output.items():
        for item in value if isinstance(value, list) else [value]:
            yield key, item


def _text_at(keys: Sequence[str], output: Mapping[str, Any]) -> str | None:
    """The text at the first of these keys that the object has, in any case."""
    texts = {str(key).strip().lower(): value for key, value in output.items() if isinstance(value, str)}
    return next((texts[key] for key in keys if key in texts), None)


def _json_objects(text: str) -> list[dict[str, Any]]:
    """The JSON objects in a text, as far as they go."""
    objects: list[Any] = []
    start = text.find("{")
    while start >= 0:
        try:
            value, end = json.JSONDecoder(strict=False).raw_decode(text, start)
        except (json.JSONDecodeError, RecursionError):
            objects += _broken_json(text[start:])
            break
        objects.append(value)
        start = text.find("{", end)
    return [value for value in objects if isinstance(value, dict) and value]


def _broken_json(text: str) -> list[Any]:
    """What can be read of JSON that is cut off or ill-formed; nothing if it is nested too deeply."""
    try:
        value: Any = json_repair.loads(text)
    except (RecursionError, ValueError):
        return []
    return value if isinstance(value, list) else [value]


def _heading(sentence: str) -> tuple[str | None, str]:
    """The artifact whose heading begins the sentence, if one does, and the text that explains it."""
    ordinal = _ORDINAL.match(sentence)
    rest = sentence[ordinal.end() :] if ordinal else sentence
    ends = [len(rest), *(match.start() for match in reversed([*_SEPARATOR.finditer(rest)]))]
    if ordinal and "," in rest:
        ends.append(rest.index(","))
    for end in ends:
        candidate = rest[:end].strip(" .*_\"'`")
        if not candidate or len(candidate.split()) > _LONGEST_NAME:
            continue
        try:
            name = find_artifact(candidate).name
        except ValueError:
            continue
        if end == len(rest) and _stems(candidate).count(" ") > _stems(name).count(" "):
            continue  # a sentence about the artifact, not its name
        text = _SEPARATOR.sub("", rest[end:], count=1).strip(" .*_\"'`")
        if not text:
            return name, ""
        return name, sentence if ordinal else f"{text}."
    return None, sentence


def _stems(text: str) -> str:
    """The words of a text without case, punctuation and plural, each between spaces."""
    words = re.findall(r"\w+", text.casefold())
    return f" {' '.join(re.sub('ies$', 'y', word).rstrip('s') for word in words)} "


_MENTIONS = {_stems(artifact.name.split(":")[0]): artifact.name for artifact in ARTIFACTS}


def _mentions(sentence: str) -> list[str]:
    """The artifacts whose official names stand in a sentence that neither denies them nor only lists them."""
    stems = _stems(sentence)
    found = {stems.index(spelling): (spelling, name) for spelling, name in _MENTIONS.items() if spelling in stems}
    names, left = [], stems
    for position, (spelling, name) in sorted(found.items()):
        left = left.replace(spelling, " ")
        clause = f"{stems[:position]} ".rsplit(" but ", 1)[-1]
        if not _NEGATION.search(clause) and not _DENIED_AFTER.match(stems[position + len(spelling) - 1 :]):
            names.append(name)
    listing = len(found) > 1 and (" artifact " in left or not left.strip())
    return [] if listing else names


__all__ = ["repair"]
