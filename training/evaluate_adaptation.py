"""Writes the table of features that `tellsign adapt` needs, and measures what adapting gives.

python -m tellsign.training.evaluate_adaptation real.parquet fake.parquet --detector runs/both --output-dir runs/adapt
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from scipy.special import logit
from tqdm.auto import tqdm
from transformers import AutoModelForImageClassification

from tellsign.modeling.modeling_large_picture import LargePictureHead
from tellsign.tables import markdown_table, percent
from tellsign.training.data.caching import cached
from tellsign.training.data.feature_table import FILE, FeatureTable, table_of
from tellsign.training.data.large_pictures import CUTS_HELP, DATA_HELP, LargePictures, load_large_pictures
from tellsign.training.data.moments import Moments
from tellsign.training.evaluation.folds import assign_folds, heads_left_out, runs
from tellsign.training.evaluation.left_out import FAKE, REAL, auroc
from tellsign.training.evaluation.metrics import bootstrap
from tellsign.training.trainer.arguments import run
from tellsign.training.trainer.backbone import large_detector
from tellsign.training.trainer.tuning import HISTORIES, score, tune_head


SCENARIOS = {
    "photographs": "photographs of two collections; judged: others of these, and generators never seen",
    "series": "pictures of one series and 100 photographs; judged: more of it, and photographs of others",
    "generator": "a generator by some people and 100 photographs; judged: the same by others, photographs of others",
    "control": "the 100 photographs alone; judged: the same",
}
PARTS = 3
"""Of the pictures of a collection or series one part is judged in turn, and the others are given."""
LEAST_SERIES = 20
LEAST_COLLECTION = 18
PAIRS = 2
"""Of collections in each fold."""
SERIES = 3
"""In each fold, at most."""
PHOTOGRAPHS = 100
"""That are given beside generated pictures."""
SIZES = (5, 10, 20, 50, 100)
LONGEST = 3
"""How many of the sizes a series is given in."""
LONG_SERIES = 25
"""Least pictures of a series in the curve."""
COLLECTIONS = 8
"""From which the photographs of the curve come."""


@dataclass(frozen=True)
class Case:
    """What a user might bring, and what is judged then: rows of the pictures.

    Args:
        name (`str`): Of the collections, series or generator.
        given, real, fake (`np.ndarray`): The pictures learned from, and those judged.
        strange (`np.ndarray`): Photographs by others, if `real` are not, of which it is counted how many are accused.
        unseen (`np.ndarray`): Generated pictures of other generators, which are told from strangers' photographs.
    """

    name: str
    given: NDArray
    real: NDArray
    fake: NDArray
    strange: NDArray
    unseen: NDArray


@dataclass(frozen=True)
class Fold:
    """Pictures that a head has not seen, and what the head knows.

    Args:
        rows (`np.ndarray`): The pictures.
        head ([`LargePictureHead`]): It saw none of their sources.
        table ([`FeatureTable`]): Of pictures that it saw.
        features (`torch.FloatTensor` of shape `(num_copies, len(rows), 2, num_moments)`): Of the pictures.
        cut (`float`): The logit above which the packaged detector calls a picture fake.
    """

    rows: NDArray
    head: LargePictureHead
    table: FeatureTable
    features: torch.Tensor
    cut: float

    def logits(self, head: LargePictureHead, rows: NDArray) -> NDArray:
        """Logits of fake of some of the pictures."""
        return score(head, self.features[0, np.searchsorted(self.rows, rows)])

    def tuned(self, given: NDArray, labels: NDArray) -> LargePictureHead:
        """The head after it learned from some of the pictures."""
        features = self.features[:, np.searchsorted(self.rows, given)]
        return tune_head(self.head, self.table, np.arange(len(self.table.label)), features, labels[given])


def _photographs(columns: Mapping[str, NDArray], rows: NDArray) -> dict[str, NDArray]:
    """The photographs of each collection among rows, in a random order."""
    of_real = rows[(columns["label"][rows] == REAL) & (columns["kind"][rows] == "photo")]
    names = np.random.default_rng(0).permutation(np.unique(columns["generator"][of_real]))
    return {str(name): of_real[columns["generator"][of_real] == name] for name in names}


def _with_photographs(collections: Mapping[str, NDArray], count: int) -> tuple[NDArray, NDArray]:
    """So many photographs of the first collections, and all of the others."""
    sizes = np.cumsum([len(rows) for rows in collections.values()])
    several = int(np.searchsorted(sizes, min(count, sizes[-1] // 2))) + 1
    parts = list(collections.values())
    return np.concatenate(parts[:several])[:count], np.concatenate(parts[several:])


def photograph_cases(columns: Mapping[str, NDArray], rows: NDArray) -> Iterator[list[Case]]:
    """Photographs of two collections in parts, for several pairs of them."""
    collections = _photographs(columns, rows)
    fake = rows[columns["label"][rows] == FAKE]
    large = [name for name, of in collections.items() if len(of) >= LEAST_COLLECTION]
    for pair in list(zip(large[::2], large[1::2], strict=False))[:PAIRS]:
        own = np.concatenate([collections[name] for name in pair])
        strange = np.concatenate([of for name, of in collections.items() if name not in pair])
        part = np.random.default_rng(0).permutation(len(own)) % PARTS
        yield [
            Case(" + ".join(pair), own[part != turn], own[part == turn], fake, strange, fake) for turn in range(PARTS)
        ]


def series_cases(columns: Mapping[str, NDArray], rows: NDArray) -> Iterator[list[Case]]:
    """Generated pictures of one person by one generator in parts, with photographs."""
    given, real = _with_photographs(_photographs(columns, rows), PHOTOGRAPHS)
    fakes = rows[columns["label"][rows] == FAKE]
    named = fakes[columns["person"][fakes] != ""]
    series = np.char.add(np.char.add(columns["generator"][named], " by "), columns["person"][named])
    names, counts = np.unique(series, return_counts=True)
    for name in np.random.default_rng(0).permutation(names[counts >= LEAST_SERIES])[:SERIES]:
        own = named[series == name]
        unseen = fakes[columns["generator"][fakes] != columns["generator"][own[0]]]
        part = np.random.default_rng(0).permutation(len(own)) % PARTS
        yield [
            Case(str(name), np.concatenate([own[part != turn], given]), real, own[part == turn], real[:0], unseen)
            for turn in range(PARTS)
        ]


def generator_cases(columns: Mapping[str, NDArray], rows: NDArray) -> Iterator[list[Case]]:
    """Pictures of a generator by some people, with photographs; judged are those by the others."""
    given, real = _with_photographs(_photographs(columns, rows), PHOTOGRAPHS)
    fakes = rows[columns["label"][rows] == FAKE]
    named = fakes[columns["person"][fakes] != ""]
    for name in np.unique(columns["generator"][named]):
        own = named[columns["generator"][named] == name]
        people, index, counts = np.unique(columns["person"][own], return_inverse=True, return_counts=True)
        if len(people) < 2 or len(own) < LEAST_SERIES:
            continue
        side = (np.argsort(np.argsort(-counts, kind="stable")) % 2)[index]
        halves = [own[side == turn] for turn in range(2)]
        if min(map(len, halves)) >= SIZES[0]:
            for first, second in (halves, halves[::-1]):
                unseen = fakes[columns["generator"][fakes] != name]
                yield [Case(str(name), np.concatenate([first, given]), real, second, real[:0], unseen)]


def control_cases(columns: Mapping[str, NDArray], rows: NDArray) -> Iterator[list[Case]]:
    """Those of [`generator_cases`] without what is generated."""
    for cases in generator_cases(columns, rows):
        yield [replace(case, given=case.given[columns["label"][case.given] == REAL]) for case in cases]


CASES = {
    "photographs": photograph_cases,
    "series": series_cases,
    "generator": generator_cases,
    "control": control_cases,
}


def curve_cases(columns: Mapping[str, NDArray], rows: NDArray) -> Iterator[tuple[str, int, Case]]:
    """Fewer and more pictures, with the same ones judged."""
    collections = _photographs(columns, rows)
    fake = rows[columns["label"][rows] == FAKE]
    large = [name for name, of in collections.items() if len(of) >= LEAST_COLLECTION][:COLLECTIONS]
    own = np.random.default_rng(0).permutation(np.concatenate([collections[name] for name in large]))
    others = [of for name, of in collections.items() if name not in large]
    strange = np.concatenate(others) if others else own[:0]
    for size in SIZES:
        if len(own) >= SIZES[-1] + LEAST_SERIES and len(strange):
            yield "photographs", size, Case("", own[:size], own[SIZES[-1] :], fake, strange, fake)
    photographs = _with_photographs(collections, PHOTOGRAPHS)[0]
    for case, *_ in series_cases(columns, rows):
        series = np.setdiff1d(np.concatenate([case.given, case.fake]), photographs)
        series = np.random.default_rng(0).permutation(series)
        if len(series) >= LONG_SERIES:
            for size in SIZES[:LONGEST]:
                given = np.concatenate([series[:size], photographs])
                yield "series", size, replace(case, given=given, fake=series[SIZES[LONGEST - 1] :])
            return


def _scores(logits: Mapping[str, NDArray], cut: float) -> dict[str, float]:
    real, fake, strange, unseen = logits.values()
    strict, others = np.quantile(real, 0.98), strange if len(strange) else real
    scores = {
        "auroc": auroc(real, fake),
        "found": float((fake > strict).mean()),
        "strangers": auroc(others, unseen),
        "kept": float((others <= cut).mean() + (unseen > cut).mean()) / 2,
    }
    return scores | ({"accused": float((strange > strict).mean())} if len(strange) else {})


def judge(fold: Fold, cases: list[Case], labels: NDArray) -> dict[str, Any]:
    """Scores before and after. What is judged in each part is pooled, what in several is averaged."""
    result: dict[str, Any] = {"name": cases[0].name, "given": len(cases[0].given)}
    heads = {"before": [fold.head] * len(cases), "after": [fold.tuned(case.given, labels) for case in cases]}
    for time, of_time in heads.items():
        pooled = {}
        for group in ("real", "fake", "strange", "unseen"):
            rows = np.concatenate([getattr(case, group) for case in cases])
            logits = np.concatenate(
                [fold.logits(head, getattr(case, group)) for head, case in zip(of_time, cases, strict=True)]
            )
            of_row = np.unique(rows, return_inverse=True)[1]
            pooled[group] = np.bincount(of_row, logits) / np.bincount(of_row)
        result[time] = _scores(pooled, fold.cut)
    return result


def summary(cases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over cases with 95% intervals that resample them, and how many got worse."""
    values = np.asarray(
        [[case[time][name] for time in ("before", "after") for name in case["after"]] for case in cases]
    )
    names = [f"{time} {name}" for time in ("before", "after") for name in cases[0]["after"]]

    def compute(sample: NDArray) -> dict[str, float]:
        return dict(zip(names, sample.mean(0).tolist(), strict=True))

    means, intervals = compute(values), bootstrap([values], compute)
    worse = sum(case["after"]["auroc"] < case["before"]["auroc"] - 0.01 for case in cases)
    return {
        "cases": len(cases),
        "given": float(np.mean([case["given"] for case in cases])),
        "worse": worse,
        **{name: {"value": means[name], "interval": list(intervals[name])} for name in names},
    }


