"""`tellsign audit`: what a data set would teach besides what its pictures show."""

import json
from pathlib import Path
from typing import Annotated

import typer


def audit(
    data: Annotated[
        str,
        typer.Argument(
            help="Folder with real/ and fake/, of which deeper folders are sources; a folder that `tellsign annotate` "
            "marked; a parquet file or a data set on the Hub with the columns image, label and, if known, source or "
            "generator."
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    picture: Annotated[Path | None, typer.Option(help="Draw the findings into this PNG.")] = None,
    limit: Annotated[
        float | None,
        typer.Option(min=0.5, max=1, help="Exit with 1 if a property tells the classes by a higher AUROC than this."),
    ] = None,
) -> None:
    """Prints how well size, shape, format and the like tell real from fake by themselves, and what to do about it.

    Whatever does so, a detector would learn in place of what was to be learned, and its figures would flatter. AUROC
    is 50% at chance. It is that of a small tree on sources that it did not see, all sources weighted alike.
    """
    try:
        from tellsign.adapting.audit import audit as look
        from tellsign.adapting.audit import audit_report, draw_audit
        from tellsign.adapting.pictures import load_pictures

        pictures = load_pictures(data)
        found = look(pictures)
        if picture is not None:
            draw_audit(found, pictures).savefig(picture, dpi=100)
    except (ImportError, OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(json.dumps(found.as_json(), indent=2) if as_json else audit_report(found))
    if limit is not None and found.findings and found.findings[0].auroc > limit:
        raise typer.Exit(1)


__all__ = ["audit"]
