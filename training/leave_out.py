"""Measures the branch for large pictures on generators, collections and people that training did not see.

python -m tellsign.training.leave_out real.parquet fake.parquet --output-dir runs/large
"""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from datasets import Dataset
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm.auto import tqdm

from tellsign import WaveFreqConfig, WaveFreqForImageClassification, WaveFreqImageProcessor
from tellsign.hub_cards.left_out_tables import leave_out_tables
from tellsign.modeling.verdicts import verdict_of
from tellsign.training.calibration.detector import fit_temperature
from tellsign.training.data.histories import HISTORIES
from tellsign.training.data.sources import content_of, drop_duplicates, load_sources, without_folders
from tellsign.training.evaluation.left_out import FAKE, REAL, generator_scores, mean_scores, plot, score_left_out
from tellsign.training.large.backbone import BACKBONE, load_pretrained
from tellsign.training.large.head import fit_head
from tellsign.training.large.moments import picture_moments
from tellsign.training.large.verdict_thresholds import OPERATING_POINTS, fit_promised_thresholds


def columns_of(pictures: Dataset) -> dict[str, NDArray]:
    """What is known of each picture, as arrays; without a column `kind` real ones count as photographs."""
    columns = {name: np.asarray(pictures[name][:]) for name in ("label", "generator", "family", "kind", "person")}
    columns["kind"] = np.where(columns["kind"] == "", "photo", columns["kind"])
    sizes = [Image.open(io.BytesIO(content_of(image) or b"")).size for image in pictures["image"]]
    columns["square"] = np.asarray([abs(width / height - 1) < 0.02 for width, height in sizes])
    columns["short_side"] = np.asarray([min(size) for size in sizes])
    return columns


def joined(*names: NDArray) -> NDArray:
    """Numbers of the groups in which rows are together that share a name in any of the arrays; "" is no name."""
    count = len(names[0])
    rows, values = [], []
    offset = count
    for column in names:
        unique, index = np.unique(column, return_inverse=True)
        named = column != ""
        rows.append(np.flatnonzero(named))
        values.append(offset + index[named])
        offset += len(unique)
    first, second = np.concatenate(rows), np.concatenate(values)
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(offset, offset))
    return connected_components(graph, directed=False)[1][:count]


def assign_folds(columns: Mapping[str, NDArray], folds: int) -> NDArray:
    """The run in which each picture is left out.

    Fakes are left out by family, real pictures by collection and person together. The largest group comes first and
    goes to the fold that has the fewest pictures of its class so far.

    Raises:
        ValueError: If a class has fewer groups than there are folds.
    """
    assignment = np.zeros(len(columns["label"]), int)
    for label, title in ((REAL, "real"), (FAKE, "fake")):
        rows = np.flatnonzero(columns["label"] == label)
        keys = (columns["family"][rows],) if label == FAKE else (columns["family"][rows], columns["person"][rows])
        groups, counts = np.unique(joined(*keys), return_inverse=True, return_counts=True)[1:]
        if len(counts) < folds:
            raise ValueError(f"{len(counts)} sources of {title} pictures cannot be left out in {folds} folds")
        order = np.argsort(-counts, kind="stable")
        assignment[rows] = spread(counts, np.full(folds, 1 / folds), order)[groups]
    return assignment


def spread(counts: NDArray, shares: NDArray, order: Sequence[int] | NDArray) -> NDArray[np.int_]:
    """For each group the part that it goes to: that which lacks the largest share of what it is to have, in order.

    Args:
        counts (`np.ndarray` of shape `(num_groups,)`): Pictures in each group.
        shares (`np.ndarray` of shape `(num_parts,)`): What each part is to have of all pictures.
        order (`Sequence[int]`): The order in which the groups are taken.
    """
    wanted = counts.sum() * np.asarray(shares)
    filled, part_of = np.zeros(len(wanted)), np.zeros(len(counts), int)
    for group in order:
        part_of[group] = np.argmax((wanted - filled) / np.maximum(wanted, 1))
        filled[part_of[group]] += counts[group]
    return part_of


def runs(columns: Mapping[str, NDArray], assignment: NDArray) -> Iterator[tuple[NDArray, NDArray]]:
    """For each run the rows that it may see and those that it is scored on.

    It sees no family or collection of those, and nothing by a person who made one of them. Rows that no run is scored
    on have the number -1.
    """
    kin = np.char.add(columns["label"].astype(str), columns["family"])
    for fold in range(assignment.max() + 1):
        scored = assignment == fold
        people = set(columns["person"][scored]) - {""}
        seen = ~np.isin(kin, kin[scored]) & ~np.isin(columns["person"], sorted(people))
        yield np.flatnonzero(seen), np.flatnonzero(scored)


def some_sources(columns: Mapping[str, NDArray], share: float) -> NDArray[np.bool_]:
    """The pictures of a share of the generators and collections, drawn at random."""
    rng = np.random.default_rng(0)
    kept: list[str] = []
    for label in (REAL, FAKE):
        names = np.unique(columns["generator"][columns["label"] == label])
        kept += rng.permutation(names)[: max(1, round(share * len(names)))].tolist()
    return np.isin(columns["generator"], kept)