def tables(record: Mapping[str, Any]) -> list[str]:
    """Markdown tables of what was measured."""
    curve = {
        f"{row['size']} {'photographs' if name == 'photographs' else 'of a series and 100 photographs'}": row
        for name, rows in record["curve"].items()
        for row in rows
    }
    scenarios = {SCENARIOS[name]: row for name, row in record["scenarios"].items()}
    header = ["cases", "worse", "AUROC, %", "found at 2%, %"]
    header += ["strangers' AUROC, %", "at the packaged thresholds, %", "strangers accused, %"]
    return [markdown_table(["given", *header], map(_row, rows, rows.values())) for rows in (scenarios, curve)]


def _row(title: str, row: Mapping[str, Any]) -> list[str]:
    shown = [
        f"{percent(row[f'before {name}']['value'])} to {percent(row[f'after {name}'])}"
        for name in ("auroc", "found", "strangers", "kept", "accused")
        if f"after {name}" in row
    ]
    return [title, str(row["cases"]), str(row["worse"]), *shown, *[""] * (5 - len(shown))]


def main(
    data: Annotated[list[str], typer.Argument(help=DATA_HELP)],
    detector: Annotated[Path, typer.Option(help="Folder of the detector of large pictures, which gets the table.")],
    output_dir: Annotated[Path, typer.Option(help="Where evaluate_adaptation.json is written, and heads are kept.")],
    cuts: Annotated[list[str], typer.Option(help=CUTS_HELP)] = [],  # noqa: B006
    cache_dir: Annotated[Path | None, typer.Option(help="Where features are kept.")] = None,
    folds: Annotated[int, typer.Option(min=2, help="As it was given to leave_out.")] = 8,
    copies: Annotated[int, typer.Option(min=1, help="As it was given to leave_out.")] = 2,
) -> None:
    """Trains heads as leave_out does, writes the table, and adapts each head to pictures that it has not seen."""
    packaged = AutoModelForImageClassification.from_pretrained(detector, dtype=torch.float32).large_picture.eval()
    size = packaged.config.image_size
    model, image_processor = large_detector(size)
    pictures = load_large_pictures(data, cuts, size // 2)
    moments = Moments(pictures, model, image_processor, cache_dir or output_dir / "features")
    learned, plain = moments.training_copies(copies), moments()
    seen_as = [plain, *(moments(seed, seed) for seed in HISTORIES)]
    assignment, columns = assign_folds(pictures.columns, folds), pictures.columns
    heads = _heads(packaged, pictures, assignment, learned, output_dir)

    logits = np.zeros(len(assignment))
    for number, head in enumerate(heads):
        with torch.inference_mode():
            normalized = head.normalized(plain).nan_to_num(0)
        rows = assignment == number
        logits[rows] = score(head, normalized[rows])
    table_of(packaged.head, plain, columns, pictures.complete, assignment, logits).save(detector / FILE)

    cut = packaged.config.temperature * logit(packaged.config.verdict_thresholds[1])
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in SCENARIOS}
    curve: dict[str, dict[int, list[dict[str, Any]]]] = {}
    for number, (seen, rows) in enumerate(tqdm(list(runs(columns, assignment)), desc="Folds")):
        known = np.intersect1d(seen, pictures.complete)
        head = heads[number]
        with torch.inference_mode():
            features = torch.stack([head.normalized(of[rows]).nan_to_num(0) for of in seen_as])
        table = table_of(head, plain, columns, known, assignment, logits)
        fold = Fold(rows, head, table, features, cut)
        for name, cases_of in CASES.items():
            found[name] += [judge(fold, cases, columns["label"]) for cases in cases_of(columns, rows)]
        for name, given, case in curve_cases(columns, rows):
            curve.setdefault(name, {}).setdefault(given, []).append(judge(fold, [case], columns["label"]))
    record = {
        "scenarios": {name: summary(cases) for name, cases in found.items() if cases},
        "curve": {name: [{"size": given} | summary(of) for given, of in rows.items()] for name, rows in curve.items()},
        "cases": found,
    }
    (output_dir / "evaluate_adaptation.json").write_text(json.dumps(record, indent=2) + "\n")
    typer.echo("\n\n".join(tables(record)))


def _heads(
    packaged: Any, pictures: LargePictures, assignment: NDArray, learned: torch.Tensor, output_dir: Path
) -> list[LargePictureHead]:
    """The heads of all folds, kept in a file for these pictures."""

    def make() -> dict[str, torch.Tensor]:
        states = [
            head.state_dict() for head, _ in heads_left_out(packaged.config, pictures.columns, assignment, learned)
        ]
        return {name: torch.stack([state[name] for state in states]) for name in states[0]}

    settings = {
        "pictures": hashlib.sha1(learned.nan_to_num(0).numpy().tobytes()).hexdigest(),
        "folds": hashlib.sha1(assignment.tobytes()).hexdigest(),
    }
    states, heads = cached(output_dir / "heads.safetensors", make, settings), []
    for number in range(assignment.max() + 1):
        head = LargePictureHead(packaged.config, learned.shape[-1]).eval()
        head.load_state_dict({name: of_folds[number] for name, of_folds in states.items()})
        heads.append(head)
    return heads


if __name__ == "__main__":
    run(main)
