"""Compares the ONNX models of a detector with the detector itself: verdicts, AUROC, time and size.

python -m tellsign.training.evaluation.onnx_parity MODEL FOLDER/onnx --data test.parquet
"""

import time
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from sklearn.metrics import roc_auc_score
from tqdm.auto import tqdm

from tellsign.hub_cards.judge import Judge
from tellsign.modeling.image_loading import load_image
from tellsign.modeling.verdicts import real_and_fake, verdicts_of
from tellsign.tables import markdown_table
from tellsign.training.data.sources import content_of, load_sources
from tellsign.training.evaluation.prediction import load_detector


def main(
    model: Annotated[str, typer.Argument(help="Folder or repository of the detector.")],
    folder: Annotated[Path, typer.Argument(help="Its onnx/, as `tellsign export` writes it.")],
    data: Annotated[list[str], typer.Option(help="Parquet file, folder or data set; may be given several times.")],
    limit: Annotated[int, typer.Option(min=2, help="How many pictures to draw.")] = 2000,
) -> None:
    """Prints a table of the detector and its ONNX models, picture by picture.

    Each model judges the pixels that the detector's image processor makes, and those that `judge.py` makes by Pillow.
    Times are medians, on the threads that OMP_NUM_THREADS allows: of the network alone, or of a whole answer.
    """
    detector, processor = load_detector(model)
    detector.eval()
    judges = {path.name: Judge(path) for path in sorted(folder.glob("*.onnx"))}
    dataset = load_sources(data, "train").shuffle(seed=0)
    dataset = dataset.select(range(min(limit, len(dataset))))
    _, fake = real_and_fake(detector.config)
    scores: dict[str, list[float]] = {}
    verdicts: dict[str, list[str]] = {}
    times: dict[str, list[float]] = {}

    def note(name: str, start: float, probability: float, verdict: str) -> None:
        times.setdefault(name, []).append(1000 * (time.perf_counter() - start))
        scores.setdefault(name, []).append(probability)
        verdicts.setdefault(name, []).append(verdict)

    for row in tqdm(dataset, desc="Judging", unit="img"):
        content = content_of(row["image"]) or b""
        image = load_image(content)
        inputs = processor(image, return_tensors="pt")
        arrays = {name: values.numpy() for name, values in inputs.items()}
        start = time.perf_counter()
        with torch.inference_mode():
            probability = float(detector(**inputs.to(detector.device)).logits.softmax(-1)[0, fake])
        (verdict,) = verdicts_of(detector.config, [probability], torch.from_numpy(arrays["image_sizes"]))
        note("PyTorch", start, probability, verdict)
        for name, judge in judges.items():
            start = time.perf_counter()
            logits, evidence = judge.session.run(["logits", "evidence"], {key: arrays[key] for key in judge.inputs})
            answer = judge.answer(logits[0], evidence[0], image)
            note(name, start, answer["fake_probability"], answer["label"])
            start = time.perf_counter()
            answer = judge(content)
            note(f"{name}, by judge.py", start, answer["fake_probability"], answer["label"])

    reference = 100 * roc_auc_score(dataset["label"][:], scores["PyTorch"])
    rows = []
    for name in scores:
        equal = np.mean(np.asarray(verdicts[name]) == np.asarray(verdicts["PyTorch"]))
        largest = np.abs(np.subtract(scores[name], scores["PyTorch"])).max()
        difference = 100 * roc_auc_score(dataset["label"][:], scores[name]) - reference
        size = f"{(folder / name).stat().st_size / 1e6:.1f}" if name in judges else ""
        row = [f"{100 * equal:.2f}%", f"{largest:.4f}", f"{difference:+.2f}", f"{np.median(times[name]):.0f}", size]
        rows.append([name, *row])
    columns = ["model", "equal verdicts", "largest difference of probability", "AUROC, points", "ms a picture", "MB"]
    typer.echo(f"{len(dataset)} pictures of {', '.join(data)}; AUROC of PyTorch {reference:.2f}\n")
    typer.echo(markdown_table(columns, rows))


if __name__ == "__main__":
    typer.run(main)
