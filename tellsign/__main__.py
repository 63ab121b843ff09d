"""The command `tellsign`."""

import glob
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from huggingface_hub.utils import httpx
from transformers import pipeline
from transformers.utils import logging

from tellsign import DEFAULT_MODEL, annotate, load_image
from tellsign.hub_cards.export import build_space, push_space
from tellsign.hub_cards.export import push as push_model
from tellsign.modeling.image_loading import readable_extensions
from tellsign.pipelines.artifact_explanation import ArtifactExplanationPipeline
from tellsign.pipelines.vision_language import LOADING_ERRORS


# Local variables in a traceback would show the access token.
app = typer.Typer(
    help="Tell AI-generated images from real ones.", no_args_is_help=True, pretty_exceptions_show_locals=False
)
Private = Annotated[bool | None, typer.Option(help="Whether a new repository is private.")]
CreatePr = Annotated[bool, typer.Option("--create-pr", help="Open a pull request instead.")]
OverwriteCard = Annotated[
    bool, typer.Option("--overwrite-card", help="Replace a README.md that is in the repository.")
]


@app.callback()
def main() -> None:
    """Tell AI-generated images from real ones."""


def _files(patterns: list[str], answers: Path | None) -> list[Path]:
    """The files, those of the folders that have the extension of an image, and those that the globs match.

    Of a folder with the folder `answers` in it, those in that are left out.
    """
    files: list[Path] = []
    for pattern in patterns:
        if "://" in pattern:
            raise typer.BadParameter(f"{pattern}: is an address, expected a file, a folder or a glob")
        path = Path(pattern)
        if os.path.isdir(path):
            found = _images_in(path)
            if answers is not None and path.resolve() in answers.resolve().parents:
                found = [file for file in found if answers.resolve() not in file.resolve().parents]
        elif os.path.exists(path) or not glob.has_magic(pattern):
            found = [path]
        else:
            found = sorted(file for file in map(Path, glob.glob(pattern, recursive=True)) if file.is_file())
        if not found:
            raise typer.BadParameter(f"{pattern}: there is no image")
        files += found
    return list(dict.fromkeys(files))


def _images_in(folder: Path) -> list[Path]:
    """Files in a folder and its subfolders, linked ones too, with the extension of an image."""
    extensions, places, found = readable_extensions(), set(), []
    for place, folders, names in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(place)) in places:  # a link back
            folders.clear()
            continue
        places.add(real)
        files = [Path(place, name) for name in names if Path(name).suffix.lower() in extensions]
        found += [file for file in files if file.is_file() or file.is_symlink()]  # one that leads nowhere is an error
    return sorted(found)


def _picture_of(path: Path, parent: Path, answers: Path) -> Path:
    """Where the picture of an answer is saved: in the folder `answers` as the image in its `parent`."""
    return answers / path.relative_to(parent).parent / f"{path.name}.png"


