"""Measures what traces are worth: how often pictures of people that no threshold saw show them.

One person's tools leave the same in all of their pictures. So people are left out, not pictures.


python -m tellsign.training.evaluate_traces spectra.parquet
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow.parquet as pq
import typer
from numpy.typing import NDArray

from tellsign.pipelines.traces.grids import GRIDS, LEAST_BLOCKS, LEAST_SIDE, LOSSLESS, strength_of
from tellsign.pipelines.traces.table import SHOWN
from tellsign.tables import markdown_table
from tellsign.training.evaluation.metrics import bootstrap


KINDS = ("generated", "photo", "other")
ACCUSED = 0.01
"""Share of the pictures by people that a threshold lets show a trace."""
HALVINGS = 20
HEADS = ("generated", "photographs", "other by people", "lift over photographs", "over others")


def load_spectra(path: Path) -> dict[str, NDArray]:
    """Spectra and what is known of the files, for those that are large enough.

    Args:
        path (`Path`): A parquet file with the columns `found` and `saved`, 64x33 uint8 each: 16 times the logarithm of
            [`residual_spectrum`], plus 128, of the file as found and after a JPEG save at quality 85. Also `blocks`,
            `kind`, `source`, `format`, `width` and `height`.

    Returns:
        `found` and `saved` of shape `(n, 64, 33)`, and `kind`, `person` and `is_lossless` of shape `(n,)`.
    """
    table = pq.read_table(path)
    columns = {name: np.asarray(table[name].to_pylist()) for name in ("kind", "source", "format", "blocks")}
    side = np.minimum(*(np.asarray(table[name]) for name in ("width", "height")))
    rows = np.flatnonzero((side >= LEAST_SIDE) & (columns["blocks"] >= LEAST_BLOCKS))
    spectra = {
        name: np.stack([np.frombuffer(table[name][int(row)].as_py(), np.uint8) for row in rows]).reshape(-1, 64, 33)
        for name in ("found", "saved")
    }
    kind = np.where(np.isin(columns["kind"], KINDS), columns["kind"], "other")
    return {name: (levels - 128.0) / 16 for name, levels in spectra.items()} | {
        "kind": kind[rows],
        "person": np.asarray([person_of(source) for source in columns["source"][rows]]),
        "is_lossless": np.isin(columns["format"], LOSSLESS)[rows],
    }


def person_of(source: str) -> str:
    """Who made a picture, from its `PERSON/REPOSITORY@COMMIT:FILE`."""
    return re.split("[/@:]", source)[0]


def halves(person: NDArray) -> Iterator[NDArray[np.bool_]]:
    """Halves of the people, drawn at random, as pictures: those on which a threshold is measured, not fitted."""
    people, index = np.unique(person, return_inverse=True)
    rng = np.random.default_rng(0)
    for _ in range(HALVINGS):
        first = (rng.permutation(len(people)) % 2 == 0)[index]
        yield from (first, ~first)


def counts_of(shows: NDArray, kind: NDArray, person: NDArray) -> list[NDArray]:
    """Of each of [`KINDS`], pictures that show a trace, and all, of each person: arrays of shape `(num_people, 2)`."""
    totals = []
    for name in KINDS:
        rows = kind == name
        _, index = np.unique(person[rows], return_inverse=True)
        totals.append(np.stack([np.bincount(index, shows[rows]), np.bincount(index)], axis=1))
    return totals


def rates(*totals: NDArray) -> dict[str, float]:
    """The share of each of [`KINDS`] that shows a trace, and the lifts. One over none is that over one picture."""
    shown, pictures = (dict(zip(KINDS, (some[:, i].sum() for some in totals), strict=True)) for i in (0, 1))
    found = {kind: float(shown[kind] / pictures[kind]) for kind in KINDS}
    lifts = {f"lift over {kind}": found["generated"] / max(found[kind], 1 / pictures[kind]) for kind in KINDS[1:]}
    return found | lifts


def threshold_of(strength: NDArray) -> float:
    """The strength that `ACCUSED` of the pictures by people exceed, but at least 0: a peak stands above all around."""
    return max(0.0, float(np.quantile(strength, 1 - ACCUSED)))


def shown_by(strength: NDArray, kind: NDArray, person: NDArray) -> NDArray[np.float64]:
    """How often each picture shows a trace by thresholds that saw other people's pictures alone, in [0, 1]."""
    by_people, shows = kind != "generated", np.zeros(len(kind))
    for measured in halves(person):
        shows[measured] += (strength[measured] > threshold_of(strength[by_people & ~measured])) / HALVINGS
    return shows


def main(
    spectra: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Parquet file of spectra.")],
) -> None:
    """Prints how often photographs, other pictures by people and generated ones show each trace."""
    columns = load_spectra(spectra)
    kind, person, lossless = (columns[name] for name in ("kind", "person", "is_lossless"))
    any_trace, table = np.zeros(len(kind)), []
    for grid in GRIDS:
        for files, rows, name in (
            ("lossless", lossless, "found"),
            ("lossless, then JPEG q85", lossless, "saved"),
            ("compressed", ~lossless, "found"),
            ("compressed, then JPEG q85", ~lossless, "saved"),
        ):
            strength = np.asarray([strength_of(grid, spectrum) for spectrum in columns[name][rows]])
            shows = shown_by(strength, kind[rows], person[rows])
            if files == "lossless" and grid in [worth.grid for worth in SHOWN]:
                any_trace[rows] = np.maximum(any_trace[rows], shows)
            threshold = threshold_of(strength[kind[rows] != "generated"])
            table.append([grid.name, files, f"{threshold:.2f}", *row_of(counts_of(shows, kind[rows], person[rows]))])
    for files, rows in (("lossless", lossless), ("all", np.ones_like(lossless))):
        row = row_of(counts_of(any_trace[rows], kind[rows], person[rows]))
        table.append(["any that is shown", files, "", *row])
    for files, rows in (("lossless", lossless), ("compressed", ~lossless)):
        print(f"{files}: {', '.join(f'{(kind[rows] == name).sum()} {name}' for name in KINDS)}")
    print("\n" + markdown_table(["trace", "files", "threshold", *HEADS], table))


def row_of(totals: Sequence[NDArray]) -> list[str]:
    """Rates in %, and lifts with the 95% intervals of a bootstrap over people."""
    values, intervals = rates(*totals), bootstrap(totals, rates)
    lifts = ["{:.1f} [{:.1f}, {:.1f}]".format(values[name], *intervals[name]) for name in values if name not in KINDS]
    return [*(f"{100 * values[kind]:.1f}" for kind in KINDS), *lifts]


if __name__ == "__main__":
    typer.run(main)
