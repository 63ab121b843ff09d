"""Teaches a detector to name artifacts in large pictures.

python -m tellsign.training.train_large_tagger real.parquet fake.parquet --detector runs/both --output-dir runs/named
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from transformers import AutoImageProcessor

from tellsign import WaveFreqConfig, WaveFreqForImageClassification
from tellsign.hub_cards.left_out_tables import artifact_tables
from tellsign.modeling.large_branch import WaveFreqArtifactHead
from tellsign.training.data.sources import without_folders
from tellsign.training.evaluation.left_out import FAKE, REAL
from tellsign.training.large.artifact_thresholds import Scored, fit_large_thresholds
from tellsign.training.large.folds import joined, spread
from tellsign.training.large.pictures import columns_of, load_pictures
from tellsign.training.large.places import fit_artifact_head, picture_places
from tellsign.training.planting import plantable
from tellsign.training.trainer.half_precision import half_precision


TRAINING, FIRST, SECOND = 0, 1, 2


def parts_of(columns: Mapping[str, NDArray]) -> NDArray:
    """Which pictures are for `TRAINING`, and which for the `FIRST` and the `SECOND` half of what it does not see.

    Three fifths of the real pictures are for training, no fakes are. No family or collection is in two parts, and
    nobody's pictures are. The largest group comes first, and goes to the part that lacks the largest share.
    """
    parts, rng = np.zeros(len(columns["label"]), int), np.random.default_rng(0)
    for label, shares in ((REAL, {TRAINING: 0.6, FIRST: 0.2, SECOND: 0.2}), (FAKE, {FIRST: 0.5, SECOND: 0.5})):
        rows = np.flatnonzero(columns["label"] == label)
        groups = joined(columns["family"][rows], columns["person"][rows])
        _, groups, counts = np.unique(groups, return_inverse=True, return_counts=True)
        order = sorted(rng.permutation(len(counts)), key=lambda group: -counts[group])
        part_of = spread(counts, np.asarray(list(shares.values())), order)
        parts[rows] = np.asarray(list(shares))[part_of][groups]
    return parts


@torch.inference_mode()
def logits_of(head: WaveFreqArtifactHead, features: torch.Tensor) -> NDArray:
    """Logits of artifacts, `(n, num_labels)`, of features from [`picture_places`]."""
    return torch.cat([head(some.float())[0] for some in features.split(64)]).numpy()


def with_thresholds(
    head: WaveFreqArtifactHead, thresholds: NDArray, config: WaveFreqConfig
) -> WaveFreqArtifactHead | None:
    """A head of the artifacts that are named alone, for `config`, whose logits are 0 at their thresholds. `None` if
    none is named."""
    named = torch.from_numpy(np.flatnonzero(np.isfinite(thresholds)))
    if not len(named):
        return None
    smaller = WaveFreqArtifactHead(config, len(head.feature_mean))
    weights = head.state_dict()
    for name, value in weights.items():
        if name.startswith(("classifier", "map_classifier")):
            weights[name] = value[named]
    weights["classifier.bias"] -= torch.from_numpy(thresholds)[named].float()
    smaller.load_state_dict(weights)
    return smaller


def main(
    data: Annotated[list[str], typer.Argument(help="Parquet files, image folders or data sets of both classes.")],
    detector: Annotated[str, typer.Option(help="Folder or repository of a detector with a branch for them.")],
    output_dir: Annotated[Path, typer.Option(help="Where the detector is written, in half precision.")],
    copies: Annotated[int, typer.Option(min=1, help="How often each training picture is planted anew.")] = 4,
    cache_dir: Annotated[Path | None, typer.Option(help="Where features are kept.")] = None,
) -> None:
    """Plants artifacts into pictures made by people, trains a head, and switches on the names that pass both tests."""
    model = WaveFreqForImageClassification.from_pretrained(detector, dtype=torch.float32).eval()
    image_processor = AutoImageProcessor.from_pretrained(detector)
    if model.large is None or not (Path(detector) / "leave_out.json").is_file():
        raise ValueError(f"{detector}: has no branch for large pictures, expected a folder that train_large wrote")
    image_processor.smallest_large_side = 1  # a training picture may be smaller than a picture must be
    pictures = load_pictures(data, model.config.large_image_size // 2)
    columns, cache_dir = columns_of(pictures), cache_dir or output_dir / "features"
    parts, is_photograph = parts_of(columns), columns["kind"] == "photo"
    rows = {
        # Drawings too, or their style would be taken for artifacts.
        "training": np.flatnonzero(parts == TRAINING),
        "evaluation": np.flatnonzero((columns["label"] == REAL) & is_photograph & (parts != TRAINING)),
        "untouched": np.flatnonzero(parts != TRAINING),
    }

    def places(which: str, use: Any, seed: int = 0) -> dict[str, torch.Tensor]:
        return picture_places(pictures, rows[which].tolist(), model.large, image_processor, use, seed, cache_dir)

    names = plantable("training")
    columns_named = [plantable().index(name) for name in names]
    learned = [places("training", "training", seed) for seed in range(copies)]
    config = WaveFreqConfig(**model.config.to_dict() | {"large_artifact_labels": names})
    head = fit_artifact_head(
        config,
        torch.cat([copy["features"] for copy in learned]),
        torch.cat([copy["present"][:, columns_named] for copy in learned]),
        torch.cat([copy["masks"][:, columns_named] for copy in learned]),
    )
    planted, untouched = places("evaluation", "evaluation"), places("untouched", None)
    logits = {"planted": logits_of(head, planted["features"]), "untouched": logits_of(head, untouched["features"])}
    present = planted["present"][:, columns_named].numpy()

    label, photo = columns["label"][rows["untouched"]], is_photograph[rows["untouched"]]

    def scored(half: int) -> Scored:
        of_half, of_planted = parts[rows["untouched"]] == half, parts[rows["evaluation"]] == half
        by_kind = [
            logits["untouched"][of_half & is_kind]
            for is_kind in ((label == REAL) & photo, (label == REAL) & ~photo, label == FAKE)
        ]
        return Scored(present[of_planted], logits["planted"][of_planted], *by_kind)

    halves = scored(FIRST), scored(SECOND)
    thresholds, measured = fit_large_thresholds(*halves)
    lifts, intervals = measured.pop("lifts"), measured.pop("precisions")
    record: dict[str, Any] = {
        "data": [without_folders(source) for source in data],
        "training_pictures": len(rows["training"]),
        "copies": copies,
        "photographs": sum(len(half.photographs) for half in halves),
        "generated": sum(len(half.generated) for half in halves),
        "mean_average_precision": float(np.mean([interval[1] for interval in intervals if interval])),
        "left_out": measured,
        "artifacts": {
            name: {
                "planted": int(truth.sum()),
                "average_precision": interval,
                "lift": lift,
                "on": bool(np.isfinite(threshold)),
            }
            for name, truth, interval, lift, threshold in zip(
                names, present.T, intervals, lifts, thresholds, strict=True
            )
        },
    }
    model.config.large_artifact_labels = [name for name, row in record["artifacts"].items() if row["on"]]
    model.large.artifact_head = with_thresholds(head, thresholds, model.config)
    model.save_pretrained(output_dir, state_dict=half_precision(model))
    AutoImageProcessor.from_pretrained(detector).save_pretrained(output_dir)
    for name in ("leave_out.png", "training.json"):
        if (Path(detector) / name).is_file():
            shutil.copy(Path(detector) / name, output_dir)
    measured_before = json.loads((Path(detector) / "leave_out.json").read_text())
    together = json.dumps(measured_before | {"artifacts": record}, indent=2)
    (output_dir / "leave_out.json").write_text(together + "\n")
    typer.echo("\n\n".join(artifact_tables(record)))


if __name__ == "__main__":
    typer.run(main)
