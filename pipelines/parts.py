"""Loading what may lie beside a detector: tagger, explainer and localizer."""

import os
from typing import Any

import torch
from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError
from transformers import PreTrainedModel
from transformers.utils import cached_file, logging


logger = logging.get_logger(__name__)


def _is_missing(repo_id: str, file: str, revision: str | None) -> bool:
    """Whether the Hub says that there is no such file, which the cache does not learn from every server."""
    try:
        get_hf_file_metadata(hf_hub_url(repo_id, file, revision=revision))
    except EntryNotFoundError:
        return True
    except Exception:  # of a network that is not there
        pass
    return False


def load_part(
    detector: PreTrainedModel, device: torch.device, part_class: Any, given: Any, subfolder: str, **kwargs
) -> Any:
    """Loads a part of a pipeline.

    Args:
        detector (`PreTrainedModel`): Beside which it is looked for, at its revision and in its cache.
        device (`torch.device`): Where the part is to compute.
        part_class (`type`): Its class.
        given (`str`, `os.PathLike`, an object of `part_class`, `False` or `None`):
            What the user gave: a folder, a repository or an object; `False` for none, `None` for that beside the
            detector.
        subfolder (`str`): Where it lies beside the detector.
        kwargs: For its `from_pretrained`.

    Returns:
        An object of `part_class`, or `None` if there is none.

    Raises:
        ValueError: If something else was given, or there is no access to the detector's repository.
    """
    if given is False:
        return None
    if isinstance(given, (str, os.PathLike)):
        return part_class.from_pretrained(given, **({"device": device} | kwargs))
    if isinstance(given, part_class):
        return given
    if given is not None:
        raise ValueError(
            f"{subfolder}: expected a folder, a repository, an object of {part_class.__name__}, or False for none, "
            f"got {type(given).__name__}"
        )
    home, revision = detector.config._name_or_path, getattr(detector.config, "_commit_hash", None)
    cache_dir: Any = getattr(detector, "cache_dir", None)
    try:
        lies_there = home and any(
            cached_file(
                home,
                file,
                subfolder=subfolder,
                revision=revision,
                cache_dir=cache_dir,
                _raise_exceptions_for_missing_entries=False,
                _raise_exceptions_for_connection_errors=False,
            )
            for file in ("config.json", "adapter_config.json")
        )
    except OSError as error:
        raise ValueError(
            f"{home}: there is no access to its {subfolder}/. A token given to pipeline() reaches the detector "
            "alone: log in by `hf auth login` or set HF_TOKEN"
        ) from error
    if not lies_there:
        file = f"{subfolder}/config.json"
        if home and not os.path.isdir(home):
            is_known = try_to_load_from_cache(home, file, cache_dir=cache_dir, revision=revision) is not None
            if not is_known and not _is_missing(home, file, revision):
                logger.warning(
                    f"{home}: the Hub cannot be asked whether there is a folder {subfolder}/, and the cache has none: "
                    "it is left out"
                )
        return None
    place = {"subfolder": subfolder, "revision": revision, "cache_dir": cache_dir, "device": device}
    return part_class.from_pretrained(home, **(place | kwargs))
