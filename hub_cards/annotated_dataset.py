"""A folder that people annotated as a data set that `load_dataset` opens, and its way to the Hub.

python -m tellsign.hub_cards.annotated_dataset FOLDER USER/REPO
"""

import json
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from huggingface_hub import CommitInfo, DatasetCard, DatasetCardData

from tellsign.annotating.files import AnnotationFile, annotation_files
from tellsign.pipelines.hub import push_folder

from .model_card import generated_card, is_generated


TEMPLATE = Path(__file__).with_name("annotated_card_template.md")


def write_imagefolder(folder: Path, output: Path) -> list[dict[str, Any]]:
    """Copies the annotated images of a folder, and writes what is said of them into a `metadata.jsonl` beside them.

    Args:
        folder (`Path`): Images with the files of [`tellsign.annotating.files`]. Images without any stay behind, and so
            do entries and fields that are not known.
        output (`Path`): Folder to make, for `load_dataset("imagefolder", data_dir=...)`.

    Returns:
        The rows, each with `file_name` and `annotations`.

    Raises:
        ValueError: If a file cannot be read, naming it, or there is none.
    """
    rows = []
    for files in annotation_files(folder):
        place = files[0].image.relative_to(folder)
        (output / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(files[0].image, output / place)
        rows.append({"file_name": place.as_posix(), "annotations": [_row_of(file) for file in files]})
    if not rows:
        raise ValueError(f"{folder}: no image has an annotation")
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (output / "metadata.jsonl").write_text("".join(lines), encoding="utf-8")
    return rows


def _row_of(file: AnnotationFile) -> dict[str, Any]:
    annotation, _ = file.read()
    return {
        "annotator": annotation.annotator,
        "verdict": annotation.verdict,
        "artifacts": [
            {"label": artifact["label"], **artifact["box"], "explanation": artifact["explanation"]}
            for artifact in annotation.artifacts
        ],
        "rejected": annotation.rejected,
        "complete": annotation.complete,
        "opinion_seen": annotation.opinion_seen,
        "note": annotation.note,
    }


def annotated_card(dataset_id: str, rows: list[dict[str, Any]], license: str | None = None) -> DatasetCard:
    """The card of annotated images; a comment in it says that it is generated.

    Args:
        dataset_id (`str`): Repository from which the card's snippet loads the data set.
        rows (`list[dict]`): From [`write_imagefolder`].
        license (`str`, *optional*): Of the images and annotations, by the Hub's name for it.

    Returns:
        [`~huggingface_hub.DatasetCard`].
    """
    labels = [{artifact["label"] for said in row["annotations"] for artifact in said["artifacts"]} for row in rows]
    counts = Counter(label for some in labels for label in some)
    return generated_card(
        DatasetCard,
        TEMPLATE,
        DatasetCardData(
            task_categories=["object-detection", "image-classification"],
            tags=["ai-generated-image-detection", "artifact-explanation", "tellsign"],
            pretty_name="Images with artifacts that people annotated",
            license=license,
        ),
        name=dataset_id.rsplit("/", 1)[-1],
        dataset=json.dumps(dataset_id),
        images=len(rows),
        verdicts=dict(Counter(said["verdict"] for row in rows for said in row["annotations"]).most_common()),
        counts=dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
    )


def push_annotated(
    folder: Path,
    dataset_id: str,
    *,
    license: str | None = None,
    private: bool | None = None,
    token: str | bool | None = None,
) -> CommitInfo:
    """Sends an annotated folder to the Hub in one commit, with its card.

    A card there that somebody wrote or changed stays.

    Args:
        folder (`Path`): As for [`write_imagefolder`].
        dataset_id, license: As for [`annotated_card`].
        private (`bool`, *optional*): Whether a new repository is private. Defaults to what the account has set.
        token (`str` or `bool`, *optional*): Defaults to that of `HF_TOKEN` or of `hf auth login`.

    Returns:
        [`~huggingface_hub.CommitInfo`].

    Raises:
        ValueError: As for [`write_imagefolder`], or if the repository was to be private, and there is a public one.
    """
    with tempfile.TemporaryDirectory() as output:
        rows = write_imagefolder(folder, Path(output))

        def card_of(there: str | None) -> str | None:
            is_ours = there is None or is_generated(there)
            return str(annotated_card(dataset_id, rows, license)) if is_ours else None

        return push_folder(
            output,
            dataset_id,
            card_of=card_of,
            delete_patterns=(),
            repo_type="dataset",
            private=private,
            token=token,
        )


def main(
    folder: Annotated[Path, typer.Argument(help="Folder that people annotated by `tellsign annotate`.")],
    repo_id: Annotated[str, typer.Argument(help="USER/REPO on the Hub, made if there is none.")],
    license: Annotated[str | None, typer.Option(help="Of images and annotations, by the Hub's name for it.")] = None,
    private: Annotated[bool | None, typer.Option(help="Whether a new repository is private.")] = None,
) -> None:
    """Sends annotated images to the Hub as a data set that `load_dataset` opens, with a card."""
    typer.echo(push_annotated(folder, repo_id, license=license, private=private))


if __name__ == "__main__":
    typer.run(main)
