"""Compares the ONNX models of a detector with the detector itself: verdicts, AUROC, time and size.

python -m tellsign.training.evaluation.onnx_parity MODEL FOLDER/onnx --data test.parquet
"""

import time
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from tqdm.auto import tqdm

from tellsign.hub_cards.card_tables import markdown_table
from tellsign.hub_cards.judge import Judge
from tellsign.modeling.image_loading import load_image
from tellsign.modeling.verdicts import real_and_fake, verdicts_of
from tellsign.training.data.sources import content_of, load_sources
from tellsign.training.evaluation.prediction import load_detector


def main(
    model: Annotated[str, typer.Argument(help="Folder or repository of the detector.")],
    folder: Annotated[Path, typer.Argument(help="Its onnx/, as `tellsign export` writes it.")],
    data: Annotated[list[str], typer.Option(help="Parquet file, folder or data set; may be given several times.")],
    limit: Annotated[int, typer.Option(min=2, help="How many pictures to draw.")] = 2000,
) -> None:
    """Prints a table with a row for the detector and one for each model, picture by picture.

    "Same pixels" are those of the detector's image processor; `judge.py` makes its own, by Pillow. Times are of the
    network alone, median of all pictures, on the threads that OMP_NUM_THREADS allows.
    """
    detector, processor = load_detector(model)
    detector.eval()
    judges = {path.name: Judge(path) for path in sorted(folder.glob("*.onnx"))}
    dataset = load_sources(data, "train").shuffle(seed=0)
    dataset = dataset.select(range(min(limit, len(dataset))))
    _, fake = real_and_fake(detector.config)
    probabilities: dict[str, list[float]] = {}
    verdicts: dict[str, list[str]] = {}
    times: dict[str, list[float]] = {}

    def note(name: str, probability: float, verdict: str) -> None:
        probabilities.setdefault(name, []).append(probability)
        verdicts.setdefault(name, []).append(verdict)

    for row in tqdm(dataset, desc="Judging", unit="img"):
        content = content_of(row["image"])
        inputs = processor(load_image(content), return_tensors="pt")
        start = time.perf_counter()
        with torch.inference_mode():
            logits = detector(**inputs.to(detector.device)).logits
        times.setdefault("PyTorch", []).append(time.perf_counter() - start)
        probability = float(logits.softmax(-1)[0, fake])
        note("PyTorch", probability, *verdicts_of(detector.config, [probability], inputs["image_sizes"].cpu()))
        arrays = {key: values.cpu().numpy() for key, values in inputs.items()}
        for name, judge in judges.items():
            start = time.perf_counter()
            outputs = judge.session.run(["logits", "evidence"], {key: arrays[key] for key in judge.inputs})
            times.setdefault(name, []).append(time.perf_counter() - start)
            answer = judge.answer(*(values[0] for values in outputs), arrays["image_sizes"][0])
            note(name, answer["fake_probability"], answer["verdict"])
            answer = judge(content)
            note(f"{name} by judge.py", answer["fake_probability"], answer["verdict"])

    labels, scores = (
        np.asarray(dataset["label"][:]),
        {name: np.asarray(values) for name, values in probabilities.items()},
    )
    reference = 100 * roc_auc_score(labels, scores["PyTorch"])

    def compared(name: str) -> list[str]:
        """Equal verdicts, largest difference of probabilities, difference of AUROC."""
        equal: NDArray = np.asarray(verdicts[name]) == np.asarray(verdicts["PyTorch"])
        largest = np.abs(scores[name] - scores["PyTorch"]).max()
        auroc = 100 * roc_auc_score(labels, scores[name]) - reference
        return [f"{100 * equal.mean():.2f}%", f"{largest:.4f}", f"{auroc:+.2f}"]

    rows = [["PyTorch", *(["", "", f"{reference:.2f}"]), "", "", "", _milliseconds(times["PyTorch"]), ""]]
    for name in judges:
        megabytes = f"{(folder / name).stat().st_size / 1e6:.1f}"
        rows.append([name, *compared(name), *compared(f"{name} by judge.py"), _milliseconds(times[name]), megabytes])
    columns = ["equal verdicts", "largest difference of probability", "AUROC, points"]
    by_script = [f"{column}, by judge.py" for column in columns]
    typer.echo(f"{len(dataset)} pictures of {', '.join(data)}\n")
    typer.echo(markdown_table(["", *columns, *by_script, "ms a picture", "MB"], rows))


def _milliseconds(seconds: list[float]) -> str:
    return f"{1000 * float(np.median(seconds)):.1f}"


if __name__ == "__main__":
    typer.run(main)
