"""Measures detection in large pictures on generators, collections and people that training did not see.

python -m tellsign.training.leave_out real.parquet fake.parquet --output-dir runs/large
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from datasets import Dataset
from numpy.typing import NDArray
from scipy.special import expit
from transformers.utils import logging

from tellsign.hub_cards.left_out_tables import leave_out_tables
from tellsign.training.calibration.promises import PROMISES
from tellsign.training.calibration.sizes import Pictures, fit_verdicts, octaves_of
from tellsign.training.data.degradations import REDUCED, VERSIONS, cut_as_seen, whole_as_seen
from tellsign.training.data.large_pictures import (
    CUTS_HELP,
    DATA_HELP,
    ORIGINALS_HELP,
    LargePictures,
    load_large_pictures,
)
from tellsign.training.data.moments import VIEWS, Moments
from tellsign.training.data.sources import content_of, without_folders
from tellsign.training.evaluation.folds import assign_folds, predict_left_out
from tellsign.training.evaluation.left_out import (
    LEAST_PICTURES,
    classes_of,
    error_rates,
    generator_scores,
    mean_scores,
    plot_left_out,
    pooled_scores,
    rule_scores,
    score_left_out,
    verdict_shares,
    verdicts_at,
    version_scores,
    view_rules,
)
from tellsign.training.trainer.arguments import run
from tellsign.training.trainer.backbone import large_detector


logger = logging.get_logger(__name__)
LESS_SOURCES = (0.25, 0.5)
"""Shares of the sources with which heads are trained too, to see what more of them give."""
AS_IT_IS = next(iter(VERSIONS))


def measure(
    columns: Mapping[str, NDArray],
    assignment: NDArray,
    files: Pictures,
    copies: Mapping[str, Pictures],
    by_share: dict[float, NDArray],
) -> tuple[dict[str, Any], NDArray]:
    """Fits calibration and thresholds, and scores logits of fake of pictures whose sources heads did not see.

    `files` and `copies`, here by name, are those of [`fit_verdicts`], `by_share` logits by heads that saw a share of
    the sources. Gives the record, and the logits of the files as they count at their sizes.
    """
    calibration, thresholds = fit_verdicts(columns, files, list(copies.values()), PROMISES)
    verdicts = {name: verdicts_at(calibration.probabilities(*files), pair) for name, pair in thresholds.items()}
    logits, temperature = calibration.adjusted(*files), calibration.temperature
    scores = score_left_out(columns, assignment, logits, verdicts, temperature)
    if not scores["generators"]:
        raise ValueError(
            f"no generator has {LEAST_PICTURES} pictures beside photographs of its fold: give more, or fewer --folds"
        )
    record: dict[str, Any] = asdict(calibration) | {
        "verdict_thresholds": {name: list(pair) for name, pair in thresholds.items()},
        "verdict_error_rates": {name: error_rates(said["right"]["0.5"]) for name, said in scores["verdicts"].items()},
        **scores,
    }
    record["copies"] = {name: score_others(record, columns, calibration.adjusted(*of)) for name, of in copies.items()}
    record["curve"] = []
    for share, of_share in (by_share | {1.0: files[0]}).items():
        means = mean_scores(generator_scores(columns, assignment, calibration.adjusted(of_share, files[1])))
        record["curve"].append({"share": share, "auroc": means["all"]["auroc"]["value"]})
    return record, logits


def score_others(record: Mapping[str, Any], columns: Mapping[str, NDArray], logits: NDArray) -> dict[str, Any]:
    """Scores pictures at a temperature and thresholds that were fitted on others."""
    probabilities = expit(logits / record["temperature"])
    return {
        "pooled": pooled_scores(columns, logits),
        "verdicts": {
            name: verdict_shares(verdicts_at(probabilities, pair), columns)
            for name, pair in record["verdict_thresholds"].items()
        },
    }


def rules(pictures: LargePictures, rows: NDArray, cut_size: int) -> dict[str, dict[str, float]]:
    """What rules score on each view that see next to nothing, see [`view_rules`]."""
    classes = classes_of(_rows(pictures.columns, rows))
    wholes, cuts = pictures.wholes["image"], pictures.cuts["image"]
    seen = {
        "whole": (whole_as_seen(content_of(wholes[int(row)]) or b"", None, 0) for row in pictures.whole_rows[rows]),
        "cut": (cut_as_seen(content_of(cuts[int(row)]) or b"", 0, 0, cut_size) for row in pictures.cut_rows[rows]),
    }
    return {view: view_rules(images, *classes) for view, images in seen.items()}


def score_files(
    record: Mapping[str, Any], columns: Mapping[str, NDArray], facts: Mapping[str, NDArray], logits: NDArray
) -> dict[str, Any]:
    """Scores original files by what their classes differ in, and says what that tells by itself.

    `strata` are parts in which the classes do not differ so, `formats` the verdicts on files of each format, `rules`
    see [`rule_scores`].
    """
    photographs, fakes = classes_of(columns)
    is_jpeg, is_square = facts["format"] == "JPEG", facts["width"] == facts["height"]
    parts = {
        "JPEG files": is_jpeg,
        "without squares": ~is_square,
        "generated PNG files, photographs as JPEG": np.where(fakes, facts["format"] == "PNG", is_jpeg),
    }
    formats = {"JPEG": is_jpeg, "PNG and others": ~is_jpeg}
    measures = {"not JPEG": ~is_jpeg, "square": is_square, "area": facts["width"] * facts["height"]}
    of_formats = {name: score_others(record, _rows(columns, rows), logits[rows]) for name, rows in formats.items()}
    return {
        "strata": {name: pooled_scores(_rows(columns, rows), logits[rows]) for name, rows in parts.items()},
        "formats": {name: scores["verdicts"] for name, scores in of_formats.items()},
        "rules": rule_scores(measures, photographs, fakes),
    }


def _rows(columns: Mapping[str, NDArray], rows: NDArray) -> dict[str, NDArray]:
    return {name: values[rows] for name, values in columns.items()}


def main(
    data: Annotated[list[str], typer.Argument(help=DATA_HELP)],
    output_dir: Annotated[Path, typer.Option(help="Where leave_out.json and leave_out.png are written.")],
    cuts: Annotated[list[str], typer.Option(help=CUTS_HELP)] = [],  # noqa: B006
    originals: Annotated[Path | None, typer.Option(help=ORIGINALS_HELP)] = None,
    cache_dir: Annotated[Path | None, typer.Option(help="Where features are kept.")] = None,
    folds: Annotated[int, typer.Option(min=2, help="Runs, among which the sources are divided.")] = 8,
    copies: Annotated[int, typer.Option(min=1, help="Ways in which training sees each picture.")] = 2,
    image_size: Annotated[
        int, typer.Option(min=32, help="Side at which wholes are seen, the most of cuts too.")
    ] = 256,
    versions: Annotated[int, typer.Option(min=0, help="Pictures whose versions are compared, at random.")] = 600,
) -> None:
    """Trains a head for each fold without its families, collections and people, scores them, and fits the verdicts.

    The temperature and thresholds in leave_out.json are what `train_large` gives the detector.
    """
    model, image_processor = large_detector(image_size)
    pictures = load_large_pictures(data, cuts, image_size // 2, originals)
    columns, complete, rows = pictures.columns, pictures.complete, pictures.measured
    assignment = assign_folds(columns, folds)
    moments = Moments(pictures, model, image_processor, cache_dir or output_dir / "features")
    learned = moments.training_copies(copies)
    some = np.sort(np.random.default_rng(0).permutation(complete)[:versions])
    changed = {name: moments(name, name, some) for name in VERSIONS} if versions else {}

    seen_as = {"all": moments.as_detected()} | {name: moments.as_reduced(name) for name in REDUCED} | changed
    for at, view in enumerate(VIEWS):  # the other one counts as the average one
        seen_as[view] = seen_as["all"].clone()
        seen_as[view][:, 1 - at] = torch.nan

    def logits_of(seen: Mapping[str, torch.Tensor], share: float = 1.0) -> dict[str, NDArray]:
        return predict_left_out(model.config, columns, assignment, learned, seen, share)

    logits, by_share = logits_of(seen_as), {}
    for share in LESS_SOURCES:
        try:
            by_share[share] = logits_of({"all": seen_as["all"]}, share)["all"][rows]
        except ValueError as error:  # few sources may do for all of them, and not for a quarter
            logger.warning(f"without a head on {share:.0%} of the sources: {error}")
    measured, wholes = _rows(columns, rows), pictures.measured_wholes
    sides = pictures.shorter_sides()
    files = logits["all"][rows], octaves_of(sides)
    small = {name: (logits[name][wholes], octaves_of(np.minimum(sides, side))) for name, side in REDUCED.items()}
    scores, adjusted = measure(measured, assignment[rows], files, small, by_share)
    record: dict[str, Any] = {
        "data": [without_folders(source) for source in data],
        "cuts": [without_folders(source) for source in cuts],
        "originals": originals and without_folders(str(originals)),
        "folds": folds,
        "training_copies": copies,
        "image_size": image_size,
        **scores,
    }
    record["views"] = {view: pooled_scores(measured, logits[view][rows]) for view in VIEWS}
    record["rules"] = rules(pictures, complete, image_processor.cut_size)
    of_some, fitted = _rows(columns, some), (record["temperature"], record["verdict_thresholds"])
    record["versions"] = {
        name: {"pictures": len(some)} | version_scores(of_some, logits[AS_IT_IS][some], logits[name][some], *fitted)
        for name in changed
    }
    output_dir.mkdir(parents=True, exist_ok=True)
    if (originals_of := pictures.originals) is not None:
        record["files"] = score_files(record, measured, originals_of.facts, adjusted)
        of_files = {name: measured[name] for name in ("label", "kind", "generator")} | originals_of.facts
        of_files["logit"] = adjusted / record["temperature"]
        Dataset.from_dict(of_files).to_parquet(output_dir / "originals.parquet")
        record["cuts_alike"] = score_others(record, _rows(columns, complete), logits["all"][complete])
    (output_dir / "leave_out.json").write_text(json.dumps(record, indent=2) + "\n")
    plot_left_out(record).savefig(output_dir / "leave_out.png", dpi=100)
    typer.echo("\n\n".join(leave_out_tables(record)))


if __name__ == "__main__":
    run(main)
