"""Sends models and adapters to the Hub, with or without the code that runs them, and makes Spaces for them."""

import importlib.metadata
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo, SpaceCard
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from transformers import Pipeline
from transformers.utils import logging

import tellsign
from tellsign.pipelines.hub import WEIGHTS, push_folder, with_owner

from .model_card import card_of_folder, is_generated, somebody_wrote, with_facts_of
from .model_index import EVAL_RESULTS, eval_results
from .remote_code import PACKAGE, code_beside, code_of, is_our_class, spec_of, without_code


logger = logging.get_logger(__name__)

PARTS = ("", "tagger", "explainer", "localizer")
# Left beside another model, these would be taken for its measurements.
MEASURED: tuple[str, ...] = (
    "evaluation.json",
    "evaluation.png",
    "robustness.png",
    "leave_out.json",
    "leave_out.png",
    "leave_out_small.json",
)
MEASURED += ("adaptation.json", "features.safetensors", "training.json")
# Not trainer_state.json and training_args.bin, which name the machine's folders and, the latter, are pickled.
PATTERNS = (
    "config.json",
    "*_config.json",
    "model*.safetensors",
    "model*.safetensors.index.json",
    "adapter_model*.safetensors",
    "tokenizer.json",
    "*.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "chat_template.*",
    *MEASURED,
    "*.png",
    "LICENSE",
)
SPACE = Path(__file__).with_name("space")
SPACE_SETTINGS = ("sdk", "sdk_version", "python_version", "app_file", "models", "custom_headers")


def push(
    source: str | os.PathLike | Pipeline,
    repo_id: str,
    *,
    self_contained: bool | None = None,
    overwrite_card: bool = False,
    datasets: Iterable[str] = (),
    license: str | None = None,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
    create_pr: bool = False,
) -> CommitInfo:
    r"""
    Sends a model to the Hub, in one commit, or an adapter for an explainer or a localizer. A model is the detector,
    tagger, explainer and localizer beside it, its `onnx/`, what was measured, and a model card. What was measured on
    data sets of the Hub is also in `.eval_results/`, for their leaderboards.

    Other weights in the repository are removed. If a folder is sent, what was measured of these is removed too. A
    pipeline does not know what was measured.

    A *plain* export needs this package where it is loaded, and then no flag. A *self-contained* one brings the code
    along: `pipeline(..., trust_remote_code=True)` runs it where the package is not installed.

    Args:
        source (`str`, `os.PathLike` or [`Pipeline`]): The folder of a saved model, or a pipeline.
        repo_id (`str`): The repository, made if there is none.
        self_contained (`bool`, *optional*):
            Whether to bring the code along. Defaults to whether the source came with code.
        overwrite_card (`bool`, *optional*, defaults to `False`):
            Whether to replace a `README.md` that the repository has. Where a folder is sent, one that this package
            generated is replaced anyway, unless its comment that says so was removed.
        datasets (`Iterable[str]`, *optional*): Data sets on the Hub that the model was trained on, for its card.
        license (`str`, *optional*): That of the weights, by the Hub's name for it, for the card.
        private (`bool`, *optional*): Whether a new repository is private. Defaults to what the account has set.
        token (`str` or `bool`, *optional*): Defaults to that of `HF_TOKEN` or of `hf auth login`.
        revision (`str`, *optional*):
            Branch, made if there is none unless for a pull request. Defaults to `"main"`.
        commit_message (`str`, *optional*): Defaults to `"Upload model with tellsign"`.
        create_pr (`bool`, *optional*, defaults to `False`): Whether to open a pull request instead.

    Returns:
        [`~huggingface_hub.CommitInfo`]. Where nothing has changed, that of the last commit.

    Raises:
        ValueError: If the folder has no detector, or its weights are not in safetensors files. If it has an adapter
            for a model in a folder of this machine. If the repository was to be private and there is a public one. If
            the repository has a tagger, explainer or localizer that the pipeline does not have, which would be loaded
            with it. If it has code of its own that the folder has not. Nothing is sent then.
        huggingface_hub.errors.HfHubHTTPError:
            If the Hub refuses. The files of the repository are then as they were, since all come in one commit.
    """
    repo_id = with_owner(repo_id, token)
    is_pipeline = isinstance(source, Pipeline)

    def card_of(there: str | None) -> str | None:
        if there is None or overwrite_card:
            return new
        if is_generated(there) and not is_pipeline:
            return with_facts_of(new, there)
        logger.warning(f"{repo_id} keeps the README.md that it has; overwrite_card=True replaces it")
        return None

    with tempfile.TemporaryDirectory() as temporary:
        saved, staged = Path(temporary, "saved"), Path(temporary, "staged")
        if isinstance(source, (str, os.PathLike)):
            saved = Path(source)
        else:
            source.save_pretrained(saved)
        files = exported_files(saved, repo_id, self_contained=self_contained, datasets=datasets, license=license)
        _write_files(files, staged)
        new = (staged / "README.md").read_text(encoding="utf-8")
        return push_folder(
            staged,
            repo_id,
            card_of=card_of,
            lacking_parts=getattr(source, "lacking_parts", ()),
            delete_patterns=WEIGHTS if is_pipeline else (*WEIGHTS, *MEASURED, EVAL_RESULTS),
            private=private,
            token=token,
            revision=revision,
            commit_message=commit_message or "Upload model with tellsign",
            create_pr=create_pr,
        )


