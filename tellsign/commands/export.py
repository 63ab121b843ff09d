"""`tellsign export`: writes a detector for machines without PyTorch."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    model: Annotated[str, typer.Argument(help="Folder or repository of a detector.")],
    folder: Annotated[Path, typer.Argument(help="Folder for onnx/; that of the detector, for `push` to send it too.")],
    web: Annotated[
        bool,
        typer.Option("--web", help="Write a page instead, which judges pictures in the browser and uploads nothing."),
    ] = False,
    calibration_data: Annotated[
        list[str],
        typer.Option(
            help="Folder, glob, parquet or tar file of pictures like those to be judged, from which the ranges of "
            "int8 come; may be given several times. Without any there is no int8."
        ),
    ] = [],  # noqa: B006 - typer copies it
    calibration_size: Annotated[int, typer.Option(min=1, help="How many pictures to draw from each of these.")] = 128,
) -> None:
    """Writes a detector as ONNX in float32, float16 and int8, with judge.py, which needs neither PyTorch nor tellsign.

    `python onnx/judge.py FILE...` then answers as `tellsign explain` does, but for artifacts and traces.

    With --web it writes a page, which any host of static files serves. It needs npm, for ONNX Runtime Web.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()
    if web and calibration_data:
        raise typer.BadParameter("--calibration-data is for models in int8, of which a page has none")
    try:
        if web:
            from tellsign.hub_cards.web_export import export_page

            written = export_page(model, folder)
        else:
            from tellsign.hub_cards.onnx_export import export as export_model

            written = export_model(model, folder, calibration_data=calibration_data, calibration_size=calibration_size)
    except ImportError as error:
        raise typer.BadParameter(f"{error}: pip install 'tellsign[onnx]'") from error
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    for path in written:
        typer.echo(path)
    if not calibration_data and not web:
        typer.echo("no int8, which needs pictures: name some by --calibration-data", err=True)
