"""Scores detectors under the protocol of the model cards.

python -m tellsign.training.evaluate_detector MODEL --data test.parquet --train-data train.parquet
"""

import json
from pathlib import Path
from typing import Annotated

import matplotlib
import numpy as np
import torch
import typer
from datasets import Dataset
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve
from sklearn.metrics import roc_curve
from torch.utils.flop_counter import FlopCounterMode
from tqdm.auto import tqdm
from transformers import AutoImageProcessor, AutoModelForImageClassification, PreTrainedModel

import tellsign  # noqa: F401 - registers WaveFreq
from tellsign.training.data import DecodedImages, load_sources
from tellsign.training.metrics import bootstrap_intervals, calibration_scores, detection_scores, risk_coverage


SUMMARY = ("accuracy", "balanced_accuracy", "accuracy_real", "accuracy_fake", "auroc", "tpr_at_1_fpr", "ece")


def predict_logits(model: PreTrainedModel, images: DecodedImages, batch_size: int = 500) -> NDArray:
    """Logits of real and of fake for all images, at temperature 1.

    Args:
        model (`PreTrainedModel`): An image classifier with a label `real` and a label `fake`, in any case and order.
        images ([`DecodedImages`]): The images.
        batch_size (`int`, *optional*, defaults to 500): Images scored at once.

    Returns:
        `np.ndarray` of shape `(len(images), 2)`, float64.

    Raises:
        ValueError: If the model has no label real or no label fake.
    """
    index = {name.lower(): index for name, index in (model.config.label2id or {}).items()}
    if not {"real", "fake"} <= set(index):
        raise ValueError(f"{model.name_or_path}: has the labels {', '.join(index)}, expected real and fake")
    columns = [index["real"], index["fake"]]
    model.eval()
    batches = torch.arange(len(images)).split(batch_size)
    with torch.inference_mode():
        logits = [
            model(images.__getitems__(batch)["pixel_values"].to(model.device)).logits[:, columns].double().cpu()
            for batch in tqdm(batches, desc="Scoring", unit="batch", leave=False)
        ]
    return torch.cat(logits).numpy() * getattr(model.config, "temperature", 1.0)


def fake_probability(logits: NDArray, temperature: float) -> NDArray:
    """Probability of fake, shape `(n,)`, from two-way logits at temperature 1."""
    return 1 / (1 + np.exp((logits[:, 0] - logits[:, 1]) / temperature))


