"""The command `tellsign`."""

import os
import sys
import tempfile
import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from huggingface_hub.utils import httpx
from transformers import pipeline
from transformers.utils import logging

from tellsign import DEFAULT_MODEL, __version__, annotate, load_image
from tellsign.answer_file import AnswerFile, answer_line
from tellsign.hub_cards.export import build_space, push_space
from tellsign.hub_cards.export import push as push_model
from tellsign.image_files import count_by_extension, find_image_files
from tellsign.pipelines.artifact_explanation import ArtifactExplanationPipeline
from tellsign.pipelines.vision_language import LOADING_ERRORS, reason_of


# Local variables in a traceback would show the access token.
app = typer.Typer(
    help="Tell AI-generated images from real ones.", no_args_is_help=True, pretty_exceptions_show_locals=False
)
Private = Annotated[bool | None, typer.Option(help="Whether a new repository is private.")]
CreatePr = Annotated[bool, typer.Option("--create-pr", help="Open a pull request instead.")]
OverwriteCard = Annotated[
    bool, typer.Option("--overwrite-card", help="Replace the README.md even if somebody wrote or changed it.")
]
PUSH_ERRORS = (OSError, RuntimeError, ValueError, httpx.HTTPError)


def _refusal(error: Exception) -> str:
    """Why nothing was sent. Of an upload that failed, a RuntimeError, only the cause says why."""
    return f"{error} {error.__cause__ or ''}" if isinstance(error, RuntimeError) else str(error)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"tellsign {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Tell AI-generated images from real ones."""


def _find_files(patterns: list[str], save: Path | None) -> tuple[list[Path], dict[str, str]]:
    """The image files, but for those in the folder `save`, and the folders that cannot be read, with the reasons."""
    try:
        files, unread, others = find_image_files(patterns, except_in=save)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if others:
        typer.echo(f"left out as no images by their extension: {count_by_extension(others)}", err=True)
    return files, unread


def _pictures_of(files: list[Path], save: Path) -> dict[Path, Path]:
    """Where in the folder `save`, which is made, the picture of each file is saved: as the file lies in their common
    parent. The pictures of others, where these lie beside them, are not among the files."""
    paths = {file: Path(os.path.abspath(file)) for file in files}  # without "..", which would lead out of the folder
    try:
        parent = Path(os.path.commonpath([path.parent for path in paths.values()] or [Path()]))
        save.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=save).close()  # to know before the work whether that can be
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{save}: {error}", param_hint="--save") from error
    pictures = {file: save / path.relative_to(parent).parent / f"{path.name}.png" for file, path in paths.items()}
    places = {os.path.abspath(picture) for picture in pictures.values()}
    return {file: picture for file, picture in pictures.items() if str(paths[file]) not in places}


def _load_pipeline(model: str, **options: Any) -> ArtifactExplanationPipeline:
    try:
        # Without the class, a repository that brings its code along would have it run.
        return pipeline(  # type: ignore[call-overload, misc]
            "artifact-explanation", model=model, pipeline_class=ArtifactExplanationPipeline, **options
        )
    except (ImportError, *LOADING_ERRORS) as error:
        reason = reason_of(error)
        if isinstance(error, OSError) and not os.path.isdir(model):
            reason = f"there is no such folder, and as a repository of the Hub it cannot be loaded: {reason}"
        raise typer.BadParameter(f"{model}: {reason}") from error


def _answers(
    explain_image: ArtifactExplanationPipeline, files: list[Path], **options: Any
) -> Iterator[tuple[Path, Any, Any]]:
    """Each file, what was read of it, and the answer to that."""
    judged: deque[Any] = deque()  # for the pictures: a file may have changed since, and a pipe is empty

    def contents() -> Iterator[Any]:
        for file in files:
            try:
                judged.append({"bytes": file.read_bytes(), "path": str(file)})
            except OSError:  # which will be the answer
                judged.append(str(file))
            yield judged[-1]

    for file, answer in zip(files, explain_image(contents(), **options), strict=True):
        yield file, judged.popleft(), answer


def _save_picture(picture: Path, source: Any, answer: Any) -> None:
    """Draws an answer. Of a picture that cannot be written whole nothing remains."""
    picture.parent.mkdir(parents=True, exist_ok=True)
    part = picture.with_suffix(".part")
    try:
        annotate(load_image(source), answer).save(part, "PNG")
        os.replace(part, picture)
    finally:
        part.unlink(missing_ok=True)


