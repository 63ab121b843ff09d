"""Compares the page of `tellsign export --web`, in Chromium, with the detector itself.

python -m tellsign.training.evaluation.web_parity MODEL SITE --data test.parquet
"""

import io
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from tqdm.auto import tqdm

from tellsign.modeling.image_loading import load_image
from tellsign.modeling.verdicts import OPERATING_POINTS, real_and_fake, verdicts_of
from tellsign.tables import markdown_table
from tellsign.training.data.sources import content_of, load_sources
from tellsign.training.evaluation.prediction import load_detector
from tellsign.training.evaluation.web_page import answers_of, chromium, give, loaded, served


SAVED: dict[str, dict[str, Any] | None] = {
    "as found": None,
    "saved as PNG": {"format": "PNG"},
    "saved as JPEG, chroma 4:2:0, progressive": {"format": "JPEG", "quality": 92, "progressive": True},
    "saved as WebP": {"format": "WEBP", "quality": 90},
}
"""How pictures come to the page and to the detector, in turns."""
MOST_OFF = 0.01
"""Up to this difference probabilities count as equal."""


def main(
    model: Annotated[str, typer.Argument(help="Folder or repository of the detector.")],
    site: Annotated[Path, typer.Argument(help="Its page, as `tellsign export --web` writes it.")],
    data: Annotated[list[str], typer.Option(help="Parquet file, folder or data set; may be given several times.")],
    limit: Annotated[int, typer.Option(min=4, help="How many pictures to draw of each.")] = 100,
) -> None:
    """Prints how often the page and the detector agree. A quarter of the pictures come as found."""
    datasets = [load_sources(source, "train").shuffle(seed=0) for source in data]
    rows = [row for part in datasets for row in part.select(range(min(limit, len(part))))]
    kinds = [list(SAVED)[number % len(SAVED)] for number in range(len(rows))]
    with tempfile.TemporaryDirectory() as temporary:
        files = [Path(temporary, f"{number:05}") for number in range(len(rows))]
        for file, row, kind in zip(files, rows, kinds, strict=True):
            file.write_bytes(_saved(content_of(row["image"]) or b"", SAVED[kind]))
        found = [_answers_of_page(site, files), _answers_of_detector(model, files)]
    table = []
    for kind in ("all", *SAVED):
        chosen = np.asarray([kind in ("all", other) for other in kinds])
        table.append(
            [
                kind,
                str(chosen.sum()),
                *_agreement(*({key: values[chosen] for key, values in one.items()} for one in found)),
            ]
        )
    columns = ["pictures", "number", *(f"equal verdicts, {point}" for point in OPERATING_POINTS)]
    typer.echo(f"{len(files)} pictures of {', '.join(data)}\n")
    typer.echo(markdown_table([*columns, f"probabilities within {MOST_OFF}", "largest difference"], table))


def _saved(content: bytes, options: dict[str, Any] | None) -> bytes:
    if options is None:
        return content
    load_image(content).save(file := io.BytesIO(), **options)
    return file.getvalue()


def _answers_of_page(site: Path, files: list[Path]) -> dict[str, NDArray]:
    """Verdicts by operating point, and the `probability` of each file."""
    answers: dict[str, NDArray] = {}
    with served(site) as address, chromium() as browser:
        page = loaded(browser.new_page(), address)
        give(page, files)
        for point in OPERATING_POINTS:
            page.locator(f"[value={point}]").check()
            said = answers_of(page)
            answers[point] = np.asarray([answer["label"] for answer in said])
            answers["probability"] = np.asarray([answer["fake_probability"] for answer in said])
    return answers


def _answers_of_detector(model: str, files: list[Path]) -> dict[str, NDArray]:
    """The same, by the detector and its image processor."""
    detector, processor = load_detector(model)
    _, fake = real_and_fake(detector.eval().config)
    answers: dict[str, list[Any]] = {name: [] for name in (*OPERATING_POINTS, "probability")}
    for file in tqdm(files, desc="Judging", unit="img"):
        inputs = processor(load_image(file), return_tensors="pt")
        with torch.inference_mode():
            probability = float(detector(**inputs.to(detector.device)).logits.softmax(-1)[0, fake])
        answers["probability"].append(probability)
        for point in OPERATING_POINTS:
            answers[point] += verdicts_of(detector.config, [probability], inputs["image_sizes"].cpu(), point)
    return {name: np.asarray(values) for name, values in answers.items()}


def _agreement(page: dict[str, NDArray], detector: dict[str, NDArray]) -> list[str]:
    """Shares of equal verdicts, of near probabilities, and the largest difference, in words."""
    off = np.abs(page["probability"] - detector["probability"])
    shares = [*(np.mean(page[point] == detector[point]) for point in OPERATING_POINTS), np.mean(off <= MOST_OFF)]
    return [*(f"{100 * share:.2f}%" for share in shares), f"{off.max():.4f}"]


if __name__ == "__main__":
    typer.run(main)
