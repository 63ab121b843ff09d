"""A page that says of images whether they are generated, how probably, and by which artifacts one sees it."""

import csv
import os
import tempfile
from pathlib import Path
from typing import Any

import gradio as gr


try:
    import spaces  # before torch, as ZeroGPU wants it
except ImportError:
    spaces = None
from huggingface_hub import SpaceCard
from PIL import Image
from pillow_heif import register_heif_opener
from transformers import pipeline

import tellsign
from tellsign.modeling.image_loading import readable_extensions
from tellsign.pipelines.formats import place_of


MOST_IMAGES = 200
TITLES = {"real": "Real", "fake": "Fake (generated)", "uncertain": "Uncertain"}
ARTIFACT_COLUMNS = ["artifact", "score", "place", "why"]
BATCH_COLUMNS = ["file", "verdict", "fake probability", "artifacts", "error"]
CARD = Path(__file__).with_name("README.md")
register_heif_opener()  # the photographs of telephones


def model_name() -> str:
    """What `TELLSIGN_MODEL` says, or else the first of the card's `models`, or else the packaged model."""
    if name := os.environ.get("TELLSIGN_MODEL"):
        return name
    models = SpaceCard.load(CARD).data.get("models", ())
    return models[0] if models else str(tellsign.DEFAULT_MODEL)


MODEL = model_name()
# The class of the package, so that a repository that brings its own code does not have to be trusted. Verdicts alone
# need no tagger.
EXPLAIN = pipeline(  # type: ignore[call-overload]
    "artifact-explanation", model=MODEL, pipeline_class=tellsign.ArtifactExplanationPipeline, explain="never"
)


def explain(sources: list[str], **options) -> list[dict[str, Any]]:
    """The pipeline's answers; without a tagger beside the detector, they are verdicts alone."""
    return EXPLAIN(sources, batch_size=8, explain="fake" if EXPLAIN.tagger else "never", **options)


if spaces is not None:
    explain = spaces.GPU(explain)


def judge(path: str | None) -> tuple[str, Image.Image, list[list[Any]], dict[str, Any]]:
    """Verdict, picture, table and JSON of an image."""
    if path is None:
        raise gr.Error("Choose an image first.", print_exception=False)
    (answer,) = explain([path], return_heatmap=True)
    if "error" in answer:
        raise gr.Error(answer["error"].replace(path, Path(path).name), print_exception=False)
    image = tellsign.load_image(path)
    artifacts = [{key: value for key, value in found.items() if key != "heatmap"} for found in answer["artifacts"]]
    rows = [
        [found["label"], f"{found['score']:.0%}", place_of(found["box"], *image.size), found.get("explanation", "")]
        for found in artifacts
    ]
    lines = [f"## {TITLES[answer['label']]}", f"Probability of being generated: **{answer['fake_probability']:.1%}**"]
    if answer["label"] == "uncertain":
        lines.append("The model cannot tell: a verdict here would be wrong too often.")
    if not EXPLAIN.tagger:
        lines.append("This model gives verdicts alone; it does not look for artifacts.")
    elif not artifacts and answer["label"] == "fake":
        lines.append("No known artifact was found.")
    picture = tellsign.annotate(image, answer)  # type: ignore[arg-type]
    return "\n\n".join(lines), picture, rows, answer | {"artifacts": artifacts}


def judge_many(paths: list[str] | None) -> tuple[list[list[Any]], str]:
    """A table of many images, and a CSV file of it; a file that cannot be judged has an error in its row."""
    if not paths:
        raise gr.Error("Choose some images first.", print_exception=False)
    if len(paths) > MOST_IMAGES:
        message = f"These are {len(paths)} files, at most {MOST_IMAGES} are judged at once."
        raise gr.Error(message, print_exception=False)
    rows: list[list[Any]] = []
    for path, answer in zip(paths, explain(paths), strict=True):
        name = Path(path).name
        if "error" in answer:
            rows.append([name, "", None, "", answer["error"].replace(path, name)])
        else:
            found = "; ".join(artifact["label"] for artifact in answer["artifacts"])
            rows.append([name, answer["label"], round(answer["fake_probability"], 4), found, ""])
    # Beside an upload, so that it is deleted with the uploads.
    handle, table = tempfile.mkstemp(prefix="verdicts-", suffix=".csv", dir=Path(paths[0]).parent)
    with open(handle, "w", newline="", encoding="utf-8") as file:
        # A name that begins as a formula would be computed by a spreadsheet.
        safe = [["'" + row[0] if row[0].startswith(("=", "+", "-", "@")) else row[0], *row[1:]] for row in rows]
        csv.writer(file).writerows([BATCH_COLUMNS, *safe])
    return rows, table


def page() -> gr.Blocks:
    """The page, with a tab for one image and one for many."""
    extensions = readable_extensions()
    examples = [
        str(path) for path in sorted((CARD.parent / "examples").glob("*")) if path.suffix.lower() in extensions
    ]
    size_note, side = "", getattr(EXPLAIN.model.config, "image_size", None)
    if isinstance(side, int):
        size_note = f" It judges images at {side}x{side} pixels, so that small details of large pictures are lost."
    with gr.Blocks(title="tellsign", delete_cache=(3600, 3600)) as blocks:
        gr.Markdown(
            "# tellsign\nIs this image AI-generated, and how can one tell? A probability is not proof: this model "
            f"errs, above all on images unlike those it was trained on.{size_note}"
        )
        with gr.Tab("One image"):
            with gr.Row():
                inputs = gr.Column()
                with gr.Column():
                    verdict = gr.Markdown()
                    # Without label and buttons, which would hide what is written at the top of the picture.
                    picture = gr.Image(label="What was found", show_label=False, buttons=[], interactive=False)
                    # In pixels, so that on a narrow screen the table scrolls and does not break words.
                    table = gr.Dataframe(
                        headers=ARTIFACT_COLUMNS,
                        column_widths=["180px", "70px", "100px", "240px"],
                        label="Artifacts",
                        wrap=True,
                    )
                    with gr.Accordion("JSON", open=False):
                        answer = gr.JSON()
                results = [verdict, picture, table, answer]
                with inputs:
                    # A file, not gr.Image, so that a broken one reaches our own message.
                    source = gr.File(label="Image", type="filepath", file_types=["image"])
                    button = gr.Button("Judge", variant="primary")
                    # Before the examples, whose hidden function would take the name.
                    button.click(judge, source, results, show_progress_on=verdict, api_name="judge")
                    if examples:
                        gr.Examples(examples, source, results, judge, run_on_click=True, cache_examples=False)
        with gr.Tab("Many images"):
            sources = gr.File(label="Images", type="filepath", file_types=["image"], file_count="multiple")
            batch_button = gr.Button("Judge all", variant="primary")
            batch_table = gr.Dataframe(
                headers=BATCH_COLUMNS,
                column_widths=["220px", "110px", "130px", "380px", "360px"],
                label="Verdicts",
                wrap=True,
            )
            download = gr.File(label="As CSV", interactive=False)
        if not os.path.isdir(MODEL):
            gr.Markdown(f"Model: [{MODEL}](https://huggingface.co/{MODEL})")
        source.upload(judge, source, results, show_progress_on=verdict, api_visibility="private")
        # So that the verdict on a file does not stand beside the next one, which may fail.
        source.clear(lambda: [None] * len(results), None, results, api_visibility="private")
        sources.change(lambda: [None, None], None, [batch_table, download], api_visibility="private")
        batch_button.click(judge_many, sources, [batch_table, download], api_name="judge_many")
    return blocks


demo = page()

if __name__ == "__main__":
    demo.launch()
