"""Scores a recipe on generators and photograph collections that training did not see, by leaving each out in turn.

python -m tellsign.training.leave_out DATA OUTPUT_DIR -- RECIPE.json --train_data ... [options of train_detector]
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from datasets import Dataset
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from transformers import BaseImageProcessor, PreTrainedModel
from transformers.utils import logging

from tellsign.hub_cards.card_tables import leave_out_tables
from tellsign.modeling.verdicts import thresholds_of, verdict_of_views
from tellsign.training import train_detector
from tellsign.training.calibration.detector import fit_decision_threshold
from tellsign.training.data.families import family_of
from tellsign.training.data.groups import load_groups, split_groups
from tellsign.training.data.images import DecodedImages
from tellsign.training.data.sources import LABELS, UNNAMED, drop_duplicates, load_sources, split_group, without_folders
from tellsign.training.evaluation.metrics import bootstrap_intervals
from tellsign.training.evaluation.prediction import fake_probability, load_detector, predict_logits, temperature_of
from tellsign.training.trainer.arguments import as_shown, recipe_file


logger = logging.get_logger(__name__)
REAL, FAKE = range(len(LABELS))


def assign_folds(images: Dataset, folds: int) -> dict[str, int]:
    """The fold in which each generator and photograph collection is left out.

    Generators of a family are left out together (see [`family_of`]). Of each class, the largest family or collection
    comes first and goes to the fold that has the fewest images so far.

    Raises:
        ValueError: If a class has fewer families or collections than there are folds, or a name stands for both
            classes.
    """
    labels, generators = np.asarray(images["label"][:]), np.asarray(images["generator"][:])
    both = set(generators[labels == REAL]) & set(generators[labels == FAKE])
    if both:
        raise ValueError(f"{', '.join(sorted(both))}: has real and fake images, expected one class a name")
    assignment: dict[str, int] = {}
    for label, title in enumerate(LABELS):
        names, family_of_image = np.unique(generators[labels == label], return_inverse=True)
        families = np.asarray([family_of(name) if label == FAKE else name for name in names])
        members, counts = np.unique(families[family_of_image], return_counts=True)
        if len(members) < folds:
            raise ValueError(f"{len(members)} sources of {title} images cannot be left out in {folds} folds")
        filled = np.zeros(folds, int)
        for index in np.argsort(-counts, kind="stable"):
            fold = int(np.argmin(filled))
            assignment |= {str(name): fold for name in names[families == members[index]]}
            filled[fold] += counts[index]
    return assignment


def score_fold(
    labels: NDArray,
    generators: NDArray,
    probabilities: NDArray,
    verdicts: NDArray,
    threshold: float,
    seen_families: Collection[str],
    seen_photographs: NDArray | None,
    pool_below: int,
    resamples: int,
) -> dict:
    """Scores of the sources left out in a fold.

    Args:
        labels (`np.ndarray` of shape `(n,)`): 0 for real, 1 for fake.
        generators (`np.ndarray` of shape `(n,)`): Name of each image's generator or photograph collection.
        probabilities (`np.ndarray` of shape `(n,)`): Calibrated probability of fake.
        verdicts (`np.ndarray` of shape `(n,)`): What is said of each image: "real", "fake" or "uncertain".
        threshold (`float`): Probability above which an image counts as fake in balanced accuracy and false positives.
        seen_families (`Collection[str]`): Families of which training saw other generators, or this one elsewhere.
        seen_photographs (`np.ndarray` of shape `(m,)`, *optional*):
            Probabilities of photographs that were held out of collections that the run trained on.
        pool_below (`int`): Generators with fewer images are scored together, those of seen families apart.
        resamples (`int`): Bootstrap resamples for the intervals.

    Returns:
        For each generator its number of images, whether training saw its family, value and interval of AUROC and of
        balanced accuracy at the threshold against all real images of the fold, of recall at 5% false positives, of
        AUROC against photographs of collections seen, if they are given, and the shares called fake and real; for
        each collection the shares of images above probability 0.5 and above the threshold, and those called fake and
        real; all in [0, 1].
    """
    real = np.flatnonzero(labels == REAL)
    names, counts = np.unique(generators[labels == FAKE], return_counts=True)
    seen = {name: family_of(name) in seen_families for name in names}
    small = [name for name in names[counts < pool_below] if not seen[name]]
    small_seen = [name for name in names[counts < pool_below] if seen[name]]
    pools = dict.fromkeys(small, f"{len(small)} others")
    pools |= dict.fromkeys(small_seen, f"{len(small_seen)} others of families seen")
    seen |= {pools[name]: seen[name] for name in pools}
    pooled = np.asarray([pools.get(name, name) for name in generators])

    def compute(truth: NDArray, rows: NDArray) -> dict[str, float]:
        scores, fake_verdicts = probabilities[rows], verdicts[rows[truth == FAKE]]
        return {
            "auroc": float(roc_auc_score(truth, scores)),
            "balanced_accuracy_at_threshold": float(balanced_accuracy_score(truth, scores > threshold)),
            "recall_at_5_fpr": float(np.mean(scores[truth == FAKE] > np.quantile(scores[truth == REAL], 0.95))),
            "called_fake": float(np.mean(fake_verdicts == "fake")),
            "called_real": float(np.mean(fake_verdicts == "real")),
        }

    def auroc_of_seen(truth: NDArray, scores: NDArray) -> dict[str, float]:
        return {"auroc_seen_collections": float(roc_auc_score(truth, scores))}

    result: dict[str, dict] = {"generators": {}, "collections": {}}
    for name in np.unique(pooled[labels == FAKE]):
        fake = np.flatnonzero((labels == FAKE) & (pooled == name))
        truth, rows = np.repeat([REAL, FAKE], [len(real), len(fake)]), np.concatenate([real, fake])
        intervals = bootstrap_intervals(truth, rows, compute, resamples)
        values = compute(truth, rows)
        if seen_photographs is not None:
            truth = np.repeat([REAL, FAKE], [len(seen_photographs), len(fake)])
            scores = np.concatenate([seen_photographs, probabilities[fake]])
            intervals |= bootstrap_intervals(truth, scores, auroc_of_seen, resamples)
            values |= auroc_of_seen(truth, scores)
        result["generators"][str(name)] = {"images": len(fake), "family_seen": seen[name]} | {
            key: {"value": value, "interval": intervals[key]} for key, value in values.items()
        }
    rng = np.random.default_rng(0)
    for name in np.unique(generators[labels == REAL]):
        images = (labels == REAL) & (generators == name)
        row: dict = {"images": int(images.sum())}
        for key, said in (
            ("above_0.5", probabilities[images] > 0.5),
            ("above_threshold", probabilities[images] > threshold),
            ("called_fake", verdicts[images] == "fake"),
            ("called_real", verdicts[images] == "real"),
        ):
            bounds = np.percentile(rng.choice(said, (resamples, len(said))).mean(1), [2.5, 97.5])
            row[key] = {"value": float(said.mean()), "interval": bounds.tolist()}
        result["collections"][str(name)] = row
    return result


def plot(folds: list[dict]) -> Figure:
    """AUROC of each generator and false positives of each photograph collection, with their intervals."""
    figure = Figure(figsize=(13, 8), layout="constrained")
    for axes, kind, key in zip(
        figure.subplots(1, 2), ("generators", "collections"), ("auroc", "above_threshold"), strict=True
    ):
        rows = sorted(
            ((row[key]["value"], name, row) for fold in folds for name, row in fold[kind].items()),
            key=lambda entry: entry[:2],
            reverse=kind == "collections",
        )
        values = np.asarray([value for value, _, _ in rows])
        errors = np.abs(np.asarray([row[key]["interval"] for _, _, row in rows]).T - values)
        places, seen = np.arange(len(rows)), np.asarray([row.get("family_seen", False) for _, _, row in rows])
        axes.errorbar(values, places, xerr=errors, fmt="none", ecolor="0.7")
        axes.plot(values[~seen], places[~seen], "o", color="C0", label="family left out")
        if seen.any():
            axes.plot(
                values[seen], places[seen], "o", color="C0", mfc="white", label="training saw others of its family"
            )
        axes.set_yticks(places, [name for _, name, _ in rows], fontsize=8)
        axes.grid(alpha=0.3)
        if kind == "generators":
            axes.axvline(0.5, color="0.5", linestyle="--", label="chance")
            axes.set(title="Generators left out", xlabel="AUROC against photographs left out", xlim=(0, 1))
            axes.legend(loc="upper left")
        else:
            axes.axvline(values.mean(), color="0.5", linestyle="--", label="mean")
            axes.set(title="Photograph collections left out", xlabel="share above the threshold for 5%")
            axes.set_xlim(left=0)
            axes.legend([axes.lines[-1]], ["mean"], loc="upper right")
    return figure


def score_images(
    model: PreTrainedModel, image_processor: BaseImageProcessor, images: Dataset, views: int
) -> tuple[NDArray, NDArray, NDArray]:
    """Rows of the images that can be read, their probability of fake (the mean of their views) and their verdicts."""
    decoded = DecodedImages(images, image_processor, model.config.image_size, views)
    each = fake_probability(predict_logits(model, decoded), temperature_of(model))
    rows, first = np.unique(decoded.rows, return_index=True)
    of_views = np.split(each, first[1:])
    verdicts = [verdict_of_views(values.tolist(), thresholds_of(model)) for values in of_views]
    return rows, np.asarray([values.mean() for values in of_views]), np.asarray(verdicts)


def generators_of_fakes(groups: Sequence[Dataset]) -> set[str]:
    """Names of the generators in groups of training data."""
    return {
        name
        for group in groups
        for name in np.asarray(group["generator"][:])[np.asarray(group["label"][:]) == FAKE].tolist()
    }


def check_start(data: Sequence[str], train_data: Sequence[str], start: str, left_out: Collection[str]) -> None:
    """Raises a `ValueError` if a run would start from a checkpoint that says it was trained on what is left out.

    Warns if it was trained on more than the run is, since generators in that then count as unseen.
    """
    recipe = recipe_file(start)
    made_with = json.loads(Path(recipe).read_text(encoding="utf-8")) if recipe else {}
    own, of_its_start = (
        {source for group in made_with.get(name, ()) for source in split_group(group)}
        for name in ("train_data", "start_train_data")
    )
    seen = own | of_its_start
    was_without_them = set(left_out) <= set(made_with.get("leave_out", ()))  # though its start need not have been
    with_them = of_its_start if was_without_them else seen
    if both := with_them.intersection(without_folders(source) for source in data):
        raise ValueError(f"{start} was trained on {', '.join(sorted(both))}: what it saw cannot be left out")
    trained_on = {without_folders(source) for group in train_data for source in split_group(group)}
    if others := seen - trained_on:
        logger.warning(
            f"{start} was trained on {', '.join(sorted(others))} too, which is not in --train_data: families of "
            "generators in it count as unseen"
        )


def claim(folder: Path, left_out: list[str], training: list[str]) -> None:
    """Marks a folder as that of a run, and raises a `ValueError` if it is that of another one."""
    marker, run = folder / "leave_out_run.json", json.dumps({"left_out": left_out, "training": training}, indent=2)
    folder.mkdir(parents=True, exist_ok=True)
    if not marker.exists():
        marker.write_text(run)
    elif marker.read_text() != run:
        raise ValueError(f"{folder} is of a run with other arguments: name another folder")


def main(
    data: Annotated[str, typer.Argument(help="Images whose sources are left out; a.parquet+b.parquet joins two.")],
    output_dir: Annotated[Path, typer.Argument(help="Where the runs, leave_out.json and leave_out.png are written.")],
    training: Annotated[list[str], typer.Argument(help="Arguments of train_detector, after --.")],
    folds: Annotated[int, typer.Option(min=2, help="Number of runs, among which the sources are divided.")] = 4,
    pool_below: Annotated[int, typer.Option(min=0, help="Generators with fewer images are scored together.")] = 25,
    views: Annotated[int, typer.Option(min=1, help="Of how many views of an image to average the probability.")] = 1,
    resamples: Annotated[int, typer.Option(min=1, help="Bootstrap resamples for the intervals.")] = 1000,
) -> None:
    """Trains once a fold without the sources of that fold, and scores them.

    Given again, the command goes on where it was stopped. With several views it writes `leave_out_views_<n>.json` and
    its picture. In the names of --model_name_or_path and --expert, {fold} is the number of the fold, so that a run can
    start from one of this command that was without the same sources.

    \f
    Raises:
        ValueError: If a folder is of a run with other arguments, or the runs start from what saw the data.
    """
    model_args, data_args, _ = train_detector.parse_arguments([*training, "--output_dir", "unused"])
    images = drop_duplicates(load_sources(split_group(data), data_args.data_split, data_args.data_revision))
    assignment = assign_folds(images, folds)
    left_out_of = [[name for name, number in assignment.items() if number == fold] for fold in range(folds)]
    for fold, left_out in enumerate(left_out_of):
        for start in filter(None, (model_args.model_name_or_path, model_args.expert)):
            check_start(split_group(data), data_args.train_data, start.replace("{fold}", str(fold)), left_out)
    groups = load_groups(data_args)
    fakes_seen = generators_of_fakes(groups).difference(data_args.leave_out)
    if UNNAMED in fakes_seen:
        logger.warning("--train_data has fakes without a generator's name: the family of these counts as unseen")
    generators = np.asarray(images["generator"][:])
    results = []
    for fold, left_out in enumerate(left_out_of):
        folder = output_dir / f"fold-{fold}"
        claim(folder, left_out, training)
        if not (folder / "eval_results.json").exists():
            of_fold = [argument.replace("{fold}", str(fold)) for argument in training]
            train_detector.main(
                [*of_fold, "--output_dir", str(folder), "--leave_out", *data_args.leave_out, *left_out]
            )
        model, image_processor = load_detector(folder)
        of_run = replace(data_args, leave_out=[*data_args.leave_out, *left_out])
        validation = split_groups(groups, of_run)[1]
        held_out = drop_duplicates(validation)
        threshold = json.loads((folder / "eval_results.json").read_text())["eval_threshold_at_5_fpr"]
        if views > 1:  # means scatter less than what that threshold is of
            rows, probabilities, _ = score_images(model, image_processor, validation, views)
            labels, numbers = (np.asarray(validation[column][:])[rows] for column in ("label", "group"))
            threshold = fit_decision_threshold(labels, probabilities, numbers)
        real = np.asarray(held_out["label"][:]) == REAL
        of_collections = np.flatnonzero(real & np.isin(held_out["generator"][:], list(assignment)))
        seen_photographs = None
        if len(of_collections):
            photographs = held_out.select(of_collections)
            seen_photographs = score_images(model, image_processor, photographs, views)[1]
        scored = images.select(np.flatnonzero(np.isin(generators, left_out)))
        rows, probabilities, verdicts = score_images(model, image_processor, scored, views)
        labels, names = np.asarray(scored["label"][:])[rows], np.asarray(scored["generator"][:])[rows]
        families = {family_of(name) for name in fakes_seen.difference(left_out)}
        scores = (labels, names, probabilities, verdicts, threshold, families, seen_photographs)
        results.append(score_fold(*scores, pool_below, resamples))
    name = "leave_out" if views == 1 else f"leave_out_views_{views}"
    arguments = [as_shown(argument) for argument in training]
    record = {"data": as_shown(data), "pool_below": pool_below, "views": views, "training": arguments}
    record["folds"] = results
    (output_dir / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")
    plot(results).savefig(output_dir / f"{name}.png", dpi=100)
    typer.echo("\n\n".join(leave_out_tables(results)))


if __name__ == "__main__":
    typer.run(main)
