"""Options that several commands have."""

from typing import Annotated, Literal

import typer

from tellsign import DEFAULT_MODEL


PACKAGED = str(DEFAULT_MODEL)
Model = Annotated[
    str, typer.Option(show_default="packaged", help="Folder or repository of a detector with its tagger.")
]
Explain = Annotated[Literal["fake", "always", "never"], typer.Option(help="Which images get artifacts and sentences.")]
OperatingPoint = Annotated[
    Literal["cautious", "balanced"],
    typer.Option(help='"balanced" answers "uncertain" for fewer large pictures, and errs more.'),
]