def _write_files(files: Mapping[str, bytes | Path], folder: Path) -> None:
    """Writes contents into a folder. Files become links, since weights may be large."""
    for name, content in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            target.write_bytes(content)
        else:
            target.symlink_to(content.resolve())


def exported_files(
    folder: Path,
    repo_id: str,
    *,
    self_contained: bool | None = None,
    datasets: Iterable[str] = (),
    license: str | None = None,
) -> dict[str, bytes | Path]:
    """What a repository of a saved model or adapter consists of.

    Args:
        folder (`Path`):
            Has the detector, and may have a tagger in `tagger/`, an explainer in `explainer/` and a localizer in
            `localizer/`. Or has an adapter.
        repo_id, self_contained, datasets, license: As for [`push`].

    Returns:
        Contents, or the files that have them, by their paths in the repository. A `README.md` in the folder is taken
        as it is, unless it is generated (see [`is_generated`]): then it is written anew, for the repository.

    Raises:
        ValueError: If the folder has no detector, or its weights are not in safetensors files. Also if it has an
            adapter for a model in a folder of this machine.
    """
    files, config = _without_card(folder, self_contained)
    if config is not None:
        files |= _endpoint_files(is_self_contained="custom_pipelines" in config)
    own_card, card = folder / "README.md", card_of_folder(folder, repo_id, tuple(datasets), config, license)
    if (measured := eval_results(card.data.get("eval_results") or ())) is not None:
        files[EVAL_RESULTS] = measured.encode()
    if somebody_wrote(own_card):
        if license or datasets:
            logger.warning(f"{own_card} is sent as somebody wrote it: license and data sets are to be stated there")
        files["README.md"] = own_card
    else:
        files["README.md"] = str(card).encode()
    return files


def _endpoint_files(is_self_contained: bool) -> dict[str, bytes | Path]:
    """What Inference Endpoints needs to run the model, in an image that has transformers."""
    needed = (SPACE / "requirements.txt").read_text().splitlines(keepends=True)
    requirements = "".join(line for line in needed if not line.startswith("gradio"))  # no page is shown there
    if not is_self_contained:
        requirements += f"{PACKAGE}>={tellsign.__version__}\n"
    return {"handler.py": Path(__file__).with_name("handler.py"), "requirements.txt": requirements.encode()}