def describe(model: PreTrainedModel) -> dict[str, float]:
    """Parameters, and multiply-adds of one image in the convolutions and matrix products (not in the FFTs)."""
    size = model.config.image_size
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model.eval()(torch.zeros(1, model.config.num_channels, size, size))
    return {"parameters": model.num_parameters(), "multiply_adds": counter.get_total_flops() // 2}


def score(labels: NDArray, logits: NDArray, temperature: float, resamples: int) -> dict:
    """All scores of a set of images with their intervals, and the calibration before temperature scaling."""
    probabilities = fake_probability(logits, temperature)
    return {
        "real": int((labels == 0).sum()),
        "fake": int((labels == 1).sum()),
        "scores": detection_scores(labels, probabilities),
        "intervals": bootstrap_intervals(labels, probabilities, resamples),
        "before_calibration": calibration_scores(labels, fake_probability(logits, 1.0)),
    }


def plot(labels: NDArray, probabilities: NDArray, title: str) -> Figure:
    """ROC curve, reliability diagram and risk against coverage, side by side."""
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    figure.suptitle(title)
    roc, reliability, risk = figure.subplots(1, 3)

    false_positives, true_positives, _ = roc_curve(labels, probabilities)
    roc.plot(false_positives, true_positives)
    roc.set(xscale="log", xlim=(1e-4, 1), ylim=(0, 1.01), title="ROC")
    roc.set(xlabel="real images called fake (false positive rate)", ylabel="fakes found (true positive rate)")

    observed, predicted = calibration_curve(labels, probabilities, n_bins=15)
    reliability.plot([0, 1], [0, 1], color="0.7", linestyle="--")
    reliability.plot(predicted, observed, marker="o")
    reliability.set(title="Reliability", xlabel="predicted probability of fake", ylabel="observed share of fakes")

    coverage, error = risk_coverage(labels, probabilities)
    risk.plot(coverage, 100 * error)
    risk.set(xlim=(0, 1), ylim=(0, None), title="Risk against coverage")
    risk.set(xlabel="share of images answered, the most confident first", ylabel="errors among the answered, %")
    for axes in (roc, reliability, risk):
        axes.grid(alpha=0.3)
    return figure


def format_table(evaluations: list[dict]) -> str:
    """One Markdown row for each model and set of images, scores in percent with their 95% intervals."""
    rows = [["model", "parameters", "multiply-adds", "images", "real", "fake", *SUMMARY]]
    for evaluation in evaluations:
        for result in evaluation["results"]:
            cells = []
            for name in SUMMARY:
                low, high = result["intervals"][name]
                cells.append(f"{100 * result['scores'][name]:.2f} [{100 * low:.2f}, {100 * high:.2f}]")
            size = f"{evaluation['parameters'] / 1e6:.2f} M", f"{evaluation['multiply_adds'] / 1e6:.0f} M"
            rows.append([evaluation["model"], *size, result["name"], str(result["real"]), str(result["fake"]), *cells])
    rows.insert(1, ["---"] * len(rows[0]))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _generators(dataset: Dataset, images: DecodedImages) -> NDArray:
    if "generator" not in dataset.column_names:
        return np.full(len(images), "unnamed")
    return np.asarray(dataset["generator"])[images.rows]


def main(
    models: Annotated[list[str], typer.Argument(help="Checkpoints: folders or repositories on the Hub.")],
    data: Annotated[list[str], typer.Option(help="Test images of both classes; may be given several times.")],
    train_data: Annotated[
        list[str], typer.Option(help="What the models were trained on: images that occur there are scored apart.")
    ] = [],  # noqa: B006 - typer copies it
    other_fakes: Annotated[
        list[str], typer.Option(help="Fakes of other generators, each scored against the real images of --data.")
    ] = [],  # noqa: B006
    output_dir: Annotated[Path, typer.Option(help="Where a folder is made for each model.")] = Path("evaluation"),
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples for the intervals.")] = 1000,
) -> None:
    """Prints accuracy, ranking, calibration and abstention with 95% intervals; writes JSON and a picture."""
    matplotlib.use("agg")
    test = load_sources(data)
    others = load_sources(other_fakes) if other_fakes else None
    seen = set(load_sources(train_data)["sha1"]) if train_data else set()

    evaluations = []
    for name in models:
        model = AutoModelForImageClassification.from_pretrained(name)
        image_processor = AutoImageProcessor.from_pretrained(name)
        temperature = getattr(model.config, "temperature", 1.0)
        images = DecodedImages(test, image_processor)
        labels, logits = images.labels.numpy(), predict_logits(model, images)

        results = []
        if seen:
            untouched = np.asarray([sha1 not in seen for sha1 in np.asarray(test["sha1"])[images.rows]])
            untouched_scores = score(labels[untouched], logits[untouched], temperature, resamples)
            results.append({"name": "not in training data"} | untouched_scores)
        results.append({"name": "all"} | score(labels, logits, temperature, resamples))
        if others is not None:
            other_images = DecodedImages(others, image_processor)
            other_logits, generators = predict_logits(model, other_images), _generators(others, other_images)
            for generator in np.unique(generators):
                both = np.concatenate([logits[labels == 0], other_logits[generators == generator]])
                truth = np.repeat([0, 1], [np.sum(labels == 0), np.sum(generators == generator)])
                results.append({"name": f"generator {generator}"} | score(truth, both, temperature, resamples))

        title = Path(name).name
        evaluation = {
            "model": title,
            **describe(model),
            "temperature": temperature,
            "data": [Path(source).name for source in data],
            "results": results,
        }
        evaluations.append(evaluation)
        folder = output_dir / title
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "evaluation.json").write_text(json.dumps(evaluation, indent=2) + "\n")
        figure = plot(labels, fake_probability(logits, temperature), f"{title}, {len(labels):,} images")
        figure.savefig(folder / "evaluation.png", dpi=100)
        typer.echo(f"{folder}/evaluation.json, {folder}/evaluation.png", err=True)
    typer.echo(format_table(evaluations))


if __name__ == "__main__":
    typer.run(main)
