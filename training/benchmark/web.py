"""Measures the page of `tellsign export --web` in Chromium: bytes to load, seconds until it can judge, and a picture.

python -m tellsign.training.benchmark.web SITE
"""

import base64
import gzip
from pathlib import Path
from typing import Annotated

import numpy as np
import psutil
import typer

from tellsign.tables import markdown_table
from tellsign.training.benchmark.__main__ import jpeg_file
from tellsign.training.evaluation.web_page import chromium, loaded, served


# The page's own function, from a file to all that is said of it.
JUDGE = """async ([content, rounds]) => {
  const { judged } = await import("./page.js"), times = [];
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  for (let round = 0; round < rounds; round += 1) {
    const start = performance.now();
    await judged(new File([bytes], "picture.jpg", { type: "image/jpeg" }));
    times.push(performance.now() - start);
  }
  return times;
}"""

KEPT = """async () => {
  const cache = await caches.open((await caches.keys())[0]);
  return (await cache.keys()).map(({ url }) => new URL(url).pathname.slice(1)).filter(Boolean);
}"""


def main(
    site: Annotated[Path, typer.Argument(help="The page, as `tellsign export --web` writes it.")],
    rounds: Annotated[int, typer.Option(min=1, help="How often each picture is judged, after two to warm up.")] = 20,
) -> None:
    """Prints what the page loads, and the time from the click until it can judge, and from a JPEG file to its answer.

    A first visit has one thread. A later one comes from the browser's store, and has as many as the machine. After
    the clock's times comes that of all CPUs together, which other programs on the machine change less.
    """
    files = {"32x32": jpeg_file(32, 32), "1152x864": jpeg_file(1152, 864)}
    table = []
    with served(site) as address, chromium() as browser:
        page = browser.new_page()
        for visit in ("first visit", "later visit"):
            loaded(page, address)
            seconds = page.evaluate("performance.now() / 1000")
            threads = page.evaluate("crossOriginIsolated ? navigator.hardwareConcurrency : 1")
            row = [f"{visit}, threads: {threads}", f"{seconds:.1f}"]
            for content in files.values():
                given = base64.b64encode(content).decode()
                page.evaluate(JUDGE, [given, 2])
                before = _processor_seconds()
                times = page.evaluate(JUDGE, [given, rounds])
                spent = 1000 * (_processor_seconds() - before) / rounds
                row.append(f"{np.median(times):.0f} ({min(times):.0f}), {spent:.0f}")
            table.append(row)
        kept = {name: (site / name).read_bytes() for name in page.evaluate(KEPT)}
    raw, packed = sum(map(len, kept.values())), sum(len(gzip.compress(content)) for content in kept.values())
    typer.echo(
        f"{len(kept)} files of {raw / 1e6:.2f} MB are loaded, {packed / 1e6:.2f} MB where the host packs them\n"
    )
    columns = [
        "",
        "s until it can judge",
        *(f"ms for a JPEG file of {name}: median (least), of CPUs" for name in files),
    ]
    typer.echo(markdown_table(columns, table))


def _processor_seconds() -> float:
    """What all processes of the browser have computed so far; the clock says more where others compute too."""
    processes = [process for process in psutil.Process().children(recursive=True) if "chrom" in process.name()]
    return sum(sum(process.cpu_times()[:2]) for process in processes)


if __name__ == "__main__":
    typer.run(main)