def stacked(*parts: Mapping[str, NDArray]) -> dict[str, NDArray]:
    """Columns of several data sets, one after the other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def predict_left_out(
    config: WaveFreqConfig,
    columns: Mapping[str, NDArray],
    assignment: NDArray,
    copies: torch.Tensor,
    seen_as: Sequence[torch.Tensor],
    share: float = 1.0,
) -> list[NDArray]:
    """Logits of fake of all pictures, each by a head that did not see its source, for each way of seeing them.

    Args:
        config ([`WaveFreqConfig`]): Of the head.
        columns, assignment: See [`columns_of`] and [`assign_folds`].
        copies (`torch.FloatTensor` of shape `(num_copies, n, num_features)`): The moments that heads learn from.
        seen_as (`Sequence[torch.FloatTensor]`):
            The moments that they are scored on, each `(m, num_features)`: of the first rows, without those of -1.
        share (`float`, *optional*, defaults to 1): Share of the sources that training may see.
    """
    logits = [np.zeros(len(moments)) for moments in seen_as]
    allowed = some_sources(columns, share)
    for seen, scored in tqdm(list(runs(columns, assignment)), desc=f"Heads ({share:.0%} of the sources)"):
        rows = seen[allowed[seen]]
        head = fit_head(config, copies[:, rows], columns["label"][rows], columns["generator"][rows])
        for of_history, moments in zip(logits, seen_as, strict=True):
            with torch.inference_mode():
                of_history[scored] = head(moments[scored]).numpy()
    return logits


def large_detector(size: int) -> tuple[WaveFreqForImageClassification, WaveFreqImageProcessor]:
    """A detector with the pretrained backbone, nothing else of it trained, and its image processor."""
    model = WaveFreqForImageClassification(WaveFreqConfig(large_backbone=BACKBONE, large_image_size=size)).eval()
    load_pretrained(model.large)
    return model, WaveFreqImageProcessor(large_size={"height": size, "width": size})  # type: ignore[call-arg]


def load_pictures(data: Sequence[str], smallest_side: int) -> Dataset:
    """The pictures of several sources, once each, without those whose shorter side is smaller.

    Training and scoring take those of half the side at which pictures are seen: others would be mostly enlarged.
    """
    pictures = drop_duplicates(load_sources(list(data), "train"))
    large = [
        row
        for row, image in enumerate(pictures["image"])
        if min(Image.open(io.BytesIO(content_of(image) or b"")).size) >= smallest_side
    ]
    return pictures.select(large)


def main(
    data: Annotated[list[str], typer.Argument(help="Parquet files, image folders or data sets of both classes.")],
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
    extended = np.concatenate([assignment, np.full(len(known["label"]) - len(assignment), -1)])

    def moments(history: str | int | None, pictures: Dataset = sets[0]) -> torch.Tensor:
        return picture_moments(pictures, model.large, image_processor, history, cache_dir)

    learned = torch.stack([torch.cat([moments(seed, pictures) for pictures in sets]) for seed in range(copies)])
    names = list(HISTORIES) if histories else []
    seen_as = [moments(None), *(moments(name) for name in names)]
    logits, *changed = predict_left_out(config, known, extended, learned, seen_as)
    temperature = fit_temperature(np.stack([np.zeros(len(logits)), logits], axis=1), columns["label"])
    probabilities = 1 / (1 + np.exp(-logits / temperature))
    thresholds = {
        name: fit_promised_thresholds(columns["label"], probabilities, columns["kind"], promise)
        for name, promise in OPERATING_POINTS.items()
    }
    verdicts = {
        name: np.asarray([verdict_of(probability, pair) for probability in probabilities])
        for name, pair in thresholds.items()
    }
    record: dict[str, Any] = {
        "data": [without_folders(source) for source in data],
        "also_train": [without_folders(source) for source in also_train],
        "folds": folds,
        "copies": copies,
        "image_size": image_size,
        "temperature": temperature,
        "verdict_thresholds": {name: list(pair) for name, pair in thresholds.items()},
        **score_left_out(columns, assignment, logits, verdicts, temperature),
        "histories": {
            name: {
                "both": mean_scores(generator_scores(columns, assignment, after)),
                "fakes alone": mean_scores(generator_scores(columns, assignment, after, logits)),
            }
            for name, after in zip(names, changed, strict=True)
        },
    }
    record["curve"] = [
        {
            "share": share,
            "auroc": mean_scores(
                generator_scores(
                    columns, assignment, *predict_left_out(config, known, extended, learned, seen_as[:1], share)
                )
            )["all"]["auroc"]["value"],
        }
        for share in (0.25, 0.5)
    ] + [{"share": 1.0, "auroc": record["means"]["all"]["auroc"]["value"]}]
    output_dir.mkdir(parents=True, exist_ok=True)
    (output_dir / "leave_out.json").write_text(json.dumps(record, indent=2) + "\n")
    plot(record["generators"], record["curve"]).savefig(output_dir / "leave_out.png", dpi=100)
    typer.echo("\n\n".join(leave_out_tables(record)))


if __name__ == "__main__":
    typer.run(main)
