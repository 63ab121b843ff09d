"""Measures verdicts and evidence on partly generated pictures, at native size.

python -m tellsign.training.evaluation.splices real.parquet fake.parquet --left-out runs/large --output-dir evaluation
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from PIL import Image, ImageOps
from scipy.ndimage import gaussian_filter
from scipy.special import expit
from sklearn.metrics import roc_auc_score
from torch import nn

from tellsign import LargePictureForImageClassification, LargePictureImageProcessor
from tellsign.modeling.image_loading import load_image
from tellsign.modeling.modeling_large_picture import LargePictureHead
from tellsign.tables import markdown_table, percent
from tellsign.training.data.degradations import encode
from tellsign.training.data.large_pictures import LargePictures, load_large_pictures
from tellsign.training.data.moments import Moments
from tellsign.training.data.sources import content_of
from tellsign.training.trainer.backbone import large_detector

from .folds import assign_folds, heads_left_out
from .left_out import FAKE, REAL, shares_of, verdicts_at
from .metrics import bootstrap


SHARES = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0)
PLACED_SHARES = (0.05, 0.6)
KINDS = {
    "generated part in a photograph": (REAL, FAKE),
    "part of a photograph in a generated picture": (FAKE, REAL),
    "photograph in a photograph": (REAL, REAL),
}
"""Label of the background and of the part. The last is the control: there the mask marks the foreign part."""


def random_mask(share: float, size: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """An ellipse, a rectangle or a half plane, of which half have a soft border.

    Args:
        share (`float`): Share of the picture that it takes, in (0, 1], before it is cut off at the border.
        size (`int`): Side in pixels.
        rng (`np.random.Generator`): Draws form, place and border.

    Returns:
        `np.ndarray` of shape `(size, size)`, in [0, 1].
    """
    y, x = np.mgrid[:size, :size] / size
    form, ratio = rng.integers(3), np.exp(rng.uniform(-0.5, 0.5))
    if share == 1:
        return np.ones((size, size), np.float32)
    if form == 0:
        width, height = np.sqrt(share * ratio / np.pi), np.sqrt(share / ratio / np.pi)
        angle, center = rng.uniform(0, np.pi), rng.uniform(0.3, 0.7, 2)
        along = (x - center[0]) * np.cos(angle) + (y - center[1]) * np.sin(angle)
        across = (y - center[1]) * np.cos(angle) - (x - center[0]) * np.sin(angle)
        mask = (along / width) ** 2 + (across / height) ** 2 < 1
    elif form == 1:
        width = min(1.0, np.sqrt(share * ratio))
        height = min(1.0, share / width)
        left, top = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
        mask = (x >= left) & (x < left + width) & (y >= top) & (y < top + height)
    else:
        angle = rng.uniform(0, 2 * np.pi)
        distance = x * np.cos(angle) + y * np.sin(angle)
        mask = distance <= np.quantile(distance, share)
    border = rng.choice([0, 0, 0, 2, 4, 8])
    return gaussian_filter(mask.astype(np.float32), border) if border else mask.astype(np.float32)


def splice(background: Image.Image, part: Image.Image, mask: NDArray, rng: np.random.Generator) -> Image.Image:
    """A picture with a part of another one in it.

    In half of the cases the part's colors come half way to those of the background, in mean and deviation.

    Args:
        background, part (`PIL.Image.Image`): RGB. Of each the middle square is taken.
        mask (`np.ndarray` of shape `(size, size)`): How much of the part shows, in [0, 1].
        rng (`np.random.Generator`): Draws whether colors are matched.
    """
    below, above = (np.asarray(ImageOps.fit(image, mask.shape), np.float32) for image in (background, part))
    if rng.random() < 0.5 and mask.any():
        shows = mask > 0
        of_part, of_below = ((pixels[shows].mean(0), pixels[shows].std(0) + 1) for pixels in (above, below))
        mean, deviation = ((one + other) / 2 for one, other in zip(of_part, of_below, strict=True))
        above = (above - of_part[0]) / of_part[1] * deviation + mean
    mixed = below + mask[..., None] * (above - below)
    return Image.fromarray(mixed.clip(0, 255).round().astype(np.uint8))


def place_scores(evidence: NDArray, generated: NDArray) -> tuple[float, float, float]:
    """How well a map of evidence shows a place.

    Args:
        evidence (`np.ndarray` of shape `(size, size)`): High where the picture looks generated.
        generated (`np.ndarray` of shape `(size, size)`): Booleans, true and false somewhere.

    Returns:
        Three figures. AUROC of the cells. 1 or 0 for the peak inside or outside (pointing game). And the
        intersection over union at the map's best threshold.
    """
    truth, values = generated.ravel(), evidence.ravel()
    order = np.argsort(-values)
    inside = np.cumsum(truth[order])
    overlap = inside / (truth.sum() + np.arange(1, len(truth) + 1) - inside)
    return float(roc_auc_score(truth, values)), float(truth[order[0]]), float(overlap.max())


class Splicing:
    """Splices pictures at their own pixels, and asks a head what they are and where.

    Args:
        pictures ([`LargePictures`]): Those that have a cut.
        image_processor ([`LargePictureImageProcessor`]): Makes both views.
        model ([`LargePictureForImageClassification`]): Its head is not used.
        size (`int`): Side of a spliced picture, in pixels.
    """

    def __init__(
        self,
        pictures: LargePictures,
        image_processor: LargePictureImageProcessor,
        model: LargePictureForImageClassification,
        size: int,
    ):
        self.pictures, self.image_processor, self.model, self.size = pictures, image_processor, model, size
        self.rng = np.random.default_rng(0)

    @torch.inference_mode()
    def __call__(self, head: LargePictureHead, share: float, *rows: int) -> tuple[float, NDArray, NDArray]:
        """Logit of fake of one spliced picture, its evidence, and the cells that are mostly the part."""
        cuts = (self.pictures.cuts[int(self.pictures.cut_rows[row])]["image"] for row in rows)
        background, part = (load_image(content_of(image) or b"") for image in cuts)
        mask = random_mask(share, self.size, self.rng)
        spliced = encode(splice(background, part, mask, self.rng), "JPEG", 75)
        inputs = self.image_processor(spliced, return_tensors="pt")
        moments, maps, cut_maps = self.model.moments_and_maps(inputs["pixel_values"], inputs["cuts"])
        grid = self.model.config.grid_size
        evidence = head.evidence(maps, cut_maps, moments, inputs["cut_boxes"], grid)[0].numpy()
        cells = nn.functional.avg_pool2d(torch.from_numpy(mask)[None, None], self.size // grid)[0, 0].numpy() > 0.5
        return float(head(moments)[0]), evidence, cells


def main(
    data: Annotated[list[str], typer.Argument(help="As they were given to leave_out.")],
    left_out: Annotated[Path, typer.Option(help="Output of leave_out, whose folds and thresholds are taken.")],
    output_dir: Annotated[Path, typer.Option(help="Where splices.json is written.")],
    cuts: Annotated[list[str], typer.Option(help="As they were given to leave_out.")] = [],  # noqa: B006
    cache_dir: Annotated[Path | None, typer.Option(help="Where features are kept.")] = None,
    pictures: Annotated[int, typer.Option(min=1, help="Pictures of each kind and each share, in each fold.")] = 40,
) -> None:
    """Splices pictures of sources that a head did not see, and asks it what they are and where.

    \f
    Raises:
        ValueError: If a picture cannot be read.
    """
    measured = json.loads((left_out / "leave_out.json").read_text())
    model, image_processor = large_detector(measured["image_size"])
    size: int = measured["image_size"]
    joined = load_large_pictures(data, cuts, size // 2)
    columns = joined.columns
    assignment = assign_folds(columns, measured["folds"])
    moments = Moments(joined, model, image_processor, cache_dir or left_out / "features")
    learned = moments.training_copies(measured["copies"])
    asked = Splicing(joined, image_processor, model, size)
    placed: dict[str, list[tuple[float, float, float]]] = {kind: [] for kind in KINDS}
    logits: dict[float, list[float]] = {share: [] for share in SHARES}
    for head, scored in heads_left_out(model.config, columns, assignment, learned):
        scored = scored[joined.cut_rows[scored] >= 0]
        of_label = {
            REAL: scored[(columns["label"][scored] == REAL) & (columns["kind"][scored] == "photo")],
            FAKE: scored[columns["label"][scored] == FAKE],
        }
        for kind, labels in KINDS.items():
            for _ in range(pictures):
                rows = [int(asked.rng.choice(of_label[label])) for label in labels]
                share = float(np.exp(asked.rng.uniform(*np.log(PLACED_SHARES))))
                _, evidence, cells = asked(head, share, *rows)
                if 0 < cells.sum() < cells.size:
                    placed[kind].append(place_scores(evidence, ~cells if labels == (FAKE, REAL) else cells))
        for share in SHARES:
            for _ in range(pictures):
                rows = [int(asked.rng.choice(of_label[label])) for label in (REAL, FAKE)]
                logits[share].append(asked(head, share, *rows)[0])
    record = _record(measured, placed, logits)
    output_dir.mkdir(parents=True, exist_ok=True)
    (output_dir / "splices.json").write_text(json.dumps(record, indent=2) + "\n")
    typer.echo("\n\n".join(_tables(record)))


def _record(measured: Mapping[str, Any], placed: Mapping[str, list], logits: Mapping[float, list]) -> dict[str, Any]:
    """The record to write, from the output of `leave_out`, the scores of places and the logits by share."""
    record: dict[str, Any] = {"data": measured["data"], "places": {}, "shares": {}}
    for kind, values in placed.items():
        record["places"][kind] = {"pictures": len(values), **_means(np.asarray(values))}
    thresholds = measured["verdict_thresholds"]["cautious"]
    for share, of_share in logits.items():
        probabilities = expit(np.asarray(of_share) / measured["temperature"])
        verdicts = shares_of(verdicts_at(probabilities, thresholds))
        record["shares"][str(share)] = {"fake_probability": float(probabilities.mean()), **verdicts}
    return record


def _means(values: NDArray) -> dict[str, Any]:
    names = ("auroc", "pointing_game", "best_iou")

    def compute(sample: NDArray) -> dict[str, float]:
        return dict(zip(names, sample.mean(0).tolist(), strict=True))

    means, intervals = compute(values), bootstrap([values], compute)
    return {name: {"value": means[name], "interval": list(intervals[name])} for name in names}


def _tables(record: dict[str, Any]) -> list[str]:
    places = [
        [kind, str(row["pictures"]), *(percent(row[name]) for name in ("auroc", "pointing_game", "best_iou"))]
        for kind, row in record["places"].items()
    ]
    shares = [
        [
            f"{float(share):.0%}",
            *(f"{100 * row[name]:.1f}" for name in ("fake_probability", "real", "uncertain", "fake")),
        ]
        for share, row in record["shares"].items()
    ]
    return [
        markdown_table(["evidence on the part", "pictures", "AUROC, %", "peak inside, %", "best IoU, %"], places),
        markdown_table(["share that is generated", "mean probability, %", "real", "uncertain", "fake"], shares),
    ]


if __name__ == "__main__":
    typer.run(main)
