"""Writes the card of a data set of planted artifacts, and sends both to the Hub.

python -m tellsign.hub_cards.dataset_card planted.parquet USER/REPO
"""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from datasets import Dataset
from huggingface_hub import CommitInfo, DatasetCard, DatasetCardData, HfApi
from transformers.utils import logging

from tellsign.pipelines.hub import make_repo

from .model_card import generated_card, is_generated


logger = logging.get_logger(__name__)
TEMPLATE = Path(__file__).with_name("dataset_card_template.md")
SPLITS = {"training": "train", "evaluation": "test"}


def dataset_card(
    dataset_id: str, *, counts: Mapping[str, int], images: int, without_artifact: int, made_with: Mapping[str, Any]
) -> DatasetCard:
    """The card of images with planted artifacts; the same arguments give the same card, byte for byte.

    Args:
        dataset_id (`str`): Repository from which the card's snippet loads the data set.
        counts (`Mapping[str, int]`): Number of images that have each artifact.
        images (`int`): Number of images.
        without_artifact (`int`): Number of those without an artifact.
        made_with (`Mapping[str, Any]`):
            The arguments of `python -m tellsign.training.planting data`, which writes them beside the images:
            `data`, `use`, `count`, `image_size`, `untouched`, `most` and `seed`.

    Returns:
        [`~huggingface_hub.DatasetCard`].
    """
    return generated_card(
        DatasetCard,
        TEMPLATE,
        DatasetCardData(
            task_categories=["object-detection", "image-classification"],
            tags=["ai-generated-image-detection", "artifact-explanation", "tellsign"],
            pretty_name=f"Planted artifacts, for {made_with['use']}",
        ),
        name=dataset_id.rsplit("/", 1)[-1],
        dataset=json.dumps(dataset_id),
        split=json.dumps(SPLITS[made_with["use"]]),
        images=images,
        without_artifact=without_artifact,
        counts=dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
        made_with=made_with,
    )


def push_dataset(
    dataset: Dataset,
    dataset_id: str,
    *,
    made_with: Mapping[str, Any],
    private: bool | None = None,
    token: str | bool | None = None,
) -> CommitInfo:
    """Sends images with planted artifacts to the Hub, with their card.

    A card there that is not generated stays. A generated one keeps its metadata, to which `datasets` adds.

    Args:
        dataset (`datasets.Dataset`): As `python -m tellsign.training.planting data` makes it.
        dataset_id, made_with: As for [`dataset_card`].
        private (`bool`, *optional*): Whether a new repository is private. Defaults to what the account has set.
        token (`str` or `bool`, *optional*): Defaults to that of `HF_TOKEN` or of `hf auth login`.

    Returns:
        [`~huggingface_hub.CommitInfo`].

    Raises:
        ValueError: If a private repository was asked for, and there is a public one.
    """
    labels = [{artifact["label"] for artifact in artifacts} for artifacts in dataset["artifacts"]]
    api = HfApi(token=token)
    make_repo(api, dataset_id, "dataset", private)
    card = dataset_card(
        dataset_id,
        counts=Counter(label for image in labels for label in image),
        images=len(labels),
        without_artifact=sum(not image for image in labels),
        made_with=made_with,
    )
    before = None
    if api.file_exists(dataset_id, "README.md", repo_type="dataset"):
        before = DatasetCard.load(api.hf_hub_download(dataset_id, "README.md", repo_type="dataset"))
        card.data = before.data
    if before is not None and not is_generated(before.text):
        logger.warning(f"{dataset_id} keeps the README.md that it has, which is not generated")
    else:
        api.upload_file(
            repo_id=dataset_id, repo_type="dataset", path_in_repo="README.md", path_or_fileobj=str(card).encode()
        )
    return dataset.push_to_hub(dataset_id, split=SPLITS[made_with["use"]], token=token)


def main(
    planted: Annotated[Path, typer.Argument(help="Parquet file of `python -m tellsign.training.planting data`.")],
    repo_id: Annotated[str, typer.Argument(help="USER/REPO on the Hub, made if there is none.")],
    private: Annotated[bool | None, typer.Option(help="Whether a new repository is private.")] = None,
) -> None:
    """Sends images with planted artifacts to the Hub, with a card made of the JSON file beside them.

    \f
    Raises:
        FileNotFoundError: If one of the two files is missing.
    """
    made_with = json.loads(planted.with_suffix(".json").read_text(encoding="utf-8"))
    typer.echo(push_dataset(Dataset.from_parquet(str(planted)), repo_id, made_with=made_with, private=private))


if __name__ == "__main__":
    typer.run(main)
