"""The card of a data set of planted artifacts, and its way to the Hub.

python -m tellsign.hub_cards.dataset_card planted.parquet USER/REPO --data real.parquet --use evaluation
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from datasets import Dataset
from huggingface_hub import CommitInfo, DatasetCard, DatasetCardData, HfApi

from tellsign.training.planting import Use

from .export import make_repo


TEMPLATE = Path(__file__).with_name("dataset_card_template.md")
SPLITS = {"training": "train", "evaluation": "test"}


def dataset_card(
    dataset_id: str,
    *,
    counts: Mapping[str, int],
    images: int,
    without_artifact: int,
    data: Sequence[str],
    use: Use,
    image_size: int = 32,
    untouched: float = 0.2,
    most: int = 3,
    seed: int = 0,
) -> DatasetCard:
    """The card of images with planted artifacts; the same arguments give the same card, byte for byte.

    Args:
        dataset_id (`str`): Repository from which the card's snippet loads the data set.
        counts (`Mapping[str, int]`): Number of images that have each artifact.
        images (`int`): Number of images.
        without_artifact (`int`): Number of those without an artifact.
        data (`Sequence[str]`): Where the real images came from.
        use (`str`): Whether the operators for `"training"` or those for `"evaluation"` planted them.
        image_size, untouched, most, seed: What `python -m tellsign.training.planting data` was given.

    Returns:
        [`~huggingface_hub.DatasetCard`].
    """
    return DatasetCard.from_template(
        DatasetCardData(
            task_categories=["object-detection", "image-classification"],
            tags=["ai-generated-image-detection", "artifact-explanation", "tellsign"],
            pretty_name=f"Planted artifacts, for {use}",
        ),
        template_str=TEMPLATE.read_text(encoding="utf-8"),
        name=dataset_id.rsplit("/", 1)[-1],
        dataset=json.dumps(dataset_id),
        split=json.dumps(SPLITS[use]),
        images=images,
        without_artifact=without_artifact,
        counts=dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
        data=data,
        use=use,
        image_size=image_size,
        untouched=untouched,
        most=most,
        seed=seed,
    )


def push_dataset(
    dataset: Dataset,
    dataset_id: str,
    *,
    data: Sequence[str],
    use: Use,
    image_size: int = 32,
    untouched: float = 0.2,
    most: int = 3,
    seed: int = 0,
    private: bool | None = None,
    token: str | bool | None = None,
) -> CommitInfo:
    """Sends images with planted artifacts to the Hub. A card that is there stays, but for what `datasets` adds to it.

    Args:
        dataset (`datasets.Dataset`): As `python -m tellsign.training.planting data` makes it.
        dataset_id, data, use, image_size, untouched, most, seed: As for [`dataset_card`].
        private (`bool`, *optional*): Whether a new repository is private. Defaults to what the account has set.
        token (`str` or `bool`, *optional*): Defaults to that of `HF_TOKEN` or of `hf auth login`.

    Returns:
        [`~huggingface_hub.CommitInfo`].

    Raises:
        ValueError: If the repository was to be private, and there is a public one.
    """
    labels = [{artifact["label"] for artifact in artifacts} for artifacts in dataset["artifacts"]]
    api = HfApi(token=token)
    make_repo(api, dataset_id, "dataset", private)
    if not api.file_exists(dataset_id, "README.md", repo_type="dataset"):
        card = dataset_card(
            dataset_id,
            counts=Counter(label for image in labels for label in image),
            images=len(labels),
            without_artifact=sum(not image for image in labels),
            data=data,
            use=use,
            image_size=image_size,
            untouched=untouched,
            most=most,
            seed=seed,
        )
        api.upload_file(
            repo_id=dataset_id, repo_type="dataset", path_in_repo="README.md", path_or_fileobj=str(card).encode()
        )
    return dataset.push_to_hub(dataset_id, split=SPLITS[use], token=token)


def main(
    planted: Annotated[str, typer.Argument(help="Parquet file of `python -m tellsign.training.planting data`.")],
    repo_id: Annotated[str, typer.Argument(help="USER/REPO on the Hub, made if there is none.")],
    data: Annotated[list[str], typer.Option(help="Where the real images came from; may be given several times.")],
    use: Annotated[Use, typer.Option(help="The operators that planted them.")],
    image_size: Annotated[int, typer.Option(help="What they were planted with, as what follows.")] = 32,
    untouched: Annotated[float, typer.Option(help="Share of images without any artifact.")] = 0.2,
    most: Annotated[int, typer.Option(help="Largest number of artifacts in an image.")] = 3,
    seed: Annotated[int, typer.Option(help="Seed of what was drawn.")] = 0,
    private: Annotated[bool | None, typer.Option(help="Whether a new repository is private.")] = None,
) -> None:
    """Sends images with planted artifacts to the Hub, with a card."""
    dataset = Dataset.from_parquet(planted)
    commit = push_dataset(
        dataset,
        repo_id,
        data=data,
        use=use,
        image_size=image_size,
        untouched=untouched,
        most=most,
        seed=seed,
        private=private,
    )
    typer.echo(commit)


if __name__ == "__main__":
    typer.run(main)
