"""The command `tellsign`."""

import os
import sys
import warnings
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tellsign import DEFAULT_MODEL, __version__
from tellsign.publishing import export, push, space


if TYPE_CHECKING:
    from tellsign.answer_file import AnswerFile
    from tellsign.pipelines.artifact_explanation import ArtifactExplanationPipeline

# Each command imports what it needs, so that help and a wrong option are answered before PyTorch is loaded.
# Local variables in a traceback would show the access token.
app = typer.Typer(
    help="Tell AI-generated images from real ones.", no_args_is_help=True, pretty_exceptions_show_locals=False
)


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
    from tellsign.image_files import count_by_extension, find_image_files

    try:
        files, unread, others = find_image_files(patterns, except_in=save)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if others:
        typer.echo(f"left out as no images by their extension: {count_by_extension(others)}", err=True)
    return files, unread


def _answers(
    explain_image: "ArtifactExplanationPipeline", files: list[Path], **options: Any
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


def _open_answers(output: Path) -> "AnswerFile":
    from tellsign.answer_file import AnswerFile

    try:
        answers = AnswerFile(output)
        open(output, "a").close()  # to know before the work whether that can be
        return answers
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{output}: {error}", param_hint="--output") from error


def _state_of(file: Path | str) -> dict[str, Any]:
    """What tells a file from an older one of its name."""
    with suppress(OSError):
        state = os.stat(file)
        return {"bytes": state.st_size, "modified": state.st_mtime}
    return {}


def _counts(labels: Counter[str]) -> str:
    pictures = f"{labels.total()} image{'s' * (labels.total() != 1)}"
    return ": ".join([pictures, *([", ".join(f"{n} {label}" for label, n in labels.most_common())] if labels else [])])


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
            "command is given again. What has a verdict there is judged again only if the file, the model or the "
            "options have changed since."
        ),
    ] = None,
) -> None:
    """Prints one JSON object a line for each image: verdict, artifacts, places and sentences.

    A file or folder that cannot be read gets an error in place of a verdict. The exit code is 1 if a file could not be
    read or a picture could not be saved. Counts of the verdicts, and with --output the errors, are on stderr.
    """
    from transformers.utils import logging

    from tellsign.answer_file import answer_line
    from tellsign.loading import load_pipeline, register_formats, revision_of
    from tellsign.picture_files import pictures_of, save_picture

    register_formats()
    logging.disable_progress_bar()
    files, unread = _find_files(images, save)
    if save is not None:
        try:
            pictures = pictures_of(files, save)
        except (OSError, ValueError) as error:
            raise typer.BadParameter(f"{save}: {error}", param_hint="--save") from error
        files = list(pictures)
    answer_file = None if output is None else _open_answers(output)
    parts = {"tagger": tagger, "explainer": explainer, "localizer": localizer}
    try:
        explain_image = load_pipeline(model, explain=explain, threshold=threshold, device=device, **parts)
        options = {"explain": explain, "threshold": threshold, **parts}
        made_with = {"tellsign": __version__, "model": revision_of(model), **options}
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error

    def name_of(path: Path | str) -> str:
        return str(path) if answer_file is None else os.path.abspath(path)

    # Before they are read: one that changes later is judged again by the next run.
    facts = {} if answer_file is None else {file: {"made_with": made_with | _state_of(file)} for file in files}

    def is_done(file: Path) -> bool:
        has_verdict = answer_file is not None and answer_file.has_verdict(name_of(file), facts[file]["made_with"])
        return has_verdict and (save is None or pictures[file].exists())

    missing = [file for file in files if not is_done(file)]
    warnings.filterwarnings("ignore", module="PIL")  # what fails is in the answers
    answers = _answers(explain_image, missing, explain=explain, return_heatmap=save is not None)
    labels: Counter[str] = Counter()
    animated = 0
    failures = [f"{folder}: {reason}" for folder, reason in unread.items()]
    # On a terminal the answers show how far it is.
    bar: dict[str, Any] = {"length": len(missing), "file": sys.stderr}
    bar["hidden"] = answer_file is None and sys.stdout.isatty()
    names = [*map(name_of, missing), *map(name_of, unread)]
    with (
        nullcontext(sys.stdout) if answer_file is None else answer_file.reopen(names) as lines,
        typer.progressbar(answers, **bar) as progress,
    ):
        for folder, failure in zip(unread, failures, strict=True):
            typer.echo(answer_line(name_of(folder), {"error": failure}), file=lines)
        for file, source, answer in progress:
            labels[answer.get("label", "not read")] += 1
            animated += "animated" in answer
            if "error" in answer:
                failures.append(answer["error"])
            elif save is not None:
                try:
                    save_picture(pictures[file], source, answer)
                except (OSError, ValueError) as error:
                    failures.append(f"{file}: its picture was not saved, {error}")
                answer.pop("evidence_map", None)
                for artifact in answer["artifacts"]:
                    del artifact["heatmap"]
            typer.echo(answer_line(name_of(file), answer | facts.get(file, {})), file=lines)
    for failure in failures:
        if answer_file is not None or "its picture was not saved" in failure:
            typer.echo(failure, err=True)
    before = f"; {len(files) - len(missing)} judged before" if len(missing) < len(files) else ""
    frames = f"; of {animated} animated the first frame was judged" if animated else ""
    typer.echo(_counts(labels) + frames + before, err=True)
    if failures:
        raise typer.Exit(1)


