"""Measures the memory that `tellsign explain` takes for small and very large pictures.

python -m tellsign.training.benchmark.memory
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import typer
from PIL import Image

from tellsign import DEFAULT_MODEL, load_image
from tellsign.tables import markdown_table


PICTURES: tuple[tuple[int, int, str, dict[str, Any]], ...] = (
    (1152, 864, "JPEG", {}),
    (6000, 4000, "JPEG", {}),
    (20_000, 2_000, "JPEG", {}),
    (20_000, 15_000, "JPEG", {}),
    (20_000, 15_000, "JPEG, progressive", {"progressive": True}),
)
"""Width, height, format and how it is saved."""


def peak_of(picture: Path) -> tuple[float, float]:
    """Largest resident memory of the command for a picture, in MiB, and its seconds."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "tellsign", "explain", str(picture)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{' '.join(command)}: ended with {os.waitstatus_to_exitcode(status)}")
    return usage.ru_maxrss / 1024, time.perf_counter() - start


def main() -> None:
    """Prints a table, of Linux. Each picture has its own process, whose start is counted."""
    photograph = load_image(DEFAULT_MODEL / "examples" / "photo_coffee.jpg")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "picture.jpg")
        for width, height, kind, options in PICTURES:
            photograph.resize((width, height), Image.Resampling.BICUBIC).save(path, quality=85, **options)
            peak, seconds = peak_of(path)
            rows.append([f"{width} x {height}", kind, f"{peak:.0f}", f"{seconds:.0f}"])
    typer.echo(markdown_table(["picture", "file", "memory, MiB", "s"], rows))


if __name__ == "__main__":
    typer.run(main)
