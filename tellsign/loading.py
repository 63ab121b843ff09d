"""Loads the pipeline for the commands."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, try_to_load_from_cache
from huggingface_hub.utils import httpx
from transformers import AutoConfig, pipeline
from transformers.utils import logging

from tellsign import DEFAULT_MODEL
from tellsign.pipelines.artifact_explanation import ArtifactExplanationPipeline
from tellsign.pipelines.explainer import ArtifactExplainer
from tellsign.pipelines.tagger import ArtifactTagger
from tellsign.pipelines.vision_language import LOADING_ERRORS, reason_of


logger = logging.get_logger(__name__)


def register_formats() -> None:
    """Lets Pillow read HEIC if its plugin is installed."""
    with suppress(ImportError):
        from pillow_heif import register_heif_opener  # type: ignore[import-not-found]

        register_heif_opener()


def load_pipeline(model: str, *, explain: str = "fake", **options: Any) -> ArtifactExplanationPipeline:
    """Loads the pipeline of a detector. If no tagger lies beside it, the packaged tagger and explainer are used.

    Args:
        model (`str`): Folder or repository.
        explain (`str`): Which images its calls will explain; `"never"` needs no tagger.
        options: Those of the pipeline.

    Raises:
        ValueError: If it cannot be loaded, with the reason.
    """
    register_formats()
    try:
        if not os.path.isdir(model) and try_to_load_from_cache(model, "config.json") is None:
            HfApi().model_info(model, timeout=10)  # asks once, where from_pretrained would go on for a minute
        # Naming the class keeps the code of a repository from running.
        explain_image: ArtifactExplanationPipeline = pipeline(  # type: ignore[call-overload]
            "artifact-explanation",
            model=model,
            pipeline_class=ArtifactExplanationPipeline,
            explain="never",
            **options,
        )
        if explain != "never" and explain_image.tagger is None:
            logger.warning(f"{model}: no tagger lies beside the detector, the packaged tagger and explainer are used")
            place: Any = {"device": explain_image.device, "dtype": explain_image.dtype}
            explain_image.tagger = ArtifactTagger.from_pretrained(DEFAULT_MODEL / "tagger", **place)
            if explain_image.explainer is None:
                explain_image.explainer = ArtifactExplainer.from_pretrained(DEFAULT_MODEL / "explainer", **place)
    except (ImportError, httpx.HTTPError, *LOADING_ERRORS) as error:
        reason = reason_of(error)
        if isinstance(error, (OSError, httpx.HTTPError)) and not os.path.isdir(model):
            reason = f"there is no such folder, and as a repository of the Hub it cannot be loaded: {reason}"
        raise ValueError(f"{model}: {reason}") from error
    return explain_image


def revision_of(model: str) -> str:
    """Identifies the weights: by the commit of a repository, or by a hash of what is loaded from a folder.

    Raises:
        ValueError: If there is no such model.
    """
    if not os.path.isdir(model):
        try:
            return AutoConfig.from_pretrained(model)._commit_hash or ""
        except LOADING_ERRORS as error:
            raise ValueError(f"{model}: {reason_of(error)}") from error
    digest = hashlib.sha256()
    for part in ("", "tagger", "explainer", "localizer"):
        for pattern in ("*.json", "*.safetensors", "*.jinja"):
            for path in sorted(Path(model, part).glob(pattern)):
                if path.name not in ("evaluation.json", "training.json", "leave_out.json"):
                    digest.update(f"{part}/{path.name}".encode())
                    with open(path, "rb") as file:
                        digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:40]


__all__ = ["load_pipeline", "register_formats", "revision_of"]
