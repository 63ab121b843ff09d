"""The shards of a source, each of which becomes one file of the output."""

import hashlib
import json
import os
import re
import tempfile
import uuid
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from huggingface_hub import HfApi, HfFileSystem
from huggingface_hub.constants import REPO_TYPES_URL_PREFIXES
from huggingface_hub.hf_file_system import HfFileSystemResolvedRepositoryPath

from tellsign.modeling.image_files import message_of, readable_extensions


PARQUET, TAR = (".parquet", ".pq"), (".tar", ".tar.gz", ".tgz")
PICTURES_OF_A_SHARD = 1000
"""Most single image files of a shard in the mean, when a folder is scanned for the first time."""
METADATA = b"tellsign"
"""Key in the metadata of an output file. Its value says what the file was made of."""
_VERSIONS = ("ETag", "etag", "blob_id", "lfs", "md5Hash", "content_md5", "mtime", "LastModified", "last_modified")

_BOX = pa.struct([(side, pa.int32()) for side in ("xmin", "ymin", "xmax", "ymax")])
_ARTIFACT = pa.struct([("label", pa.string()), ("score", pa.float64()), ("box", _BOX), ("explanation", pa.string())])
_EVIDENCE = pa.struct([("box", _BOX), ("share", pa.float64())])
_TRACE = pa.struct(
    [
        *((name, pa.string()) for name in ("name", "toward")),
        *((name, pa.float64()) for name in ("strength", "lift")),
        ("box", _BOX),
        ("text", pa.string()),
    ]
)
_STATEMENT = pa.struct(
    [
        (name, pa.string())
        for name in ("source", "claim", "generator", "version", "signer", "signature", "hash", "trust", "text")
    ]
)
SCHEMA = pa.schema(
    [
        ("image", pa.string()),
        ("label", pa.string()),
        ("fake_probability", pa.float64()),
        ("operating_point", pa.string()),
        ("verdict_note", pa.string()),
        ("animated", pa.bool_()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("artifacts", pa.list_(_ARTIFACT)),
        ("artifacts_note", pa.string()),
        ("evidence", pa.list_(_EVIDENCE)),
        ("traces", pa.list_(_TRACE)),
        ("traces_note", pa.string()),
        ("provenance", pa.list_(_STATEMENT)),
        ("summary", pa.string()),
        ("error", pa.string()),
        ("model_revision", pa.string()),
        ("tellsign_version", pa.string()),
    ]
)
"""The columns of a scan's output: the keys of an answer, with null where it has none.

`image` is the picture's id. Lists hold structs, which readers of parquet take apart without parsing text.
"""


class OutputError(OSError):
    """The output cannot be written."""


@dataclass(frozen=True)
class Shard:
    """A file of many pictures, or some of the single image files of a source.

    Args:
        name (`str`): Of its file in the output, without extension.
        source (`str`): Address of the source, which says on which file system the files lie.
        files (`tuple[str, ...]`): Addresses, with protocols but for those of this machine.
        ids (`tuple[str, ...]`): Paths of the files in the source.
        versions (`tuple[str, ...]`): Hash or time of each file when it was listed; empty where none is known.
        fingerprint (`str`): Changes with the size, time or hash of a file, and with the list of files.
    """

    name: str
    source: str
    files: tuple[str, ...]
    ids: tuple[str, ...]
    versions: tuple[str, ...]
    fingerprint: str


def address_of(place: str) -> str:
    """The address of a source or output. `USER/NAME` is a data set on the Hub, unless this machine has such a path."""
    if "://" in place or "::" in place:
        return place
    parts = place.split("/")
    if len(parts) == 2 and all(parts) and not parts[0].startswith((".", "~")) and not os.path.exists(parts[0]):
        return f"hf://datasets/{place}"
    return os.path.abspath(os.path.expanduser(place))


def file_system_of(address: str) -> tuple[AbstractFileSystem, str]:
    """The file system of an address, and the path in it. It keeps no listing, since others write and change files.

    Raises:
        ValueError: If there is no such protocol, or its package is not installed.
    """
    try:
        return url_to_fs(address, use_listings_cache=False)
    except ImportError as error:
        raise ValueError(f"{address}: {error}") from error


@contextmanager
def errors_named(place: str, kind: type[OSError] = OSError) -> Iterator[None]:
    """Whatever a file system raises, which is not always an `OSError`, becomes one that names the place.

    Raises:
        kind: With the reason. A `ValueError` is raised as it is.
    """
    try:
        yield
    except ValueError:
        raise
    except Exception as error:
        raise kind(f"{place}: {message_of(error)}") from error


def list_shards(source: str, *, groups: int | None = None, except_in: str | None = None) -> tuple[list[Shard], int]:
    """The shards of a source: parquet files, tar files (WebDataset) and groups of single image files.

    Args:
        source (`str`): File, folder or glob, on this machine or of any file system of fsspec, as an address.
        groups (`int`, *optional*):
            Number of shards of single image files, which are assigned by their paths alone. Defaults to the smallest
            power of two that gives each at most about 1,000.
        except_in (`str`, *optional*): Folder, as an address, whose files are left out.

    Returns:
        The shards by name, and the number of groups.

    Raises:
        FileNotFoundError: If there is no such file, or none of these kinds.
        OSError: If it may not, or cannot, be read.
    """
    fs, root = file_system_of(source)
    with errors_named(source):
        if isinstance(fs, HfFileSystem):
            root = _at_commit(fs, root)
        found, base = _files_of(fs, root)
    left_out = None if except_in is None else file_system_of(except_in)[1].rstrip("/") + "/"
    many: list[tuple[str, str]] = []
    single: list[tuple[str, str]] = []
    extensions = tuple(readable_extensions())
    for path in sorted(found):
        name = path.removeprefix(base).lstrip("/")
        if any(part.startswith(".") for part in name.split("/")) or (left_out and path.startswith(left_out)):
            continue
        if name.lower().endswith((*PARQUET, *TAR)):
            many.append((name, path))
        elif name.lower().endswith(extensions):
            single.append((name, path))
    if not many and not single:
        raise FileNotFoundError(f"{source}: is not there, or has no image, parquet file or tar file")

    def shard(name: str, members: list[tuple[str, str]]) -> Shard:
        ids, paths = zip(*members, strict=True)
        versions = tuple(version_of(found[path]) for path in paths)
        sizes = (found[path].get("size") for path in paths)
        marks = list(zip(ids, sizes, versions, strict=True))
        is_local = isinstance(fs, LocalFileSystem)
        return Shard(
            name=name,
            source=source,
            files=paths if is_local else tuple(map(fs.unstrip_protocol, paths)),
            ids=ids,
            versions=versions,
            fingerprint=hashlib.sha256(json.dumps(marks).encode()).hexdigest(),
        )

    if groups is None:
        groups = 1
        while len(single) > groups * PICTURES_OF_A_SHARD:
            groups *= 2
    grouped: dict[int, list[tuple[str, str]]] = {}
    for name, path in single:
        grouped.setdefault(zlib.crc32(name.encode("utf-8", "backslashreplace")) % groups, []).append((name, path))
    shards = [shard(_file_name(name), [(name, path)]) for name, path in many]
    shards += [shard(f"images-{number:05}-of-{groups:05}", members) for number, members in sorted(grouped.items())]
    return shards, groups


def _at_commit(fs: HfFileSystem, root: str) -> str:
    """The path of a repository of the Hub as it is now, since others may commit to it before it is read."""
    place = fs.resolve_path(root)
    if not isinstance(place, HfFileSystemResolvedRepositoryPath):  # a bucket, which has no commits
        return root
    hub, repo_type = HfApi(fs.endpoint, fs.token), place.repo_type
    commit = hub.repo_info(place.repo_id, repo_type=repo_type, revision=place.revision).sha
    return f"{REPO_TYPES_URL_PREFIXES.get(repo_type, '')}{place.repo_id}@{commit}/{place.path_in_repo}".rstrip("/")


def _files_of(fs: AbstractFileSystem, root: str) -> tuple[dict[str, dict[str, Any]], str]:
    """What a file system says of each file of a source, by its path, and the folder from which names are counted."""
    found: dict[str, dict[str, Any]] = {}
    with suppress(FileNotFoundError):
        found = fs.find(root, detail=True)
    if root in found:  # a file, of which some file systems say nothing here
        return {root: fs.info(root)}, os.path.dirname(root)
    if not found and any(letter in root for letter in "*?["):
        found = {path: info for path, info in fs.glob(root, detail=True).items() if info["type"] == "file"}
        return found, os.path.dirname(re.split(r"[*?\[]", root)[0])
    return found, root


def version_of(info: dict[str, Any]) -> str:
    """Hash or time of a file, by what its file system says of it; empty if that is neither."""
    return next((str(info[name]) for name in _VERSIONS if info.get(name)), "")


def _file_name(path: str) -> str:
    """A name for the output of a file: its own, and a hash of its path, since folders may hold files of one name."""
    stem = PurePosixPath(path).name.split(".")[0]
    kept = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in stem).lstrip("_-")
    return f"{kept or 'shard'}-{hashlib.sha256(path.encode('utf-8', 'backslashreplace')).hexdigest()[:8]}"


