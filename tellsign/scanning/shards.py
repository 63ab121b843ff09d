"""What a scan reads and writes: shards of pictures, each of which becomes one file of the output."""

import hashlib
import json
import os
import re
import tarfile
import tempfile
import uuid
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.utils import get_protocol

from tellsign.modeling.image_files import readable_extensions


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
        for name in ("source", "claim", "generator", "version", "signer", "signature", "hash", "text")
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
        files (`tuple[str, ...]`): Addresses, with protocols but for those of this machine.
        ids (`tuple[str, ...]`): Paths of the files in the source.
        fingerprint (`str`): Changes with the size, time or hash of a file, and with the list of files.
    """

    name: str
    files: tuple[str, ...]
    ids: tuple[str, ...]
    fingerprint: str


def address_of(place: str) -> str:
    """The address of a source or output. `USER/NAME` is a data set on the Hub, unless this machine has such a path."""
    if "://" in place or "::" in place:
        return place
    parts = place.split("/")
    if len(parts) == 2 and all(parts) and not parts[0].startswith((".", "~")) and not os.path.exists(parts[0]):
        return f"hf://datasets/{place}"
    return os.path.abspath(os.path.expanduser(place))


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
        OSError: If it may not be read.
    """
    fs, root = url_to_fs(source)
    found, base = _files_of(fs, root, source)
    left_out = None if except_in is None else url_to_fs(except_in)[1].rstrip("/") + "/"
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
        raise FileNotFoundError(f"{source}: has no image, parquet file or tar file")

    def shard(name: str, members: list[tuple[str, str]]) -> Shard:
        marks = [[member, found[path].get("size"), _version_of(found[path])] for member, path in members]
        return Shard(
            name=name,
            files=tuple(_with_protocol(fs, path, source) for _, path in members),
            ids=tuple(member for member, _ in members),
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


def _files_of(fs: AbstractFileSystem, root: str, source: str) -> tuple[dict[str, dict[str, Any]], str]:
    """What a file system says of each file of a source, by its path, and the folder from which names are counted."""
    if fs.isdir(root):
        return fs.find(root, detail=True), root
    if any(letter in root for letter in "*?[") and not fs.exists(root):
        found = {path: info for path, info in fs.glob(root, detail=True).items() if info["type"] == "file"}
        return found, os.path.dirname(re.split(r"[*?\[]", root)[0])
    if fs.exists(root):
        return {root: fs.info(root)}, os.path.dirname(root)
    raise FileNotFoundError(f"{source}: there is no such file, folder or glob")


def _version_of(info: dict[str, Any]) -> str:
    return next((str(info[name]) for name in _VERSIONS if info.get(name)), "")


def _with_protocol(fs: AbstractFileSystem, path: str, source: str) -> str:
    if get_protocol(source) == "file":
        return path
    return fs.unstrip_protocol(path) if "::" not in source else f"{source.split('::')[0].split('://')[0]}://{path}"


def _file_name(path: str) -> str:
    """A name for the output of a file: its own, and a hash of its path, since folders may hold files of one name."""
    stem = PurePosixPath(path).name.split(".")[0]
    kept = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in stem).lstrip("_-")
    return f"{kept or 'shard'}-{hashlib.sha256(path.encode('utf-8', 'backslashreplace')).hexdigest()[:8]}"


def read_pictures(
    shard: Shard, size: int, image_column: str | None = None, id_column: str | None = None
) -> Iterator[dict[str, list[Any]]]:
    """The pictures of a shard, as [`~tellsign.scanning.judge.Judge`] takes them.

    Args:
        shard ([`Shard`]): What to read.
        size (`int`): Most pictures at once.
        image_column (`str`, *optional*):
            The column of a parquet file with the contents of image files, as such or as a `datasets.Image`. Or with
            their paths or addresses; relative paths start at the parquet file. Defaults to `image`, or else to the
            only one with contents.
        id_column (`str`, *optional*):
            The column with the ids. By default they are the path of the file in the source and the number of the row.

    Returns:
        Iterator of `{"id": [...], "image": [...]}`, lists of one length.

    Raises:
        ValueError: If a column is not there, ids repeat or are empty, or a file is damaged.
        OSError: If a file cannot be read.
    """
    (name, *_), (file, *_) = shard.ids, shard.files
    if name.lower().endswith(PARQUET):
        pictures = _in_parquet(file, name, size, image_column, id_column)
    elif name.lower().endswith(TAR):
        pictures = _in_tar(file, name)
    else:
        pictures = ((each, {"bytes": None, "path": path}) for each, path in zip(shard.ids, shard.files, strict=True))
    seen: set[str] = set()
    batch: dict[str, list[Any]] = {"id": [], "image": []}
    for identity, image in pictures:
        if identity in seen:
            raise ValueError(f"{file}: the id {identity!r} occurs twice")
        seen.add(identity)
        batch["id"].append(identity)
        batch["image"].append(image)
        if len(batch["id"]) == size:
            yield batch
            batch = {"id": [], "image": []}
    if batch["id"]:
        yield batch


