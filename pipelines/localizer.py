"""Boxes of named artifacts from a vision-language model that answers in location tokens, such as PaliGemma."""

import os
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor, PreTrainedModel, ProcessorMixin

from .localization import Box


LOCATIONS = [f"<loc{bin:04}>" for bin in range(1024)]
"""The tokens of a coordinate, as 1024ths of the image's height or width (Beyer et al., 2024, arXiv 2407.07726)."""
PROMPT = "<image>detect {}"


class ArtifactLocalizer:
    r"""
    Says where in an image an artifact is, at the resolution that the model sees.

    The model is asked to detect each artifact by its name, and its answer begins with the box, four location tokens
    for top, left, bottom and right (Beyer et al., 2024, arXiv 2407.07726). Of several boxes the first counts.

    Args:
        model ([`PreTrainedModel`]): A PaliGemma, fine-tuned or of several tasks ("mix").
        processor ([`ProcessorMixin`]): Its processor.

    Raises:
        ValueError: If the processor's tokenizer has no location tokens.
    """

    def __init__(self, model: PreTrainedModel, processor: ProcessorMixin):
        vocabulary = processor.tokenizer.get_vocab()
        if not vocabulary.keys() >= set(LOCATIONS):
            raise ValueError(
                f"{type(processor).__name__} has no tokens {LOCATIONS[0]} to {LOCATIONS[-1]}, in which PaliGemma "
                "says where something is"
            )
        self.model, self.processor = model.eval(), processor
        self._bin_of = {vocabulary[token]: bin for bin, token in enumerate(LOCATIONS)}

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike,
        *,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype = "auto",
        **kwargs,
    ) -> "ArtifactLocalizer":
        r"""
        Loads a model with its processor.

        Args:
            name (`str` or `os.PathLike`): Folder or repository of a PaliGemma.
            device (`str` or `torch.device`, *optional*): Where to put it, unless `device_map` says it.
            dtype (`str` or `torch.dtype`, *optional*, defaults to `"auto"`): Its dtype; as saved by default.
            kwargs: Keyword arguments for the model's `from_pretrained`: `subfolder`, `revision`, `token`, ...; for
                one in 4 bits `quantization_config` and `device_map`.

        Returns:
            [`ArtifactLocalizer`].

        Raises:
            ValueError: If it cannot be loaded, naming it and the reason.
        """
        place = {
            key: kwargs[key]
            for key in ("subfolder", "revision", "token", "cache_dir", "local_files_only", "trust_remote_code")
            if key in kwargs
        }
        try:
            processor = AutoProcessor.from_pretrained(name, **place)
            model: Any = AutoModelForImageTextToText.from_pretrained(name, dtype=dtype, **kwargs)
            return cls(model if device is None else model.to(device), processor)
        except (OSError, ValueError) as error:
            raise ValueError(f"localizer {name} cannot be loaded: {error}") from error

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """Saves model and processor."""
        self.model.save_pretrained(folder)
        self.processor.save_pretrained(folder)

    @torch.no_grad()
    def __call__(self, images: Sequence[Image.Image], labels: Sequence[Sequence[str]]) -> list[dict[str, Box]]:
        """Finds the artifacts of a batch of images.

        Args:
            images (`Sequence[PIL.Image.Image]`): RGB.
            labels (`Sequence[Sequence[str]]`): The artifacts to look for in each image.

        Returns:
            `list[dict[str, Box]]`: For each image the boxes, in its pixels, of those artifacts that were found in it.
        """
        boxes: list[dict[str, Box]] = [{} for _ in images]
        asked = [(row, label) for row, names in enumerate(labels) for label in names]
        if not asked:
            return boxes
        inputs = self.processor(
            images=[images[row] for row, _ in asked],
            text=[PROMPT.format(label.lower()) for _, label in asked],
            padding=True,
            padding_side="left",
            return_tensors="pt",
        ).to(self.model.device, self.model.dtype)
        inputs.pop("labels")  # those of training, which the processor always adds
        outputs = self.model.generate(**inputs, do_sample=False, num_beams=1, max_new_tokens=4)
        answers = outputs[:, inputs["input_ids"].shape[1] :].tolist()
        for (row, label), answer in zip(asked, answers, strict=True):
            box = _box_of([self._bin_of[token] for token in answer if token in self._bin_of], *images[row].size)
            if box is not None:
                boxes[row][label] = box
        return boxes


def _box_of(bins: Sequence[int], width: int, height: int) -> Box | None:
    """The box from top, left, bottom and right in 1024ths, of at least one pixel; `None` if they are no box."""
    if len(bins) != 4:
        return None
    top, left, bottom, right = (bin / len(LOCATIONS) for bin in bins)
    if top > bottom or left > right:
        return None
    xmin, ymin = min(round(left * width), width - 1), min(round(top * height), height - 1)
    return {
        "xmin": xmin,
        "ymin": ymin,
        "xmax": max(round(right * width), xmin + 1),
        "ymax": max(round(bottom * height), ymin + 1),
    }


__all__ = ["ArtifactLocalizer"]
