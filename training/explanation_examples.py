"""What explainers learn from: images with artifacts that are explained, as the model's own prompts and answers."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from datasets import Dataset
from PIL import Image
from torch.nn.utils.rnn import pad_sequence
from transformers import ProcessorMixin

from tellsign.configuration.artifacts import ARTIFACTS
from tellsign.modeling.image_loading import load_image
from tellsign.pipelines.explainer import answer_text, explanation_prompt
from tellsign.pipelines.formats import ExplainedArtifact, from_synartifact, place_of
from tellsign.pipelines.localization import Box
from tellsign.training.explanation_sentences import SEEN, as_sentence, explanation_sentence, nouns
from tellsign.training.planting import PLANTED_FEATURES, Use, planted_images


# Share of planted images in which one more artifact is named, of those that cannot be planted: a tagger may find them.
OTHERS = 0.15
OBJECT_WEIGHT = 20.0
VERDICTS = ("fake", "fake", "uncertain", "real")


class ExplanationExample(TypedDict):
    """An image, what it shows if that is known, the verdict, and its artifacts, each with an `explanation`."""

    image: Image.Image
    category: str | None
    verdict: str
    artifacts: list[ExplainedArtifact]


def _rows(dataset: Dataset, use: Use, seed: int, image_size: int) -> Iterator[dict]:
    for row in planted_images(dataset, use, seed, image_size, untouched=0.0):
        for artifact in row["artifacts"]:
            del artifact["mask"]
        if row["artifacts"]:
            yield row


class PlantedExplanations(torch.utils.data.Dataset):
    """Real images with planted artifacts, and a new sentence for each.

    Args:
        dataset (`datasets.Dataset`): Real images with `image` and `sha1`, from [`load_sources`].
        categories (`Mapping[str, str]`): What is shown, by sha1 where it is known.
        use (`str`): Whether to take the operators for `"training"` or those for `"evaluation"`.
        cache_dir (`Path`): Where to keep the planted images.
        seed (`int`): Seed of artifacts and words.
        image_size (`int`): Height and width that the images are brought to.

    Attributes:
        lengths (`list[int]`): Number of artifacts of each image.
    """

    def __init__(
        self,
        dataset: Dataset,
        categories: Mapping[str, str],
        use: Use,
        cache_dir: Path,
        *,
        seed: int,
        image_size: int,
    ):
        features = PLANTED_FEATURES.copy()
        features["artifacts"].feature.pop("mask")
        self.dataset = Dataset.from_generator(
            _rows,
            features=features,
            cache_dir=str(cache_dir),
            gen_kwargs={"dataset": dataset, "use": use, "seed": seed, "image_size": image_size},
        )
        self.categories = categories
        self.seed = seed
        self.has_other = np.random.default_rng(seed).random(len(self.dataset)) < OTHERS
        counts = [len(artifacts) for artifacts in self.dataset["artifacts"]]
        self.lengths = (np.array(counts) + self.has_other).tolist()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> ExplanationExample:
        row, rng = self.dataset[index], np.random.default_rng([self.seed, index])
        image = row["image"].convert("RGB")
        planted = [(artifact["label"], artifact["box"], artifact["severity"]) for artifact in row["artifacts"]]
        if self.has_other[index]:
            planted.append(_other(image.size, rng))
        category = self.categories.get(row["sha1"])
        artifacts = []
        for number in rng.permutation(len(planted)):
            label, box, severity = planted[number]
            sentence = explanation_sentence(label, place_of(box, *image.size), rng, category, severity)
            artifacts.append(ExplainedArtifact(label=label, box=box, explanation=sentence))
        verdict = VERDICTS[rng.integers(len(VERDICTS))]
        return {"image": image, "category": category, "verdict": verdict, "artifacts": artifacts}


def _other(size: tuple[int, int], rng: np.random.Generator) -> tuple[str, Box, None]:
    names = [artifact.name for artifact in ARTIFACTS if artifact.name not in SEEN]
    (xmin, xmax), (ymin, ymax) = (np.sort(rng.choice(length + 1, 2, replace=False)).tolist() for length in size)
    return names[rng.integers(len(names))], Box(xmin=xmin, ymin=ymin, xmax=xmax, ymax=ymax), None


class AnnotatedImages(torch.utils.data.Dataset):
    """Generated images with SynArtifact annotations: `NAME.json` beside `NAME.png` or any other image file.

    Args:
        folders (`Sequence[str]`): Where to look, subfolders included.

    Attributes:
        lengths (`list[int]`): Number of artifacts of each image.

    Raises:
        ValueError: If a file cannot be read, naming it, or no image has an artifact with a caption of 4 words.
    """

    def __init__(self, folders: Sequence[str]):
        self.rows: list[tuple[Path, list[ExplainedArtifact]]] = []
        for path in (path for folder in folders for path in sorted(Path(folder).rglob("*.json"))):
            try:
                annotated = from_synartifact(json.loads(path.read_text(encoding="utf-8")))
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error
            # Names are the keys of the answer: of several places of one artifact, the first counts.
            artifacts: dict[str, ExplainedArtifact] = {}
            for artifact in annotated:
                if sentence := as_sentence(artifact.get("explanation", "")):
                    artifacts.setdefault(artifact["label"], artifact | {"explanation": sentence})
            if artifacts:
                self.rows.append((_image_beside(path), list(artifacts.values())))
        if not self.rows:
            raise ValueError(f"{', '.join(folders)}: no annotation has an artifact with a caption of at least 4 words")
        self.lengths = [len(artifacts) for _, artifacts in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> ExplanationExample:
        path, artifacts = self.rows[index]
        return {"image": load_image(path), "category": None, "verdict": "fake", "artifacts": artifacts}


def _weights(answer: str, spans: Sequence[tuple[int, int]], category: str | None) -> torch.Tensor:
    """Weight of each token of an answer, whose first and last character `spans` has."""
    weights = torch.ones(len(spans))
    if category is not None:
        for noun in re.finditer(rf"\b({'|'.join(nouns(category))})\b", answer):
            for token, (start, end) in enumerate(spans):
                if start < noun.end() and noun.start() < end:
                    weights[token] = OBJECT_WEIGHT
    return weights


def _image_beside(path: Path) -> Path:
    extensions = Image.registered_extensions()
    images = [other for other in sorted(path.parent.glob(f"{path.stem}.*")) if other.suffix.lower() in extensions]
    if not images:
        raise ValueError(f"{path}: no image of the same name lies beside it")
    return images[0]


class ExplanationCollator:
    """Makes batches of the examples, in which only the answers count for the loss.

    What decides the words for the object is the image alone, while many others are left to chance: their noise would
    hide it, so that the words for the object get `OBJECT_WEIGHT` in `weights`, and all others 1.

    Args:
        processor ([`ProcessorMixin`]): The model's processor, with a chat template.
        end (`int`): The token that ends an answer.
    """

    def __init__(self, processor: ProcessorMixin, end: int):
        self.processor = processor
        self.end = end

    def __call__(self, examples: Sequence[ExplanationExample]) -> dict[str, Any]:
        prompts, answers = [], []
        for example in examples:
            artifacts = example["artifacts"]
            prompts.append(explanation_prompt(self.processor, example["image"].size, example["verdict"], artifacts))
            answers.append(answer_text({artifact["label"]: artifact["explanation"] for artifact in artifacts}))
        images = [[example["image"]] for example in examples]
        batch = dict(self.processor(images=images, text=prompts, padding=True, return_tensors="pt"))
        # Apart from each other, as in generation, where no token reaches over the border.
        encoded = self.processor.tokenizer(answers, add_special_tokens=False, return_offsets_mapping=True)
        input_ids, labels, weights = [], [], []
        for row, example in enumerate(examples):
            question = batch["input_ids"][row][batch["attention_mask"][row].bool()]
            reply = torch.tensor([*encoded["input_ids"][row], self.end])
            input_ids.append(torch.cat([question, reply]))
            labels.append(torch.cat([torch.full_like(question, -100), reply]))
            spans = encoded["offset_mapping"][row]
            weights.append(torch.ones(len(question) + len(reply)))
            weights[-1][len(question) : -1] = _weights(answers[row], spans, example["category"])
        pad = self.processor.tokenizer.pad_token_id
        lengths = torch.tensor([len(row) for row in input_ids])
        batch["input_ids"] = pad_sequence(input_ids, batch_first=True, padding_value=pad)
        batch["weights"] = pad_sequence(weights, batch_first=True)
        batch["labels"] = pad_sequence(labels, batch_first=True, padding_value=-100)
        batch["attention_mask"] = (torch.arange(int(lengths.max())) < lengths[:, None]).long()
        return batch


__all__ = ["AnnotatedImages", "ExplanationCollator", "ExplanationExample", "PlantedExplanations"]