def image_column_of(schema: pa.Schema, given: str | None = None) -> str:
    """The column with the images, as for [`read_pictures`]."""
    if given is None and "image" not in schema.names:
        with_contents = [
            field.name
            for field in schema
            if pa.types.is_binary(field.type)
            or pa.types.is_large_binary(field.type)
            or (pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0)
        ]
        given = with_contents[0] if len(with_contents) == 1 else None
        if given is None:
            raise ValueError(f"which column has the images? It has {', '.join(schema.names)}: name it")
    return _column(schema, given or "image")


def check_columns(shards: Iterable[Shard], image_column: str | None, id_column: str | None) -> None:
    """Checks the first parquet file that can be read, so that a wrong name does not fail shard by shard.

    Raises:
        ValueError: If it has no such column.
    """
    for shard in shards:
        if shard.ids[0].lower().endswith(PARQUET):
            try:
                fs, path = url_to_fs(shard.files[0])
                with fs.open(path, "rb") as file:
                    schema = pq.read_schema(file)
            except (OSError, pa.ArrowException):  # which will be reported of this shard
                continue
            try:
                image_column_of(schema, image_column)
                if id_column is not None:
                    _column(schema, id_column)
            except ValueError as error:
                raise ValueError(f"{shard.files[0]}: {error}") from error
            return


def _column(schema: pa.Schema, name: str) -> str:
    if name not in schema.names:
        raise ValueError(f"has no column {name}, only {', '.join(schema.names)}")
    return name


def _in_parquet(
    file: str, name: str, size: int, image_column: str | None, id_column: str | None
) -> Iterator[tuple[str, Any]]:
    fs, path = url_to_fs(file)
    folder = os.path.dirname(file)
    try:
        with fs.open(path, "rb") as opened:
            table = pq.ParquetFile(opened)
            image_column = image_column_of(table.schema_arrow, image_column)
            columns = [image_column, *([_column(table.schema_arrow, id_column)] if id_column else [])]
            row = 0
            for batch in table.iter_batches(batch_size=size, columns=columns):
                images = batch.column(image_column)
                ids = batch.column(id_column) if id_column else None
                for index in range(len(images)):
                    identity = f"{name}:{row}" if ids is None else ids[index].as_py()
                    if identity is None:
                        raise ValueError(f"row {row} has no {id_column}")
                    yield str(identity), _source_of(images[index].as_py(), str(identity), folder)
                    row += 1
    except (pa.ArrowException, ValueError) as error:
        raise ValueError(f"{file}: {error}") from error


def _source_of(image: Any, identity: str, folder: str) -> Any:
    """Turns contents, a path, an address or a `datasets.Image` of a table into what `load_image` takes."""
    if isinstance(image, dict):
        content, path = image.get("bytes"), image.get("path")
    else:
        content, path = (None, image) if isinstance(image, str) else (image, None)
    if content is not None:
        return {"bytes": content, "path": identity}
    if not path:
        return ValueError(f"{identity}: has no image")
    if path.startswith(("http://", "https://")):
        return path
    return {"bytes": None, "path": path if "://" in path or os.path.isabs(path) else f"{folder}/{path}"}


def _in_tar(file: str, name: str) -> Iterator[tuple[str, Any]]:
    fs, path = url_to_fs(file)
    extensions = tuple(readable_extensions())
    try:
        with fs.open(path, "rb") as opened, tarfile.open(fileobj=opened, mode="r|*") as archive:
            for member in archive:
                if member.isfile() and member.name.lower().endswith(extensions):
                    content = archive.extractfile(member)
                    identity = f"{name}/{member.name}"
                    yield identity, {"bytes": content.read() if content else b"", "path": identity}
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise ValueError(f"{file}: {error}") from error


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
    fs, folder = url_to_fs(output)
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
        try:
            fs.put_file(local, part)
            fs.mv(part, f"{folder}/{name}.parquet")
        except OSError as error:
            raise OutputError(f"{output}/{name}.parquet: {error}") from error
        finally:
            if fs.exists(part):
                fs.rm(part)


def made_of(output: str, name: str) -> dict[str, Any]:
    """What a file of the output was made of.

    Raises:
        ValueError: If it is no such file.
    """
    fs, folder = url_to_fs(output)
    try:
        with fs.open(f"{folder}/{name}.parquet", "rb") as file:
            metadata = pq.read_schema(file).metadata or {}
        return json.loads(metadata[METADATA])
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise ValueError(f"{output}/{name}.parquet: was not written by a scan, choose another folder") from error
