"""Answers as people read them on a terminal.

Names and statements are the files' own words: rich gets them as text, never as marks, and [`harmless`] spells out what
a terminal would obey.
"""

from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from .pipelines.wording import TITLES, harmless, parts_of, said_of_verdict


STYLES = {"real": "green", "uncertain": "yellow", "fake": "red"}


def console_of(file: TextIO) -> Console:
    """Where [`print_answer`] prints, without colors if `file` is no terminal."""
    return Console(file=file, markup=False, highlight=False, emoji=False)


def print_answer(console: Console, name: str, answer: Any, drawn: Path | None = None) -> None:
    """Prints an answer, or the error in its place.

    Args:
        console (`rich.console.Console`): From [`console_of`].
        name (`str`): What the image is called.
        answer ([`ImageExplanation`] or [`FailedImage`]): Of the pipeline.
        drawn (`Path`, *optional*): Where its picture is, if one was drawn.
    """
    console.print(Text(harmless(name), style="bold"), soft_wrap=True)
    if "error" in answer:
        console.print(Padding(Text(harmless(answer["error"]), style="red"), (0, 0, 1, 2)))
        return
    title = Text(TITLES[answer["label"]], style=f"bold {STYLES[answer['label']]}")
    console.print(Padding(title.append(f"  {said_of_verdict(answer)}", style="not bold default"), (0, 0, 0, 2)))
    table = Table.grid(padding=(0, 2))
    for _ in range(3):
        table.add_column(overflow="fold")
    for part, lines in parts_of(answer).items():
        for number, line in enumerate(lines):
            table.add_row(Text("" if number else part, style="dim"), Text(line.weight), Text(line.text))
    console.print(Padding(table, (0, 0, 0, 2)))
    if drawn is not None:
        console.print(Text.assemble(("  Drawn  ", "dim"), harmless(str(drawn))), soft_wrap=True)
    console.print()
