"""Tables in Markdown, and what stands in their cells."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def as_text(name: str) -> str:
    """Escapes a name, which may be anything, so that Markdown shows it in one line, without markup."""
    return re.sub(r"([\\`*\[\]|]|<(?=[a-zA-Z/!?])|&(?=#?\w+;))", r"\\\1", " ".join(name.split()))


def listed(names: Iterable[str]) -> str:
    """Names as [`as_text`], by commas."""
    return ", ".join(map(as_text, names))


def percent(score: Mapping[str, Any] | float, digits: int = 1) -> str:
    """A score in [0, 1] as percent, with its interval if it is a mapping of `value` and `interval`."""
    if not isinstance(score, Mapping):
        return f"{100 * score:.{digits}f}"
    low, high = score["interval"]
    return f"{100 * score['value']:.{digits}f} [{100 * low:.{digits}f}, {100 * high:.{digits}f}]"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table. All columns but the first are aligned to the right."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
