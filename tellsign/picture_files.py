"""The files of the pictures that the command draws of its answers."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tellsign import annotate, load_image


def pictures_of(files: Iterable[Path], save: Path) -> dict[Path, Path]:
    """Where in the folder `save`, which is made, the picture of each file is saved: as the file lies in their common
    parent. The pictures of others, where these lie beside them, are not among the files.

    Raises:
        OSError: If the folder cannot be made or written.
        ValueError: If the files have no common parent.
    """
    paths = {file: Path(os.path.abspath(file)) for file in files}  # without "..", which would lead out of the folder
    parent = Path(os.path.commonpath([path.parent for path in paths.values()] or [Path()]))
    save.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=save).close()  # to know before the work whether that can be
    pictures = {file: save / path.relative_to(parent).parent / f"{path.name}.png" for file, path in paths.items()}
    places = {os.path.abspath(picture) for picture in pictures.values()}
    return {file: picture for file, picture in pictures.items() if str(paths[file]) not in places}


def save_picture(picture: Path, source: Any, answer: Any) -> None:
    """Draws an answer. Of a picture that cannot be written whole nothing remains."""
    picture.parent.mkdir(parents=True, exist_ok=True)
    part = picture.with_suffix(".part")
    try:
        annotate(load_image(source), answer).save(part, "PNG")
        os.replace(part, picture)
    finally:
        part.unlink(missing_ok=True)


__all__ = ["pictures_of", "save_picture"]
