"""Measures detection in large pictures on generators, collections and people that training did not see.

python -m tellsign.training.leave_out real.parquet fake.parquet --output-dir runs/large
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from scipy.special import expit
from transformers.utils import logging

from tellsign.hub_cards.left_out_tables import leave_out_tables
from tellsign.training.calibration.detector import fit_temperature
from tellsign.training.calibration.promises import PROMISES, fit_promised_thresholds
from tellsign.training.data.degradations import SQUEEZED, VERSIONS, cut_as_seen, whole_as_seen
from tellsign.training.data.large_pictures import CUTS_HELP, DATA_HELP, LargePictures, load_large_pictures
from tellsign.training.data.moments import VIEWS, Moments
from tellsign.training.data.sources import content_of, without_folders
from tellsign.training.evaluation.folds import assign_folds, predict_left_out
from tellsign.training.evaluation.left_out import (
    FAKE,
    LEAST_PICTURES,
    REAL,
    generator_scores,
    mean_scores,
    plot_left_out,
    pooled_scores,
    score_left_out,
    verdicts_at,
    version_scores,
)
from tellsign.training.evaluation.rules import rule_scores
from tellsign.training.trainer.arguments import run
from tellsign.training.trainer.backbone import large_detector


logger = logging.get_logger(__name__)
LESS_SOURCES = (0.25, 0.5)
"""Shares of the sources with which heads are trained too, to see what more of them give."""
AS_IT_IS = next(iter(VERSIONS))


def measure(
    columns: Mapping[str, NDArray],
    assignment: NDArray,
    logits: NDArray,
    squeezed: NDArray,
    versions: Mapping[str, NDArray],
    compared: NDArray,
    by_share: Mapping[float, NDArray],
) -> dict[str, Any]:
    """Fits temperature and thresholds, and scores logits of fake of pictures whose sources heads did not see.

    Args:
        columns, assignment: Of [`LargePictures`] and [`assign_folds`].
        logits (`np.ndarray` of shape `(n,)`): Of the pictures.
        squeezed (`np.ndarray` of shape `(n,)`): Of them with wholes that are not cut to squares.
        versions (`Mapping`): Logits of each of `VERSIONS`.
        compared (`np.ndarray`): The rows of which there are versions.
        by_share (`Mapping`): Logits by heads that saw a share of the sources.
    """
    temperature = fit_temperature(np.stack([np.zeros(len(logits)), logits], axis=1), columns["label"])
    probabilities = expit(logits / temperature)
    thresholds = {
        name: fit_promised_thresholds(columns["label"], probabilities, columns["kind"], promise)
        for name, promise in PROMISES.items()
    }
    verdicts, of_squeezed = (
        {name: verdicts_at(expit(seen / temperature), pair) for name, pair in thresholds.items()}
        for seen in (logits, squeezed)
    )
    scores = score_left_out(columns, assignment, logits, verdicts, of_squeezed, temperature)
    if not scores["generators"]:
        raise ValueError(
            f"no generator has {LEAST_PICTURES} pictures beside photographs of its fold: give more, or fewer --folds"
        )
    curve = {share: mean_scores(generator_scores(columns, assignment, fewer)) for share, fewer in by_share.items()}
    record: dict[str, Any] = {
        "temperature": temperature,
        "verdict_thresholds": {name: list(pair) for name, pair in thresholds.items()},
        **scores,
        "versions": {},
        "curve": [
            {"share": share, "auroc": of_share["all"]["auroc"]["value"]}
            for share, of_share in (curve | {1.0: scores["means"]}).items()
        ],
    }
    of_compared = {field: values[compared] for field, values in columns.items()}
    for name, after in versions.items():
        scored = version_scores(of_compared, versions[AS_IT_IS][compared], after[compared], temperature, thresholds)
        record["versions"][name] = {"pictures": len(compared)} | scored
    return record


def without_view(moments: torch.Tensor, view: int) -> torch.Tensor:
    """Moments of which one view counts as the average one."""
    alone = moments.clone()
    alone[:, view] = torch.nan
    return alone


def rules(pictures: LargePictures, rows: NDArray, cut_size: int) -> dict[str, dict[str, float]]:
    """What rules score on each view that see next to nothing, see [`rule_scores`]."""
    labels, kinds = pictures.columns["label"][rows], pictures.columns["kind"][rows]
    classes = ((labels == REAL) & (kinds == "photo"), labels == FAKE)
    wholes, cuts = pictures.wholes["image"], pictures.cuts["image"]
    seen = {
        "whole": (whole_as_seen(content_of(wholes[int(row)]) or b"", None, 0) for row in pictures.whole_rows[rows]),
        "cut": (cut_as_seen(content_of(cuts[int(row)]) or b"", 0, 0, cut_size) for row in pictures.cut_rows[rows]),
    }
    return {view: rule_scores(images, *classes) for view, images in seen.items()}


def main(
    data: Annotated[list[str], typer.Argument(help=DATA_HELP)],
    output_dir: Annotated[Path, typer.Option(help="Where leave_out.json and leave_out.png are written.")],
    cuts: Annotated[list[str], typer.Option(help=CUTS_HELP)] = [],  # noqa: B006
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

    \f
    Raises:
        ValueError: If a picture cannot be read, or a class has fewer sources than there are folds.
    """
    model, image_processor = large_detector(image_size)
    config, columns = model.config, (pictures := load_large_pictures(data, cuts, image_size // 2)).columns
    assignment, rows = assign_folds(columns, folds), pictures.complete
    moments = Moments(pictures, model, image_processor, cache_dir or output_dir / "features")
    learned, plain = moments.training_copies(copies), moments()
    some = np.sort(np.random.default_rng(0).permutation(rows)[:versions])
    changed = {name: moments(name, name, some) for name in VERSIONS} if versions else {}

    squeezed = torch.stack([moments(SQUEEZED, None, rows)[:, 0], plain[:, 1]], dim=1)
    seen_as = [plain, squeezed, *(without_view(plain, 1 - view) for view in range(2)), *changed.values()]
    logits, of_squeezed, *others = predict_left_out(config, columns, assignment, learned, seen_as)
    by_share = {}
    for share in LESS_SOURCES:
        try:
            by_share[share] = predict_left_out(config, columns, assignment, learned, [plain], share)[0][rows]
        except ValueError as error:  # few sources may do for all of them, and not for a quarter
            logger.warning(f"without a head on {share:.0%} of the sources: {error}")
    measured = {name: values[rows] for name, values in columns.items()}
    of_versions = {name: values[rows] for name, values in zip(changed, others[2:], strict=True)}
    record = {
        "data": [without_folders(source) for source in data],
        "cuts": [without_folders(source) for source in cuts],
        "folds": folds,
        "copies": copies,
        "image_size": image_size,
        **measure(
            measured,
            assignment[rows],
            logits[rows],
            of_squeezed[rows],
            of_versions,
            np.isin(rows, some).nonzero()[0],
            by_share,
        ),
        "views": {view: pooled_scores(measured, of[rows]) for view, of in zip(VIEWS, others[:2], strict=True)},
        "rules": rules(pictures, rows, image_processor.cut_size),
    }
    output_dir.mkdir(parents=True, exist_ok=True)
    (output_dir / "leave_out.json").write_text(json.dumps(record, indent=2) + "\n")
    plot_left_out(record).savefig(output_dir / "leave_out.png", dpi=100)
    typer.echo("\n\n".join(leave_out_tables(record)))


if __name__ == "__main__":
    run(main)
