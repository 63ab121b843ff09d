"""Teaches the packaged detector a user's pictures, and measures what that gives."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from filelock import FileLock, Timeout
from huggingface_hub import cached_assets_path, snapshot_download
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoImageProcessor, AutoModelForImageClassification

from tellsign import (
    DEFAULT_MODEL,
    LargePictureForImageClassification,
    LargePictureImageProcessor,
    __version__,
)
from tellsign.hub_cards.model_card import write_card
from tellsign.modeling.modeling_large_picture import LargePictureHead
from tellsign.modeling.verdicts import OPERATING_POINTS
from tellsign.tables import listed
from tellsign.training.data.feature_table import FILE, FeatureTable, load_table, normalization_of
from tellsign.training.data.sources import LABELS, content_of, without_folders
from tellsign.training.evaluation.left_out import FAKE, REAL
from tellsign.training.trainer.tuning import score, tune_head

from .audit import TELLING, Audit, audit
from .features import OwnFeatures
from .left_out import LeftOut, compare, fit_verdicts, groups_of, leave_out
from .pictures import load_pictures, name_of


LEAST_REAL = 20
LEAST_FAKE = 5
MOST_TELLING = 0.8
"""Highest AUROC of a property that adapting cannot take away."""
RECORD = "adaptation.json"
PACKAGED = "the packaged detector"
# Of the head that was, or of no use beside another one.
NOT_COPIED = ("README.md", "leave_out.*", "annotated.png", FILE, "examples", "onnx", RECORD, ".*")


@dataclass(frozen=True)
class Pictures:
    """A user's pictures that may be learned from, and what was left out.

    Args:
        features (`torch.FloatTensor` of shape `(num_copies, n, 2, num_moments)`): See [`OwnFeatures`].
        labels, sources (`np.ndarray` of shape `(n,)`): 0 real, 1 fake, and names or `""`.
        contents (`set[str]`): The sha1 of each.
        left_out (`dict`): `copies`, a count, and `unreadable`, reasons by name.
        found ([`Audit`]): Of all pictures.
    """

    features: torch.Tensor
    labels: NDArray
    sources: NDArray
    contents: set[str]
    left_out: dict[str, Any]
    found: Audit


def adapt(
    data: str | Path | Dataset,
    out: str | Path,
    *,
    model: str | Path = DEFAULT_MODEL,
    test: str | Path | Dataset | None = None,
    overwrite: bool = False,
    cache_dir: str | Path | None = None,
) -> dict[str, Any]:
    """Adapts the detector of large pictures to pictures of one's own, and writes a whole model.

    Its head learns from them, beside features of the pictures that it learned from before. Temperature and thresholds
    come from pictures whose sources were left out. Small pictures are judged as before, to the bit.

    Args:
        data (`str`, `Path` or `datasets.Dataset`): See [`load_pictures`]. Real pictures alone are enough.
        out (`str` or `Path`): The folder of the new model.
        model (`str` or `Path`, *optional*): Folder or repository of a detector with a table of features,
            as the packaged one has.
        test (`str`, `Path` or `datasets.Dataset`, *optional*): Other pictures, on which to measure too.
        overwrite (`bool`, *optional*, defaults to `False`): Whether to replace an adapted model at `out`.
        cache_dir (`str` or `Path`, *optional*): Where features are kept. Defaults to that of Hugging Face's assets.

    Returns:
        `dict`, what `adaptation.json` in the folder holds. `adaptation_report` makes text of it.

    Raises:
        ValueError: If there are too few pictures, a property tells the classes that cannot be taken away, or pictures
            are both real and fake. If `out` exists, or another run writes it now. If the model cannot be adapted.
        OSError: If the model cannot be loaded or written.
    """
    out = Path(out)
    cache = Path(cache_dir) if cache_dir else Path(cached_assets_path("tellsign", "features"))
    with _reserved(out, overwrite):
        folder = Path(model) if os.path.isdir(model) else Path(snapshot_download(str(model)))
        network, features = _load(folder, cache)
        table = load_table(folder / FILE)
        if normalization_of(network.head) != table.normalization:
            raise ValueError(f"{folder / FILE}: is a table of features for another network")
        own = _read(data, features)
        groups = groups_of(own.labels, own.sources)
        found = leave_out(network.head, table, own.features, own.labels, groups)
        config = network.config
        before = (config.temperature, {name: getattr(config, field) for name, field in OPERATING_POINTS.items()})
        after = fit_verdicts(found)
        head = tune_head(network.head, table, np.arange(len(table.label)), own.features, own.labels)
        record: dict[str, Any] = {
            "version": __version__,
            "base_model": PACKAGED if Path(model) == DEFAULT_MODEL else without_folders(str(model)),
            "data": "a data set" if isinstance(data, Dataset) else without_folders(str(data)),
            "pictures": {LABELS[label]: int((own.labels == label).sum()) for label in groups.by_source},
            "sources": {
                LABELS[label]: len(set(own.sources[own.labels == label]) - {""}) for label in groups.by_source
            },
            "by_source": {LABELS[label]: whole for label, whole in groups.by_source.items()},
            "left_out": own.left_out,
            "audit": {row.name: row.auroc for row in own.found.findings if row.auroc > TELLING},
            "temperature": after[0],
            "verdict_thresholds": after[1],
            **compare(found, {"before": before, "after": after}),
        }
        if test is not None:
            record["test"] = _tested(test, features, own, network.head, head, table, before, after)
        # What is not left out again is what heads said that had not seen it.
        _write(folder, out, head, replace(table, logit=found.strange["after"]), record)
    return record


@contextmanager
def _reserved(out: Path, overwrite: bool) -> Iterator[None]:
    """Keeps other runs out of a folder, and this one from what it must not replace."""
    if out.exists() and not overwrite:
        raise ValueError(f"{out}: exists; --overwrite replaces an adapted model")
    if out.exists() and not (out / RECORD).is_file():
        raise ValueError(f"{out}: is not an adapted model, and is not replaced")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out.with_name(f".{out.name}.lock"), timeout=0):
            yield
    except Timeout as error:
        raise ValueError(f"{out}: another run writes it now") from error


def _load(folder: Path, cache: Path) -> tuple[LargePictureForImageClassification, OwnFeatures]:
    detector = AutoModelForImageClassification.from_pretrained(folder, dtype=torch.float32)
    settings = getattr(AutoImageProcessor.from_pretrained(folder), "large_picture_processor", None)
    network = getattr(detector, "large_picture", None)
    if network is None or settings is None:
        raise ValueError(f"{folder}: has no network for large pictures")
    network.eval()
    return network, OwnFeatures(network, LargePictureImageProcessor(**settings), cache)


def _read(data: str | Path | Dataset, features: OwnFeatures) -> Pictures:
    """The pictures that may be learned from.

    Raises:
        ValueError: If they may not, see [`adapt`].
    """
    pictures = load_pictures(data)
    labels, sources = np.asarray(pictures["label"][:]), np.asarray(pictures["source"][:], str)
    _check_counts(labels, data)
    found = audit(pictures)
    _check_audit(found, data)
    names = {name_of(image, row): row for row, image in enumerate(pictures["image"])}
    copies = [names[name] for group in found.copies for name in group[1:]]
    kept = np.setdiff1d(np.arange(len(labels)), copies + [names[name] for name in found.unreadable])
    _check_counts(labels[kept], data, "different and readable ")
    seen, unreadable = features(pictures, kept)
    kept = kept[~np.isin(kept, list(unreadable))]
    _check_counts(labels[kept], data, "different, readable and large enough ")
    reasons = found.unreadable | {name_of(pictures[row]["image"], row): why for row, why in unreadable.items()}
    contents = {hashlib.sha1(content_of(pictures[int(row)]["image"]) or b"").hexdigest() for row in kept}
    left_out = {"copies": len(copies), "unreadable": {without_folders(name): why for name, why in reasons.items()}}
    return Pictures(seen, labels[kept], sources[kept], contents, left_out, found)


def _check_counts(labels: NDArray, data: Any, which: str = "") -> None:
    real, fake = int((labels == REAL).sum()), int((labels == FAKE).sum())
    if not real:
        raise ValueError(f"{data}: has no {which}real pictures; generated ones alone teach nothing of yours")
    if real < LEAST_REAL:
        raise ValueError(f"{data}: has {real} {which}real pictures, needs {LEAST_REAL} or more")
    if 0 < fake < LEAST_FAKE:
        raise ValueError(f"{data}: has {fake} {which}generated pictures, needs none or {LEAST_FAKE} and more")


def _check_audit(found: Audit, data: Any) -> None:
    if found.copies_across:
        names = listed(" = ".join(group[:3]) for group in found.copies_across[:10])
        raise ValueError(f"{data}: {len(found.copies_across)} pictures are called both real and fake: {names}")
    for row in found.findings:
        if row.auroc > MOST_TELLING and not row.is_equalised:
            raise ValueError(
                f"{data}: {row.name} alone tells the classes (AUROC {row.auroc:.2f}; {row.values}), so nothing else "
                f"would be learned: {row.advice}"
            )


def _tested(
    test: str | Path | Dataset,
    features: OwnFeatures,
    own: Pictures,
    packaged: LargePictureHead,
    head: LargePictureHead,
    table: FeatureTable,
    before: tuple[float, Mapping[str, Sequence[float]]],
    after: tuple[float, Mapping[str, Sequence[float]]],
) -> dict[str, Any]:
    """Scores of both heads on other pictures."""
    other = _read(test, features)
    if same := own.contents & other.contents:
        raise ValueError(f"{test}: {len(same)} of its pictures were learned from")
    plain, change = other.features[0], score(head, table.features) - score(packaged, table.features)
    logits = {"before": score(packaged, plain), "after": score(head, plain)}
    # The final head has seen the table, so of strangers this flatters.
    strange = {"before": table.logit, "after": table.logit + change}
    groups = groups_of(other.labels, other.sources)
    found = LeftOut(other.labels, groups.group, table, logits, strange)
    pictures = {LABELS[label]: int((other.labels == label).sum()) for label in groups.by_source}
    return {"pictures": pictures, **compare(found, {"before": before, "after": after})}


def _write(folder: Path, out: Path, head: LargePictureHead, table: FeatureTable, record: Mapping[str, Any]) -> None:
    """Writes the model beside its place, and then puts it there."""
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(folder, part, ignore=shutil.ignore_patterns(*NOT_COPIED))
    path = part / "model.safetensors"
    with safe_open(folder / "model.safetensors", "pt") as file:
        metadata, state = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}
    for name, value in head.state_dict().items():
        key = f"large_picture.head.{name}"
        state[key] = value.to(state[key].dtype).contiguous()
    path.unlink()  # it may be a link into a cache
    save_file(state, path, metadata=metadata)
    config = json.loads((part / "config.json").read_text(encoding="utf-8"))
    config["large_picture_config"]["temperature"] = record["temperature"]
    for name, field in OPERATING_POINTS.items():
        config["large_picture_config"][field] = record["verdict_thresholds"][name]
    (part / "config.json").unlink()
    (part / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    table.save(part / FILE)
    (part / RECORD).write_text(json.dumps(record, indent=2) + "\n")
    write_card(part, str(out))
    if out.exists():
        shutil.rmtree(out)
    os.replace(part, out)


__all__ = ["adapt"]
