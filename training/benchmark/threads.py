"""Measures `tellsign explain` alone and beside two busy processes, with the threads that it takes and with all.

python -m tellsign.training.benchmark.threads
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated

import typer

from tellsign import DEFAULT_MODEL
from tellsign.tables import markdown_table
from tellsign.threads import allowed_threads, free_threads


BUSY = 2
"""How many processes are busy beside."""


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Processes that compute without an end, in Python."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def seconds_of(folder: Path, threads: int | None, limit: float) -> float:
    """How long the command takes for the pictures of a folder, at most the limit.

    Args:
        folder (`Path`): The pictures.
        threads (`int`, *optional*): How many threads to compute with. By default the command decides.
        limit (`float`): Seconds after which it is stopped.
    """
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    environment |= {"HF_HUB_OFFLINE": "1"} | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
    start = time.perf_counter()
    try:
        command = [sys.executable, "-m", "tellsign", "explain", str(folder)]
        subprocess.run(command, env=environment, timeout=limit, check=True, capture_output=True)
    except subprocess.TimeoutExpired:
        return limit
    return time.perf_counter() - start


def main(
    number: Annotated[int, typer.Option(help="How many pictures of 32x32 pixels.")] = 300,
    limit: Annotated[float, typer.Option(help="Seconds after which a run is stopped.")] = 600,
) -> None:
    """Prints a table of seconds for the whole command, its start included."""
    cpus = allowed_threads()
    typer.echo(f"{number} pictures, {cpus} CPUs, of which {free_threads()} free before\n")
    pictures = sorted((DEFAULT_MODEL / "examples").glob("gan_*.jpg"))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for index, picture in enumerate(islice(cycle(pictures), number)):
            shutil.copyfile(picture, Path(folder, f"{index}.jpg"))
        for name, threads in (("as many as are idle", None), (f"{cpus}, as PyTorch takes", cpus)):
            taken = []
            for busy in (0, BUSY):
                with busy_processes(busy):
                    taken.append(seconds_of(Path(folder), threads, limit))
            rows.append([name, *(f"{seconds:.0f}" if seconds < limit else f"over {limit:.0f}" for seconds in taken)])
    typer.echo(markdown_table(["threads of `tellsign explain`", "alone, s", f"beside {BUSY} busy processes, s"], rows))


if __name__ == "__main__":
    typer.run(main)