def _without_card(folder: Path, self_contained: bool | None) -> tuple[dict[str, bytes | Path], dict[str, Any] | None]:
    """What [`exported_files`] returns but for the card, and the detector's configuration, `None` for an adapter."""
    files = _saved_files(folder)
    config = None
    if "adapter_config.json" not in files:
        config = _detector_config(folder)
        if self_contained is None:
            pipelines = config.get("custom_pipelines", {}).values()
            self_contained = any(is_our_class(pipeline["impl"]) for pipeline in pipelines)
        config = without_code(config)
        files |= _with_code(folder, config, self_contained, with_processor="preprocessor_config.json" in files)
    if not any(Path(name).match("*model*.safetensors") for name in files if "/" not in name):
        raise ValueError(f"{folder}: has no weights in safetensors files; other formats are not sent")
    return files, config


def _saved_files(folder: Path) -> dict[str, bytes | Path]:
    """The files of a saved model that are sent, by their paths in the repository."""
    files: dict[str, bytes | Path] = {}
    for part in PARTS:
        for pattern in PATTERNS:
            for path in sorted((folder / part).glob(pattern)):
                files[f"{part}/{path.name}".lstrip("/")] = path
        if (adapter := folder / part / "adapter_config.json").is_file():
            base = _read_json(adapter)["base_model_name_or_path"]
            if not base:
                raise ValueError(f"{adapter}: does not name the model that it is for, in base_model_name_or_path")
            if os.path.isdir(base):
                raise ValueError(f"{adapter}: is for the model in the folder {base}, which nobody else has; push that")
    for name in ("examples", "onnx"):
        files |= {f"{name}/{path.name}": path for path in sorted(folder.glob(f"{name}/[!.]*")) if path.is_file()}
    return files


def _detector_config(folder: Path) -> dict[str, Any]:
    """The configuration of the detector of real and fake in a folder."""
    if not (folder / "config.json").is_file():
        raise ValueError(f"{folder}: has no config.json, expected the folder of a saved model")
    config = _read_json(folder / "config.json")
    if not any(name.endswith("ForImageClassification") for name in config.get("architectures") or ()):
        raise ValueError(
            f"{folder}: is no detector; a tagger belongs in the folder tagger/ of a detector, an explainer in its "
            "explainer/, a localizer in its localizer/"
        )
    labels = sorted(str(label).lower() for label in (config.get("id2label") or {0: "LABEL_0", 1: "LABEL_1"}).values())
    if labels != ["fake", "real"]:
        raise ValueError(
            f"{folder}: is a classifier of {', '.join(labels)}, which card and page do not describe, expected fake "
            "and real; push_to_hub of the model sends any"
        )
    return config


def _with_code(
    folder: Path, config: dict[str, Any], self_contained: bool, with_processor: bool
) -> dict[str, bytes | Path]:
    """The configurations of detector and image processor, and the code that they name."""
    processor = without_code(_read_json(folder / "preprocessor_config.json")) if with_processor else None
    files = code_beside(folder, [config, processor or {}])
    if self_contained:
        parts = [folder / part / "config.json" for part in PARTS[1:]]
        files |= code_of(config, processor, [_read_json(path) for path in parts if path.is_file()])
        for distribution in importlib.metadata.distributions(name=PACKAGE):
            if (license_text := distribution.read_text("licenses/LICENSE")) and not (folder / "LICENSE").is_file():
                files["LICENSE"] = license_text.encode()  # of the code
    files["config.json"] = _to_json(config)
    if processor is not None:
        files["preprocessor_config.json"] = _to_json(processor)
    return files


