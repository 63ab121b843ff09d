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
TrustAnchors = Annotated[
    str | None,
    typer.Option(
        help="PEM file of certificates to which a trusted signature goes back; by default that of "
        "TELLSIGN_TRUST_ANCHORS, or the list that `tellsign trust --update` fetched."
    ),
]