@app.command()
def scan(
    source: Annotated[
        str,
        typer.Argument(
            help="Folder, file or glob of images, parquet files or tar files (WebDataset). Or an address such as "
            "s3://bucket/folder, or USER/NAME of a data set on the Hub."
        ),
    ],
    output: Annotated[
        str, typer.Argument(help="Folder for parquet files, one for each shard of the source, or its address.")
    ],
    model: Annotated[str, typer.Option(help="Folder or repository of a detector with its tagger.")] = str(
        DEFAULT_MODEL
    ),
    explain: Annotated[Literal["fake", "always", "never"], typer.Option(help="Which pictures to explain.")] = "fake",
    image_column: Annotated[
        str | None, typer.Option(help="Column of a parquet file with contents, paths or addresses of pictures.")
    ] = None,
    id_column: Annotated[
        str | None, typer.Option(help="Column with the ids; by default path and number of the row.")
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Pictures that the model sees at once; a GPU wants more.")
    ] = 4,
    num_cpus: Annotated[
        int, typer.Option(min=1, help="CPUs of each worker: one judges, the others read and decode.")
    ] = 1,
    num_gpus: Annotated[float, typer.Option(min=0, help="GPUs of each worker; 0.5 lets two share one.")] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep what is there, also if source, model or options have changed since.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Do anew what has changed since.")] = False,
) -> None:
    """Judges as many pictures as there are, on Ray: on this machine, or on the cluster that RAY_ADDRESS names.

    Each shard of the source, a parquet or tar file or about a thousand images, gives one file, whole or not at all. A
    run that was killed goes on if the same command is given again. A picture that cannot be read is a row with an
    error; a shard that cannot be read is reported, and the rest is done. The exit code is 1 if there was either.
    """
    try:
        from tellsign.scanning.on_ray import run_on_ray
        from tellsign.scanning.scan import Judge, OutputError, Report
        from tellsign.scanning.scan import scan as scan_shards
    except ImportError as error:
        raise typer.BadParameter(f"{error}: pip install 'tellsign[scale]'") from error

    done: Counter[str] = Counter()

    def shown(report: Report | None) -> str:
        if report is not None:
            done["pictures"] += report.labels.total() + report.errors.total()
        return f"{done['pictures']:,} pictures"

    def progress(reports: Any, shards: int) -> Any:
        return typer.progressbar(
            reports, length=shards, label="shards", file=sys.stderr, show_pos=True, item_show_func=shown
        )

    judge = Judge(
        os.path.abspath(model) if os.path.isdir(model) else model,
        explain=explain,
        batch_size=batch_size,
        processes=num_cpus - 1,
        device="cuda" if num_gpus else None,
    )
    try:
        summary = scan_shards(
            source,
            output,
            judge,
            image_column=image_column,
            id_column=id_column,
            resume=resume,
            overwrite=overwrite,
            run=partial(run_on_ray, num_cpus=num_cpus, num_gpus=num_gpus),
            progress=progress,
            notice=partial(typer.echo, err=True),
        )
    except OutputError as error:
        typer.echo(f"{error}. What was written is whole: the same command goes on from there.", err=True)
        raise typer.Exit(1) from error
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(summary, err=True)
    if not summary.is_clean:
        raise typer.Exit(1)


for command in (push, export, space):
    app.command()(command)


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
        from tellsign.annotating.app import annotate_folder
    except ImportError as error:
        raise typer.BadParameter(f"{error}: the page needs `pip install tellsign[hub]`") from error
    from tellsign.loading import load_pipeline

    try:
        explain_image = load_pipeline(model, explain="never")
        which = "always" if explain_image.tagger else "never"
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
    from tellsign.annotating.agreement import agreement, agreement_table

    try:
        typer.echo(agreement_table(agreement(folder)))
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error


if __name__ == "__main__":
    app()
