"""Judges many pictures shard by shard. Each shard of the source gives one file of the output, once."""

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from fsspec.implementations.local import LocalFileSystem

from tellsign import __version__
from tellsign.loading import revision_of

from .judge import Judge, WorkerError
from .reading import check_columns, read_pictures
from .shards import (
    OutputError,
    Shard,
    address_of,
    errors_named,
    file_system_of,
    list_shards,
    made_of,
    write_table,
)


ROWS = 16
"""Rows that are read, and written as a group of a parquet file, at once, unless the model sees more."""
READERS = 64
"""Batches that the decoding processes are given at once, since they are started anew each time."""
NAMED = 3
"""How many names a message lists at most."""
MOST_LINES = 8
"""How many reasons and shards a summary lists at most."""


@dataclass(frozen=True)
class Job:
    """What is done with each shard.

    Args:
        output (`str`): Folder, as an address.
        judge ([`Judge`]): Judges the pictures.
        model_revision (`str`): As [`~tellsign.loading.revision_of`] gives it where the scan was started.
        image_column, id_column (`str`, *optional*): As for [`~tellsign.scanning.reading.read_pictures`].
    """

    output: str
    judge: Judge
    model_revision: str
    image_column: str | None = None
    id_column: str | None = None
    tellsign_version: str = __version__

    def made_of(self, shard: Shard) -> dict[str, Any]:
        """What the output of a shard depends on."""
        return {
            "source file": shard.fingerprint,
            "model revision": self.model_revision,
            "tellsign version": self.tellsign_version,
            "options": {
                name: value
                for name, value in (
                    ("explain", self.judge.explain),
                    ("operating_point", self.judge.operating_point),
                    ("image_column", self.image_column),
                    ("id_column", self.id_column),
                )
                if value is not None
            },
        }


@dataclass
class Report:
    """Result of a shard: pictures by label, errors by reason, or why there is no file of it."""

    shard: str
    labels: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    failure: str | None = None


def scan_shard(job: Job, shard: Shard) -> Report:
    """Judges the pictures of a shard, and writes its file.

    Raises:
        OutputError: If that cannot be written.
        WorkerError: If the model cannot be loaded, or is another one than where the scan was started. Whatever else
            goes wrong is in the report.
    """
    try:
        here = __version__, job.judge.model_revision()
        job.judge.load()
    except ValueError as error:
        raise WorkerError(str(error)) from error
    if here != (job.tellsign_version, job.model_revision):
        raise WorkerError(f"a worker has tellsign {here[0]} and the model {here[1]}, other ones than the command")
    report = Report(shard.name)

    def batches() -> Iterator[dict[str, list[Any]]]:
        size = max(ROWS, job.judge.batch_size) * (READERS if job.judge.processes else 1)
        for pictures in read_pictures(shard, size, job.image_column, job.id_column):
            rows = job.judge(pictures)
            report.labels.update(label for label in rows["label"] if label)
            for identity, image, error in zip(rows["image"], pictures["image"], rows["error"], strict=True):
                if error:
                    report.errors[_reason(error, identity, image)] += 1
            yield rows

    try:
        write_table(job.output, shard.name, batches(), job.made_of(shard))
    except OutputError:
        raise
    except Exception as error:  # whatever a file system raises
        place = shard.files[0] if len(shard.files) == 1 else shard.name
        return Report(shard.name, failure=f"{place}: {str(error).removeprefix(f'{place}: ')}")
    return report


def _reason(error: str, identity: str, image: Any) -> str:
    """An error without the name of its picture."""
    place = image["path"] if isinstance(image, dict) else str(image)
    for name in ("image", identity, place, place.partition("?")[0]):
        error = error.removeprefix(f"{name}: ")
    return error


def run_here(job: Job, shards: Iterable[Shard]) -> Iterator[Report]:
    """Scans the shards in this process, one after the other."""
    for shard in shards:
        yield scan_shard(job, shard)