def build_space(folder: str | os.PathLike, model: str | os.PathLike | None = None) -> None:
    """Makes the folder of a Space that runs a model.

    The package goes into it as it is, so that the Space installs nothing but the libraries. Its examples are those of
    the folder's `examples/`, or of the packaged model.

    Args:
        folder (`str` or `os.PathLike`): Made if it does not exist; must be empty.
        model (`str` or `os.PathLike`, *optional*):
            A repository on the Hub, which the Space loads, or the folder of a saved model, which goes into it.
            Defaults to the packaged model.

    Raises:
        ValueError: If the folder is not empty, or the model is a folder without a model, or no name of a repository.
    """
    folder = Path(folder)
    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"{folder}: is not empty, expected a folder of its own for the Space")
    is_folder = model is None or os.path.isdir(model)
    if not is_folder:
        try:
            validate_repo_id(str(model))
        except HFValidationError as error:
            raise ValueError(f"{model}: neither a folder nor a repository, {error}") from error
    home = Path(model or tellsign.DEFAULT_MODEL) if is_folder else tellsign.DEFAULT_MODEL
    saved = _without_card(home, self_contained=False)[0] if is_folder else {}
    if is_folder and "config.json" not in saved:
        raise ValueError(f"{home}: has an adapter alone, expected the folder of a saved detector")
    _copy_files(SPACE, folder)
    rooms = ("configuration", "modeling", "pipelines", "pipelines.provenance", "pipelines.traces")
    parts = {f"{PACKAGE}.{room}": ["*.py"] for room in rooms}
    # Not the commands, which need more than the page.
    for name, patterns in {PACKAGE: ["_[!_]*.py", "threads.py"], **parts}.items():
        source, target = Path(spec_of(name).origin or "").parent, folder / name.replace(".", "/")
        _copy_files(source, target, "__init__.py", *patterns)
    if (home / "examples").is_dir():
        _copy_files(home / "examples", folder / "examples")
    for name, content in saved.items():
        if name.startswith(("examples/", "onnx/")):
            continue
        target = folder / PACKAGE / tellsign.DEFAULT_MODEL.name / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    card = SpaceCard.load(folder / "README.md")
    if not is_folder:
        card.data["models"] = [str(model)]
    elif model is not None:
        card.data.pop("license")  # that of this package's weights
    card.save(folder / "README.md")


def _copy_files(source: Path, target: Path, *patterns: str) -> None:
    """Copies files without their permissions: those of an installed package may be read-only."""
    target.mkdir(parents=True, exist_ok=True)
    for path in {path for pattern in patterns or ["[!.]*"] for path in source.glob(pattern) if path.is_file()}:
        shutil.copyfile(path, target / path.name)


def push_space(
    folder: str | os.PathLike,
    repo_id: str,
    *,
    overwrite_card: bool = False,
    private: bool | None = None,
    token: str | bool | None = None,
    create_pr: bool = False,
) -> CommitInfo:
    """Sends the folder that [`build_space`] or [`export_page`] made to the Hub, as [`push`] sends a model.

    A `README.md` that the Space has keeps its words, and gets the settings by which the new one runs.

    Raises:
        ValueError: If the folder is not that of a Space.
    """
    folder = Path(folder)
    app_file = "index.html" if (folder / "service_worker.js").is_file() else "app.py"
    for name in (app_file, "README.md"):
        if not (folder / name).is_file():
            raise ValueError(f"{folder}: has no {name}, expected the folder of a Space")
    with tempfile.TemporaryDirectory() as temporary:
        staged = shutil.copytree(folder, Path(temporary, "space"), ignore=shutil.ignore_patterns(".*", "__pycache__"))
        new = (staged / "README.md").read_text(encoding="utf-8")
        return push_folder(
            staged,
            repo_id,
            card_of=lambda there: new if there is None or overwrite_card else _with_settings(there, new),
            delete_patterns=(),
            repo_type="space",
            private=private,
            token=token,
            commit_message="Upload Space with tellsign",
            create_pr=create_pr,
        )


def _with_settings(card: str, of: str) -> str:
    """A Space's card with the settings of another; with the packaged words, its license is the other's too."""
    kept, settings, packaged = SpaceCard(card), SpaceCard(of).data, SpaceCard.load(SPACE / "README.md")
    if kept.text.strip() == packaged.text.strip() and kept.data.get("license") == packaged.data.get("license"):
        kept.data["license"] = settings.get("license")
    for name in SPACE_SETTINGS:
        kept.data.pop(name, None)
        if (value := settings.get(name)) is not None:
            kept.data[name] = value
    return str(kept)


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _to_json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()
