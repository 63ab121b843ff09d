"""Measures `tellsign scan`: its speed beside a plain loop and beside decoding alone, its memory, and what 100 million
pictures would take.

python -m tellsign.training.benchmark.scan
"""

import io
import logging
import os
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count, cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import typer

from tellsign import DEFAULT_MODEL, WaveFreqConfig, WaveFreqForImageClassification, WaveFreqImageProcessor, load_image
from tellsign.scanning.on_ray import run_on_ray
from tellsign.scanning.scan import Judge, Report, scan
from tellsign.tables import markdown_table


PICTURES_OF_A_SHARD = 100
PICTURES, WIDTH, HEIGHT = 2000, 512, 384
"""How many pictures for the speed, and their size in pixels."""
ROWS = (10_000, 100_000)
"""How many small pictures for the memory."""
HUNDRED_MILLION = 100_000_000


def random_parts(number: int) -> Iterator[bytes]:
    """JPEG files: random parts of the bundled photographs, of which no two are alike."""
    bundled = [load_image(path) for path in sorted((DEFAULT_MODEL / "examples").glob("photo_*.jpg"))]
    generator = np.random.default_rng(0)
    for image in islice(cycle(bundled), number):
        left, top = (int(generator.integers(0, side // 2)) for side in image.size)
        part = image.crop((left, top, left + image.width // 2, top + image.height // 2)).resize((WIDTH, HEIGHT))
        buffer = io.BytesIO()
        part.save(buffer, "JPEG", quality=int(generator.integers(70, 96)))
        yield buffer.getvalue()


def write_source(folder: Path, contents: Iterable[bytes]) -> None:
    """Writes parquet files of pictures."""
    folder.mkdir()
    contents = iter(contents)
    for number in count():
        if not (images := list(islice(contents, PICTURES_OF_A_SHARD))):
            break
        pq.write_table(pa.table({"image": images}), folder / f"{number:06}.parquet")


def write_small_detector(folder: Path) -> None:
    """A network of random weights that costs next to nothing, where only the rows count."""
    config = WaveFreqConfig(embedding_size=4, hidden_sizes=[4, 8, 8], depths=[1, 1, 1], frequency_hidden_sizes=[2, 4])
    WaveFreqForImageClassification(config).save_pretrained(folder)
    WaveFreqImageProcessor().save_pretrained(folder)


class Arrivals:
    """Notes when the reports of a scan come, so that the start of the processes can be left out."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.counts: list[int] = []

    @contextmanager
    def __call__(self, reports: Iterable[Report], shards: int) -> Iterator[Iterable[Report]]:
        def noted() -> Iterator[Report]:
            for report in reports:
                self.times.append(time.perf_counter())
                self.counts.append(report.pictures)
                typer.echo(f"\rshard {len(self.times)} of {shards}", err=True, nl=len(self.times) == shards)
                yield report

        yield noted()

    def rate(self, workers: int) -> float:
        """Pictures a second from the first report of each worker on."""
        return sum(self.counts[workers:]) / (self.times[-1] - self.times[workers - 1])


@contextmanager
def peak_memory() -> Iterator[dict[str, float]]:
    """Largest resident memory, in MiB, of this process and of any that scans, looked at four times a second."""
    peaks, is_over = {"command": 0.0, "worker": 0.0}, threading.Event()

    def watch() -> None:
        this = psutil.Process()
        while not is_over.wait(0.25):
            peaks["command"] = max(peaks["command"], this.memory_info().rss / 2**20)
            for process in this.children(recursive=True):
                try:
                    if "_scan_shard" in "".join(process.cmdline()):
                        peaks["worker"] = max(peaks["worker"], process.memory_info().rss / 2**20)
                except psutil.Error:
                    continue

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peaks
    finally:
        is_over.set()
        thread.join()


def scan_with(source: Path, output: Path, workers: int, judge: Judge) -> Arrivals:
    """Scans on a Ray of its own with so many CPUs, and so many workers."""
    arrivals = Arrivals()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # as the loops have
    options: dict[str, Any] = {"include_dashboard": False, "object_store_memory": 100 * 2**20, "log_to_driver": False}
    ray.init("local", num_cpus=workers, logging_level=logging.ERROR, **options)
    try:
        scan(str(source), str(output), judge, run=partial(run_on_ray, num_cpus=1), progress=arrivals)
    finally:
        ray.shutdown()
    return arrivals


def rate_of(calls: Iterable[object], count: int) -> float:
    """Calls a second, of which the first, that warms up, does not count."""
    calls = iter(calls)
    next(calls)
    begin = time.perf_counter()
    for _ in calls:
        pass
    return (count - 1) / (time.perf_counter() - begin)


def main() -> None:
    """Prints two tables and an estimate. The pictures are JPEG files in parquet files, each thread computes alone.

    For the memory a small network of random weights judges, so that 100,000 rows take minutes.
    """
    import torch

    torch.set_num_threads(1)
    judge = Judge()
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary) / "pictures"
        write_source(source, random_parts(PICTURES))
        some = list(random_parts(500))
        batches = [some[start : start + judge.batch_size] for start in range(0, len(some), judge.batch_size)]
        names = list(map(str, range(judge.batch_size)))
        rates = {
            "decoding alone": rate_of(map(load_image, some), len(some)),
            "a loop over the pipeline, picture by picture": rate_of(
                (judge.load()(content, explain=judge.explain) for content in some[:100]), 100
            ),
            f"a loop over the pipeline, {judge.batch_size} at once": judge.batch_size
            * rate_of((judge({"id": names[: len(batch)], "image": batch}) for batch in batches), len(batches)),
        }
        for workers in (1, 2):
            arrivals = scan_with(source, Path(temporary) / f"out{workers}", workers, judge)
            rates[f"scan, {workers} worker{'s' * (workers > 1)}"] = arrivals.rate(workers)
        header = [f"pictures of {WIDTH}x{HEIGHT} pixels, explained: {judge.explain}", "a second"]
        typer.echo(markdown_table(header, [[name, f"{rate:.0f}"] for name, rate in rates.items()]) + "\n")

        lines = []
        write_small_detector(Path(temporary) / "detector")
        small_judge = Judge(f"{temporary}/detector", explain="never")
        small_pictures = [path.read_bytes() for path in sorted((DEFAULT_MODEL / "examples").glob("gan_*.jpg"))]
        for number in ROWS:
            small = Path(temporary) / f"small{number}"
            write_source(small, islice(cycle(small_pictures), number))
            with peak_memory() as peaks:
                arrivals = scan_with(small, Path(temporary) / f"small{number}out", 2, small_judge)
            lines.append([f"{number:,}", *(f"{peak:.0f}" for peak in peaks.values()), f"{arrivals.rate(2):.0f}"])
        header = ["rows, two workers, a small network", "command, MiB", "a worker, MiB", "a second"]
        typer.echo(markdown_table(header, lines) + "\n")

    core_hours = HUNDRED_MILLION / rates["scan, 1 worker"] / 3600
    typer.echo(f"{HUNDRED_MILLION:,} pictures at the rate of one worker: {core_hours:,.0f} core hours")


if __name__ == "__main__":
    typer.run(main)