@dataclass
class Summary:
    """Result of a scan.

    Args:
        labels (`Counter`): Pictures by verdict, of this run.
        errors (`Counter`): Pictures by reason.
        failures (`dict[str, str]`): Why shards have no file, by their names.
        done_before (`int`): Shards that an earlier run had done.
        seconds (`float`): From the first shard to the last.
        repeated_ids (`list[str]`): Some ids of an `id_column` that several files have.
    """

    labels: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)
    done_before: int = 0
    seconds: float = 0.0
    repeated_ids: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether each picture has a verdict."""
        return not (self.errors or self.failures or self.repeated_ids)

    def __str__(self) -> str:
        pictures = self.labels.total() + self.errors.total()
        counts = ", ".join(f"{self.labels[label]:,} {label}" for label in ("real", "fake", "uncertain"))
        rate = f"{pictures / self.seconds:,.1f} pictures a second" if pictures and self.seconds else "nothing to do"
        lines = [f"{pictures:,} pictures: {counts}, {self.errors.total():,} errors; {rate}"]
        lines += [f"{count:,} times: {reason}" for reason, count in self.errors.most_common(MOST_LINES)]
        lines += [f"not scanned: {reason}" for reason in islice(self.failures.values(), MOST_LINES)]
        if len(self.failures) > MOST_LINES:
            lines.append(f"not scanned: {len(self.failures) - MOST_LINES:,} more shards")
        if self.done_before:
            lines.append(f"{self.done_before:,} shards had been done before")
        if self.repeated_ids:
            lines.append(f"ids that several files have: {', '.join(self.repeated_ids)}")
        return "\n".join(lines)


def scan(
    source: str,
    output: str,
    judge: Judge | None = None,
    *,
    image_column: str | None = None,
    id_column: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    run: Callable[[Job, list[Shard]], Iterable[Report]] = run_here,
    progress: Callable[[Iterable[Report], int], Any] | None = None,
    notice: Callable[[str], None] = print,
) -> Summary:
    """Judges all pictures of a source, and writes a parquet file for each of its shards into a folder.

    A run that was killed goes on where it was if it is started again: what is there is whole, and not done again.

    Args:
        source (`str`): As for [`~tellsign.scanning.shards.list_shards`], or a data set on the Hub, `USER/NAME`.
        output (`str`): The folder, on this machine or as an address of fsspec, made if it does not exist.
        judge ([`Judge`], *optional*): Defaults to the packaged models.
        image_column, id_column (`str`, *optional*): As for [`~tellsign.scanning.reading.read_pictures`].
        resume (`bool`, *optional*, defaults to `False`):
            Whether to keep files whose source, model or options have changed since.
        overwrite (`bool`, *optional*, defaults to `False`):
            Whether to do these anew, and to remove those whose source is gone.
        run (`Callable`, *optional*): What scans the shards: in this process, or on Ray.
        progress (`Callable`, *optional*): Wraps the reports, of which there are so many, in a context manager.
        notice (`Callable`, *optional*): Is told what is kept, done anew or removed.

    Returns:
        [`Summary`].

    Raises:
        ValueError: If the folder is in use or holds something else. If it holds files whose source, model or options
            have changed, and neither `resume` nor `overwrite` is given. If the model cannot be loaded
            ([`WorkerError`] where a worker cannot).
        FileNotFoundError: If the source has nothing to scan.
        OutputError: If the folder cannot be written.
        OSError: If the source may not be read.
    """
    if resume and overwrite:
        raise ValueError("resume keeps what overwrite would do anew: give one of them")
    judge = judge or Judge()
    source, output = address_of(source), address_of(output)
    fs, folder = file_system_of(output)
    with _locked(fs, folder, output):
        with errors_named(output, OutputError):
            kept = _read_plan(fs, folder, source)
        shards, groups = list_shards(source, groups=kept, except_in=output)
        revision = revision_of(judge.model, judge.revision)
        if not os.path.isdir(judge.model):
            judge = replace(judge, revision=revision)
        job = Job(output, judge, revision, image_column, id_column)
        with errors_named(output, OutputError):
            missing = _missing(fs, folder, job, shards, resume, overwrite, notice)
        check_columns(missing, image_column, id_column)
        if kept is None:
            with errors_named(output, OutputError):
                _write_plan(fs, folder, source, groups)
        summary = Summary(done_before=len(shards) - len(missing))
        begin = time.perf_counter()
        with nullcontext(run(job, missing)) if progress is None else progress(run(job, missing), len(missing)) as done:
            for report in done:
                summary.labels += report.labels
                summary.errors += report.errors
                if report.failure is not None:
                    summary.failures[report.shard] = report.failure
        summary.seconds = time.perf_counter() - begin
        if id_column is not None:
            with errors_named(output, OutputError):
                summary.repeated_ids = _repeated_ids(fs, folder)
    return summary


def _locked(fs: Any, folder: str, output: str) -> Any:
    """Keeps a second scan on this machine out of the folder. Elsewhere both would write the same files, whole."""
    with errors_named(output, OutputError):
        fs.makedirs(folder, exist_ok=True)
        try:
            return FileLock(f"{folder}/_lock").acquire(timeout=0) if isinstance(fs, LocalFileSystem) else nullcontext()
        except Timeout as error:
            raise ValueError(f"{output}: another scan writes into it now") from error


def _read_plan(fs: Any, folder: str, source: str) -> int | None:
    """Number of shards of single files in an earlier scan into the folder; `None` if there was none."""
    path = f"{folder}/_scan.json"
    if not fs.exists(path):
        return None
    plan = json.loads(fs.cat_file(path))
    if plan["source"] != source:
        raise ValueError(f"{folder}: holds the scan of {plan['source']}, choose another folder for {source}")
    return plan["groups"]


def _write_plan(fs: Any, folder: str, source: str, groups: int) -> None:
    fs.pipe_file(f"{folder}/_scan.json.part", json.dumps({"source": source, "groups": groups}).encode())
    fs.mv(f"{folder}/_scan.json.part", f"{folder}/_scan.json")


def _missing(
    fs: Any, folder: str, job: Job, shards: list[Shard], resume: bool, overwrite: bool, notice: Callable[[str], None]
) -> list[Shard]:
    """The shards that are to be done."""
    files = [path.rsplit("/", 1)[-1] for path in fs.find(folder, maxdepth=1)]
    names = sorted(name.removesuffix(".parquet") for name in files if name.endswith(".parquet"))
    wanted = {shard.name: job.made_of(shard) for shard in shards}
    with ThreadPoolExecutor(16) as threads:
        found = dict(zip(names, threads.map(lambda name: made_of(job.output, name), names), strict=True))
    changed: dict[str, list[str]] = {}
    for name, facts in found.items():
        for what, value in wanted.get(name, {"source file": None}).items():
            if facts.get(what) != value:
                kind = what if name in wanted else "source file, which is gone"
                changed.setdefault(kind, []).append(name)
    if changed:
        reasons = "; ".join(
            f"{len(those):,} of another {what} ({', '.join(those[:NAMED])}{', …' * (len(those) > NAMED)})"
            for what, those in changed.items()
        )
        message = f"{job.output}: holds files that this scan would not write: {reasons}"
        if not resume and not overwrite:
            raise ValueError(f"{message}. --resume keeps them, --overwrite does them anew")
        notice(f"{message}. They are {'kept' if resume else 'done anew'}")
    anew = {name for those in changed.values() for name in those} if overwrite else set()
    for name in anew - wanted.keys():
        fs.rm_file(f"{folder}/{name}.parquet")
    for name in files:
        if name.startswith("_") and name.endswith(".part"):  # of attempts that were killed
            fs.rm_file(f"{folder}/{name}")
    return [shard for shard in shards if shard.name not in found or shard.name in anew]


def _repeated_ids(fs: Any, folder: str) -> list[str]:
    """Some ids that more than one file has, compared by hashes of 64 bits."""
    files = sorted(path for path in fs.find(folder, maxdepth=1) if path.endswith(".parquet"))

    def ids_in(path: str) -> list[str]:
        with fs.open(path, "rb") as file:
            return pq.read_table(file, columns=["image"]).column("image").to_pylist()

    def hash_of(identity: str) -> int:
        return int.from_bytes(hashlib.blake2b(identity.encode(), digest_size=8).digest())

    hashes = [np.fromiter(map(hash_of, ids_in(path)), np.uint64) for path in files]
    values, counts = np.unique(np.concatenate([np.empty(0, np.uint64), *hashes]), return_counts=True)
    twice = set(values[counts > 1][:NAMED].tolist())
    return sorted({identity for path in files if twice for identity in ids_in(path) if hash_of(identity) in twice})
