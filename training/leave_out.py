"""Measures detection in large pictures on generators, collections and people that training did not see.

python -m tellsign.training.leave_out real.parquet fake.parquet --output-dir runs/large
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from scipy.special import expit
from transformers.utils import logging

from tellsign.hub_cards.left_out_tables import leave_out_tables
from tellsign.modeling.verdicts import verdict_of
from tellsign.training.calibration.detector import fit_temperature
from tellsign.training.calibration.promises import PROMISES, fit_promised_thresholds
from tellsign.training.data.degradations import HISTORIES
from tellsign.training.data.large_pictures import DATA_HELP, columns_of, load_pictures, stacked
from tellsign.training.data.moments import picture_moments, training_copies
from tellsign.training.data.sources import without_folders
from tellsign.training.evaluation.folds import assign_folds, predict_left_out
from tellsign.training.evaluation.left_out import (
    LEAST_PICTURES,
    generator_scores,
    mean_scores,
    plot_left_out,
    score_left_out,
)
from tellsign.training.trainer.arguments import run
from tellsign.training.trainer.backbone import large_detector


logger = logging.get_logger(__name__)
LESS_SOURCES = (0.25, 0.5)
"""Shares of the sources with which heads are trained too, to see what more of them give."""


def measure(
    columns: Mapping[str, NDArray],
    assignment: NDArray,
    logits: NDArray,
    changed: Mapping[str, NDArray],
    by_share: Mapping[float, NDArray],
) -> dict[str, Any]:
    """Fits temperature and thresholds, and scores logits of fake of pictures whose sources heads did not see.

    Args:
        columns, assignment: From [`columns_of`] and [`assign_folds`].
        logits (`np.ndarray` of shape `(n,)`): Of the pictures as they are.
        changed (`Mapping`): Logits after each of some `HISTORIES`.
        by_share (`Mapping`): Logits by heads that saw a share of the sources.
    """
    temperature = fit_temperature(np.stack([np.zeros(len(logits)), logits], axis=1), columns["label"])
    probabilities = expit(logits / temperature)
    thresholds = {
        name: fit_promised_thresholds(columns["label"], probabilities, columns["kind"], promise)
        for name, promise in PROMISES.items()
    }
    verdicts = {
        name: np.asarray([verdict_of(probability, pair) for probability in probabilities])
        for name, pair in thresholds.items()
    }

    def means(*logits: NDArray) -> dict[str, dict[str, Any]]:
        return mean_scores(generator_scores(columns, assignment, *logits))

    scores = score_left_out(columns, assignment, logits, verdicts, temperature)
    if not scores["generators"]:
        raise ValueError(
            f"no generator has {LEAST_PICTURES} pictures beside photographs of its fold: give more, or fewer --folds"
        )
    curve = {share: means(fewer) for share, fewer in by_share.items()} | {1.0: scores["means"]}
    return {
        "temperature": temperature,
        "verdict_thresholds": {name: list(pair) for name, pair in thresholds.items()},
        **scores,
        "histories": {
            name: {"both": means(after), "fakes alone": means(after, logits)} for name, after in changed.items()
        },
        "curve": [{"share": share, "auroc": of_share["all"]["auroc"]["value"]} for share, of_share in curve.items()],
    }


def main(
    data: Annotated[list[str], typer.Argument(help=DATA_HELP)],
    output_dir: Annotated[Path, typer.Option(help="Where leave_out.json and leave_out.png are written.")],
    also_train: Annotated[list[str], typer.Option(help="Data to train on too, on which nothing is scored.")] = [],  # noqa: B006
    cache_dir: Annotated[Path | None, typer.Option(help="Where features are kept.")] = None,
    folds: Annotated[int, typer.Option(min=2, help="Runs, among which the sources are divided.")] = 8,
    copies: Annotated[int, typer.Option(min=1, help="Ways in which training sees each picture.")] = 3,
    image_size: Annotated[int, typer.Option(min=32, help="Side at which pictures are seen, in pixels.")] = 256,
    histories: Annotated[bool, typer.Option(help="Also measure robustness to encodings, sizes and crops.")] = True,
) -> None:
    """Trains a head for each fold without its families, collections and people, scores them, and fits the verdicts.

    The temperature and thresholds in leave_out.json are what `train_large` gives the detector.

    \f
    Raises:
        ValueError: If a picture cannot be read, or a class has fewer sources than there are folds.
    """
    model, image_processor = large_detector(image_size)
    config, cache_dir = model.config, cache_dir or output_dir / "features"
    sets = [load_pictures(group, image_size // 2) for group in (data, also_train) if group]
    columns, *others = map(columns_of, sets)
    known = stacked(columns, *others)
    assignment = assign_folds(columns, folds)

    learned = training_copies(sets, model, image_processor, copies, cache_dir)
    names = list(HISTORIES) if histories else []
    seen_as = [picture_moments(sets[0], model, image_processor, name, cache_dir) for name in (None, *names)]
    logits, *changed = predict_left_out(config, known, assignment, learned, seen_as)
    by_share = {}
    for share in LESS_SOURCES:
        try:
            by_share[share] = predict_left_out(config, known, assignment, learned, seen_as[:1], share)[0]
        except ValueError as error:  # few sources may do for all of them, and not for a quarter
            logger.warning(f"without a head on {share:.0%} of the sources: {error}")
    record = {
        "data": [without_folders(source) for source in data],
        "also_train": [without_folders(source) for source in also_train],
        "folds": folds,
        "copies": copies,
        "image_size": image_size,
        **measure(columns, assignment, logits, dict(zip(names, changed, strict=True)), by_share),
    }
    output_dir.mkdir(parents=True, exist_ok=True)
    (output_dir / "leave_out.json").write_text(json.dumps(record, indent=2) + "\n")
    plot_left_out(record["generators"], record["curve"]).savefig(output_dir / "leave_out.png", dpi=100)
    typer.echo("\n\n".join(leave_out_tables(record)))


if __name__ == "__main__":
    run(main)