def write_table(output: str, name: str, batches: Iterable[dict[str, list[Any]]], made_of: dict[str, Any]) -> None:
    """Writes a file of the output, whole or not at all.

    Args:
        output (`str`): The folder, as an address.
        name (`str`): Of the file, without extension. One that is there is replaced.
        batches (`Iterable[dict]`): Rows, by the columns of `SCHEMA`.
        made_of (`dict`): What [`made_of`] is to return of it.

    Raises:
        OutputError: If it cannot be written.
    """
    fs, folder = file_system_of(output)
    schema = SCHEMA.with_metadata({METADATA: json.dumps(made_of).encode()})
    with tempfile.TemporaryDirectory() as temporary:
        local = os.path.join(temporary, "part.parquet")
        with pq.ParquetWriter(local, schema, compression="zstd") as writer:
            for batch in batches:
                table = pa.Table.from_pydict(batch, schema=schema)
                try:
                    writer.write_table(table)
                except OSError as error:
                    raise OutputError(f"{temporary}: {error}") from error
        # Readers of the folder pass over this name. It is unique, since an attempt that was believed dead may still
        # write.
        part = f"{folder}/_{name}.{uuid.uuid4().hex}.part"
        with errors_named(f"{output}/{name}.parquet", OutputError):
            try:
                fs.put_file(local, part)
                fs.mv(part, f"{folder}/{name}.parquet")
            except Exception:
                with suppress(Exception):
                    fs.rm_file(part)
                raise


def made_of(output: str, name: str) -> dict[str, Any]:
    """What a file of the output was made of.

    Raises:
        ValueError: If it is no such file.
    """
    fs, folder = file_system_of(output)
    try:
        with fs.open(f"{folder}/{name}.parquet", "rb") as file:
            metadata = pq.read_schema(file).metadata or {}
        return json.loads(metadata[METADATA])
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise ValueError(f"{output}/{name}.parquet: was not written by a scan, choose another folder") from error