def _open_answers(output: Path) -> AnswerFile:
    try:
        answers = AnswerFile(output)
        open(output, "a").close()  # to know before the work whether that can be
        return answers
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{output}: {error}", param_hint="--output") from error


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
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Probability from which to name an artifact; the tagger's own by default."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="Where to compute: cpu, cuda, cuda:1, mps, ...")] = None,
    save: Annotated[Path | None, typer.Option(help="Folder for a picture of each answer.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="File for the answers instead, with absolute paths. A run that was stopped goes on if the same "
            "command is given again: what has a verdict there is not judged again, whatever the options are then."
        ),
    ] = None,
) -> None:
    """Prints one JSON object a line for each image: verdict, artifacts, places and sentences.

    A file or folder that cannot be read gets an error in place of a verdict. The exit code is 1 if a file could not be
    read or a picture could not be saved.
    """
    with suppress(ImportError):
        from pillow_heif import register_heif_opener  # type: ignore[import-not-found]

        register_heif_opener()
    logging.disable_progress_bar()
    files, unread = _find_files(images, save)
    if save is not None:
        pictures = _pictures_of(files, save)
        files = list(pictures)
    answer_file = None if output is None else _open_answers(output)

    def name_of(path: Path | str) -> str:
        return str(path) if answer_file is None else os.path.abspath(path)

    def is_done(file: Path) -> bool:
        has_verdict = answer_file is not None and answer_file.has_verdict(name_of(file))
        return has_verdict and (save is None or pictures[file].exists())

    files = [file for file in files if not is_done(file)]
    explain_image = _load_pipeline(
        model,
        tagger=tagger,
        explainer=explainer,
        localizer=localizer,
        explain=explain,
        threshold=threshold,
        device=device,
    )
    warnings.filterwarnings("ignore", module="PIL")  # what fails is in the answers
    answers = _answers(explain_image, files, views=views, return_heatmap=save is not None)
    failed = bool(unread)
    # On a terminal the answers show how far it is.
    options: dict[str, Any] = {"length": len(files), "file": sys.stderr}
    options["hidden"] = answer_file is None and sys.stdout.isatty()
    names = [*map(name_of, files), *map(name_of, unread)]
    with (
        nullcontext(sys.stdout) if answer_file is None else answer_file.reopen(names) as lines,
        typer.progressbar(answers, **options) as progress,
    ):
        for folder, reason in unread.items():
            typer.echo(answer_line(name_of(folder), {"error": f"{folder}: {reason}"}), file=lines)
        for file, source, answer in progress:
            failed |= "error" in answer
            if save is not None and "error" not in answer:
                try:
                    _save_picture(pictures[file], source, answer)
                except (OSError, ValueError) as error:
                    failed = True
                    typer.echo(f"{file}: its picture was not saved, {error}", err=True)
                for artifact in answer["artifacts"]:
                    del artifact["heatmap"]
            typer.echo(answer_line(name_of(file), answer), file=lines)
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
            help="Send the code along, so that the model loads without tellsign (--self-contained), or the weights "
            "alone (--plain). Default: as the folder is.",
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
    except PUSH_ERRORS as error:
        raise typer.BadParameter(_refusal(error)) from error
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
    except PUSH_ERRORS as error:
        raise typer.BadParameter(_refusal(error)) from error


@app.command(name="annotate")
def annotate_images(
    folder: Annotated[Path, typer.Argument(help="Folder of images, with annotations beside them or without.")],
    annotator: Annotated[
        str, typer.Option(help="Your name, if there are several of you: then NAME.ANNOTATOR.json is written.")
    ] = "",
    model: Annotated[str, typer.Option(help="Folder or repository of a detector with its tagger.")] = str(
        DEFAULT_MODEL
    ),
    in_order: Annotated[
        bool, typer.Option("--in-order", help="Next is the next file, not that of which the model is least sure.")
    ] = False,
    port: Annotated[int | None, typer.Option(help="Port on this machine; the first free one from 7860.")] = None,
    browser: Annotated[bool, typer.Option(help="Whether to open the page in the browser.")] = True,
) -> None:
    """Opens a page on which to annotate images: verdict, artifacts, places and sentences, by mouse or keyboard.

    What you say is saved at once in NAME.json beside each image, as the SynArtifact data set has it. Fields of a file
    that are not known stay. `python -m tellsign.training.train_tagger --annotated_data FOLDER` learns from it.
    """
    try:
        from tellsign.annotation_app import annotate_folder
    except ImportError as error:
        raise typer.BadParameter(f"{error}: the page needs `pip install tellsign[hub]`") from error
    explain_image = _load_pipeline(model, explain="never")
    which = "always" if explain_image.tagger else "never"
    try:
        annotate_folder(
            folder, lambda image: explain_image(str(image), explain=which), annotator, in_order, port, browser
        )
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error


@app.command(name="agreement")
def print_agreement(
    folder: Annotated[Path, typer.Argument(help="Folder that several people annotated, each with --annotator.")],
) -> None:
    """Prints how far annotators agree: Cohen's kappa on the verdict and each artifact, and the overlap of boxes.

    A name counts where both say something of it: it is among the artifacts or rejected, or the annotation is complete.
    """
    from tellsign.agreement import agreement, agreement_table

    try:
        typer.echo(agreement_table(agreement(folder)))
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error


if __name__ == "__main__":
    app()
