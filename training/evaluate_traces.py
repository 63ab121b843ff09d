"""Measures what traces are worth: how often pictures of people that no threshold saw show them.

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


def load_spectra(path: Path) -> dict[str, NDArray]:
    """Spectra and what is known of the files, for those that are large enough.

    Args:
        path (`Path`): A parquet file with the columns `found` and `saved`, 64x33 uint8 each: 16 times the logarithm of
            [`residual_spectrum`], plus 128, of the file as found and after a JPEG save at quality 85. Also `blocks`,
            `kind`, `source`, `format`, `width` and `height`.

    Returns:
        `spectrum` of shape `(n, 64, 33)`, that which `measured_spectrum` takes of such a file, and `kind`, `person`
        and `is_lossless`, each of shape `(n,)`.
    """
    table = pq.read_table(path)
    columns = {name: np.asarray(table[name].to_pylist()) for name in ("kind", "source", "format", "blocks")}
    side = np.minimum(*(np.asarray(table[name]) for name in ("width", "height")))
    rows = np.flatnonzero((side >= LEAST_SIDE) & (columns["blocks"] >= LEAST_BLOCKS))
    is_lossless = np.isin(columns["format"], LOSSLESS)
    spectra = [
        np.frombuffer(table["found" if is_lossless[row] else "saved"][int(row)].as_py(), np.uint8) for row in rows
    ]
    kind = np.where(np.isin(columns["kind"], KINDS), columns["kind"], "other")
    return {
        "spectrum": (np.stack(spectra).reshape(-1, 64, 33) - 128.0) / 16,
        "kind": kind[rows],
        "person": np.asarray([re.split("[/@:]", source)[0] for source in columns["source"][rows]]),
        "is_lossless": is_lossless[rows],
    }


def halves(person: NDArray) -> Iterator[NDArray[np.bool_]]:
    """Halves of the people, drawn at random, as pictures: those on which a threshold is measured, not fitted."""
    people, index = np.unique(person, return_inverse=True)
    rng = np.random.default_rng(0)
    for _ in range(HALVINGS):
        first = (rng.permutation(len(people)) % 2 == 0)[index]
        yield from (first, ~first)


def shares_of(shows: NDArray, kind: NDArray, person: NDArray) -> list[NDArray]:
    """Of each of [`KINDS`], pictures that show a trace, and all, of each person: arrays of shape `(num_people, 2)`."""
    totals = []
    for name in KINDS:
        rows = kind == name
        _, index = np.unique(person[rows], return_inverse=True)
        totals.append(np.stack([np.bincount(index, shows[rows]), np.bincount(index)], axis=1))
    return totals


def rates(*totals: NDArray) -> dict[str, float]:
    """The share of each of [`KINDS`] that shows a trace, and the lifts over photographs and over other pictures."""
    found = {kind: float(some[:, 0].sum() / some[:, 1].sum()) for kind, some in zip(KINDS, totals, strict=True)}
    lifts = {f"lift over {kind}": found["generated"] / max(found[kind], 1e-3) for kind in KINDS[1:]}
    return found | lifts


def shown_by(strength: NDArray, kind: NDArray, person: NDArray) -> NDArray[np.float64]:
    """How often each picture shows a trace by thresholds that saw other people's pictures alone, in [0, 1]."""
    by_people, shows = kind != "generated", np.zeros(len(kind))
    for measured in halves(person):
        threshold = np.quantile(strength[by_people & ~measured], 1 - ACCUSED)
        shows[measured] += (strength[measured] > threshold) / HALVINGS
    return shows


def main(
    spectra: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Parquet file of spectra.")],
) -> None:
    """Prints how often photographs, other pictures by people and generated ones show each trace."""
    columns = load_spectra(spectra)
    kind, person, lossless = (columns[name] for name in ("kind", "person", "is_lossless"))
    any_trace, table = np.zeros(len(kind)), []
    shown = {(worth.grid, worth.is_lossless) for worth in SHOWN}
    for grid in GRIDS:
        strength = np.asarray([strength_of(grid, spectrum) for spectrum in columns["spectrum"]])
        shows = np.zeros(len(kind))
        for rows, files in ((lossless, "lossless"), (~lossless, "compressed")):
            shows[rows] = shown_by(strength[rows], kind[rows], person[rows])
            if (grid, files == "lossless") in shown:
                any_trace[rows] = np.maximum(any_trace[rows], shows[rows])
            threshold = np.quantile(strength[rows & (kind != "generated")], 1 - ACCUSED)
            row = row_of(shares_of(shows[rows], kind[rows], person[rows]))
            table.append([grid.name, files, f"{threshold:.2f}", *row])
        # Weighted alike, since most pictures by people that are no photographs are compressed.
        both = [
            np.concatenate([some * [1, 1] / max(some[:, 1].sum(), 1) for some in pair])
            for pair in zip(
                *(shares_of(shows[rows], kind[rows], person[rows]) for rows in (lossless, ~lossless)), strict=True
            )
        ]
        table.append([grid.name, "both, weighted alike", "", *row_of(both)])
    for rows, files in ((lossless, "lossless"), (~lossless, "compressed"), (lossless | ~lossless, "all")):
        table.append(["any that is shown", files, "", *row_of(shares_of(any_trace[rows], kind[rows], person[rows]))])
    heads = ["trace", "files", "threshold", "generated", "photographs", "other by people"]
    print(markdown_table([*heads, "lift over photographs", "over others"], table))


def row_of(totals: Sequence[NDArray]) -> list[str]:
    """Rates in %, and lifts with the 95% intervals of a bootstrap over people."""
    values, intervals = rates(*totals), bootstrap(totals, rates)
    lifts = ["{:.1f} [{:.1f}, {:.1f}]".format(values[name], *intervals[name]) for name in values if name not in KINDS]
    return [*(f"{100 * values[kind]:.1f}" for kind in KINDS), *lifts]


if __name__ == "__main__":
    typer.run(main)