@app.command()
def explain(
    images: Annotated[list[str], typer.Argument(help="Image files, folders and globs.")],
    model: Annotated[str, typer.Option(help="Folder or repository of a detector with its tagger.")] = str(
        DEFAULT_MODEL
    ),
    tagger: Annotated[str | None, typer.Option(help="Folder or repository of another tagger.")] = None,
    explainer: Annotated[str | None, typer.Option(help="Folder or repository of another explainer.")] = None,
    localizer: Annotated[
        str | None, typer.Option(help="Folder or repository of a PaliGemma that finds boxes.")
    ] = None,
    explain: Annotated[Literal["fake", "always", "never"], typer.Option(help="Which images to explain.")] = "fake",
    views: Annotated[
        int, typer.Option(min=1, help="Of how many views of a larger image to average the probability.")
    ] = 1,
    save: Annotated[Path | None, typer.Option(help="Folder for a picture of each answer.")] = None,
) -> None:
    """Prints one JSON object a line for each image: verdict, artifacts, places and sentences.

    A file that cannot be read gets an error in place of a verdict. The exit code is then 1, and where a picture cannot
    be saved.
    """
    logging.disable_progress_bar()
    files = _files(images, save)
    absolute = [Path(os.path.abspath(file)) for file in files]  # without "..", which would lead out of the folder
    try:
        if save is not None:
            parent = Path(os.path.commonpath([file.parent for file in absolute]))
            save.mkdir(parents=True, exist_ok=True)
            # Not the pictures of others among them, where these lie beside them.
            pictures = {os.path.abspath(_picture_of(path, parent, save)) for path in absolute}
            files = [file for file, path in zip(files, absolute, strict=True) if str(path) not in pictures]
            absolute = [path for path in absolute if str(path) not in pictures]
        explain_image = pipeline(  # type: ignore[call-overload]
            "artifact-explanation",
            model=model,
            tagger=tagger,
            explainer=explainer,
            localizer=localizer,
            explain=explain,
            # Otherwise a repository that brings its code along would have it run.
            pipeline_class=ArtifactExplanationPipeline,
        )
    except (ImportError, *LOADING_ERRORS) as error:
        raise typer.BadParameter(f"{model}: {error}") from error
    warnings.filterwarnings("ignore", module="PIL")  # what fails is in the answers
    answers = explain_image(map(str, files), views=views, return_heatmap=save is not None)
    failed = False
    # On a terminal the answers show how far it is.
    options: dict[str, Any] = {"length": len(files), "file": sys.stderr, "hidden": sys.stdout.isatty()}
    with typer.progressbar(zip(files, absolute, answers, strict=True), **options) as progress:
        for file, path, answer in progress:
            failed |= "error" in answer
            if save is not None and "error" not in answer:
                picture = _picture_of(path, parent, save)
                try:
                    picture.parent.mkdir(parents=True, exist_ok=True)
                    annotate(load_image(file), answer).save(picture)
                except (OSError, ValueError) as error:
                    failed = True
                    typer.echo(f"{file}: its picture was not saved, {error}", err=True)
                for artifact in answer["artifacts"]:
                    del artifact["heatmap"]
            typer.echo(json.dumps({"image": str(file)} | answer))
    if failed:
        raise typer.Exit(1)


@app.command()
def push(
    folder: Annotated[Path, typer.Argument(help="Folder of a saved detector, or of an adapter for one of its parts.")],
    repo_id: Annotated[str, typer.Argument(help="USER/REPO on the Hub, made if there is none.")],
    self_contained: Annotated[
        bool | None,
        typer.Option(
            "--self-contained/--plain",
            help="Bring the code along, for where tellsign is not installed, or not. As the folder does by default.",
        ),
    ] = None,
    dataset: Annotated[
        list[str], typer.Option(help="Data set on the Hub that it was trained on; may be given several times.")
    ] = [],  # noqa: B006 - typer copies it
    license: Annotated[str | None, typer.Option(help="Of the weights, by the Hub's name for it.")] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, made if there is none.")] = None,
    private: Private = None,
    create_pr: CreatePr = False,
    overwrite_card: OverwriteCard = False,
) -> None:
    """Sends a model to the Hub in one commit, with a card of what was measured.

    The access token is that of `hf auth login`, or of the environment variable HF_TOKEN.
    """
    try:
        commit = push_model(
            folder,
            repo_id,
            self_contained=self_contained,
            overwrite_card=overwrite_card,
            datasets=dataset,
            license=license,
            private=private,
            revision=revision,
            create_pr=create_pr,
        )
    except (OSError, ValueError, httpx.HTTPError) as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(commit.pr_url or commit.commit_url)


@app.command()
def space(
    folder: Annotated[Path, typer.Argument(help="Folder to make, or one made before, which may have been changed.")],
    model: Annotated[
        str | None, typer.Option(help="Repository that it loads, or folder that goes into it: the packaged model.")
    ] = None,
    repo: Annotated[
        str | None, typer.Option(help="USER/REPO on the Hub to send it to, made if there is none.")
    ] = None,
    private: Private = None,
    create_pr: CreatePr = False,
    overwrite_card: OverwriteCard = False,
) -> None:
    """Makes the folder of a Space, a page that judges images in the browser, and sends it to the Hub if asked to.

    `python app.py` in the folder shows the page on this machine; it needs gradio.
    """
    is_built = (folder / "app.py").is_file()
    if is_built and repo is not None and model is not None:
        raise typer.BadParameter(f"{folder} was made before: send it without --model, or name another folder")
    try:
        if repo is None or not is_built:
            build_space(folder, model)
        if repo is None:
            typer.echo(folder)
        else:
            commit = push_space(folder, repo, overwrite_card=overwrite_card, private=private, create_pr=create_pr)
            typer.echo(commit.pr_url or commit.commit_url)
    except (OSError, ValueError, httpx.HTTPError) as error:
        raise typer.BadParameter(str(error)) from error


if __name__ == "__main__":
    app()
