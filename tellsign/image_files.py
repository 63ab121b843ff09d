"""The image files that the names, folders and globs of a command line stand for."""

import glob
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tellsign.modeling.image_loading import readable_extensions


def find_image_files(
    patterns: Iterable[str], except_in: Path | None = None
) -> tuple[list[Path], dict[str, str], set[Path]]:
    """Files, those of folders that have the extension of an image, and those that globs match.

    Args:
        patterns (`Iterable[str]`): Files, which need not exist, folders and globs.
        except_in (`Path`, *optional*): Where this folder lies in one of `patterns`, its files are left out.

    Returns:
        The files, each once, in the order of `patterns`, those of a folder or glob in that of the alphabet. Then the
        reasons why folders cannot be read, by their paths. Then the files of folders that are no images by their
        extension.

    Raises:
        ValueError: If a pattern is an address, or stands for no image, although every folder could be read.
    """
    files: list[Path] = []
    unread: dict[str, str] = {}
    others: set[Path] = set()
    for pattern in patterns:
        found, errors, left_out = _found_by(pattern, except_in)
        if not found and not errors:
            only = f", only {count_by_extension(left_out)}" if left_out else ""
            raise ValueError(f"{pattern}: there is no image{only}")
        files += found
        unread |= errors
        others |= left_out
    return list(dict.fromkeys(files)), unread, others


def count_by_extension(files: Iterable[Path]) -> str:
    """How many files there are of the extensions that most have, as a message says it."""
    counts = Counter(file.suffix.lower() or "without an extension" for file in sorted(files))
    return ", ".join(f"{count} {name}" for name, count in counts.most_common(8)) + ", …" * (len(counts) > 8)


def _found_by(pattern: str, except_in: Path | None) -> tuple[list[Path], dict[str, str], set[Path]]:
    """What [`find_image_files`] returns, of one pattern."""
    if "://" in pattern:
        raise ValueError(f"{pattern}: is an address, expected a file, a folder or a glob")
    path = Path(pattern)
    if os.path.isdir(path):
        return _images_in(path, except_in)
    if os.path.exists(path) or not glob.has_magic(pattern):
        return [path], {}, set()
    files = sorted(file for file in map(Path, glob.glob(pattern, recursive=True)) if file.is_file())
    back = {folder for folder in {file.parent for file in files} if _leads_back(folder)}
    return [file for file in files if file.parent not in back], {}, set()


def _leads_back(folder: Path) -> bool:
    """Whether a path goes through a link to a folder that it has come through before."""
    path = Path(os.path.abspath(folder))
    places = [os.path.realpath(place) for place in (path, *path.parents)]
    return len(set(places)) < len(places)


def _images_in(folder: Path, except_in: Path | None) -> tuple[list[Path], dict[str, str], set[Path]]:
    """What [`find_image_files`] returns, of one folder."""
    files, errors = _files_in(folder)
    if except_in is not None and folder.resolve() in except_in.resolve().parents:
        files = [file for file in files if except_in.resolve() not in file.resolve().parents]
    extensions = readable_extensions()
    images = [file for file in files if file.suffix.lower() in extensions]
    others = set(files).difference(images)
    return [file for file in images if file.is_file() or file.is_symlink()], errors, others  # one to nowhere: an error


def _files_in(folder: Path) -> tuple[list[Path], dict[str, str]]:
    """Files in a folder and its subfolders, linked ones too, and which of these cannot be read for what reasons."""
    places: set[str] = set()
    found: list[Path] = []
    errors: list[OSError] = []
    for place, folders, names in os.walk(folder, onerror=errors.append, followlinks=True):
        if (real := os.path.realpath(place)) in places:  # a link back
            folders.clear()
            continue
        places.add(real)
        found += [Path(place, name) for name in names]
    return sorted(found), {str(error.filename): str(error.strerror) for error in errors}


__all__ = ["count_by_extension", "find_image_files"]
