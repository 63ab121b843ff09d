"""The command `tellsign`."""

import json
from typing import Annotated

import typer
from transformers import pipeline
from transformers.utils import logging

from tellsign import DEFAULT_MODEL, load_image


app = typer.Typer(help="Tell AI-generated images from real ones.", no_args_is_help=True)


@app.callback()
def main() -> None:
    """Tell AI-generated images from real ones."""


@app.command()
def detect(
    images: Annotated[list[str], typer.Argument(help="Image files.")],
    model: Annotated[str, typer.Option(help="Folder or repository of a detector.")] = str(DEFAULT_MODEL),
) -> None:
    """Prints one JSON object a line for each image: its label and the probability that it is fake.

    A file that cannot be read gets an error in place of a label, and the exit code is then 1.
    """
    logging.disable_progress_bar()
    classifier = pipeline("image-classification", model=model)
    labels = sorted(label.lower() for label in classifier.model.config.label2id or {})
    if labels != ["fake", "real"]:
        raise typer.BadParameter(f"{model} has the labels {', '.join(labels)}, expected real and fake")
    failed = False
    for path in images:
        try:
            scores = {item["label"].lower(): item["score"] for item in classifier(load_image(path))}
            answer = {"label": max(scores, key=lambda label: scores[label]), "fake_probability": scores["fake"]}
        except ValueError as error:
            answer, failed = {"error": str(error)}, True
        typer.echo(json.dumps({"image": path} | answer))
    if failed:
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
