"""A page that says of images what their files state, whether they are generated, how probably, and how one sees it."""

import csv
import html
import itertools
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
from tellsign.pipelines.annotation import COLORS, mark_places
from tellsign.pipelines.answer import findings_of, in_words, place_of
from tellsign.threads import use_free_threads


MOST_IMAGES = 200
MOST_WAITING = 100
TITLES = {"real": "Real", "fake": "Fake (generated)", "uncertain": "Uncertain"}
BATCH_COLUMNS = ["file", "verdict", "fake probability", "the file states", "summary", "artifacts", "error"]
CSS = """
.verdict { font-size: 1.5rem; font-weight: bold; padding: 4px 10px; border-left: 8px solid #e69f00; }
.verdict.real { border-color: #009e73; }
.verdict.fake { border-color: #d55e00; }
ol.seen { list-style: decimal; padding-left: 0; list-style-position: inside; }
ol.seen li { border-left: 8px solid; padding: 4px 10px; margin-bottom: 8px; overflow-wrap: anywhere; }
.stated p { overflow-wrap: anywhere; }
.examples .grid-wrap { height: auto !important; min-height: 0 !important; }
.examples .grid-container { grid-template-columns: repeat(auto-fill, minmax(88px, 1fr)) !important; }
table.many { width: 100%; border-collapse: collapse; }
table.many th, table.many td { text-align: left; vertical-align: top; padding: 6px 8px; overflow-wrap: anywhere;
  border-bottom: 1px solid #8884; }
table.many th, table.many td[data-column=verdict] { overflow-wrap: normal; }
@media (max-width: 700px) {
  table.many thead { display: none; }
  table.many tr { display: block; border: 1px solid #8884; border-radius: 8px; margin-bottom: 8px; padding: 4px; }
  table.many td { display: block; border: 0; padding: 2px 6px; }
  table.many td:empty { display: none; }
  table.many td::before { content: attr(data-column) ": "; opacity: 0.7; }
}
"""
CARD = Path(__file__).with_name("README.md")
register_heif_opener()  # the photographs of telephones
use_free_threads()


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


def explain(sources: list[str]) -> list[dict[str, Any]]:
    """The pipeline's answers; without a tagger beside the detector, they are verdicts alone."""
    return EXPLAIN(sources, batch_size=8, explain="fake" if EXPLAIN.tagger else "never")


if spaces is not None:
    explain = spaces.GPU(explain)


def judge(path: str | None) -> dict[str, Any]:
    """Judges whether an image is AI-generated, and says how one sees it. A probability is not proof.

    Args:
        path: The file of the image, such as a JPEG or PNG.

    Returns:
        The label (real, fake or uncertain) and the fake_probability. As evidence, the boxes on which these rest. The
        artifacts, with names, boxes and sentences. As provenance, what the file itself states.
    """
    if path is None:
        raise gr.Error("Choose an image first.", print_exception=False)
    (answer,) = explain([path])
    if "error" in answer:
        raise gr.Error(answer["error"].replace(path, Path(path).name), print_exception=False)
    return answer


def show(path: str | None) -> tuple[str, str, Image.Image, str, dict[str, Any]]:
    """What the file of an image states, what its pixels say, where that is, what is seen there, and the answer."""
    answer: Any = judge(path)
    image = mark_places(tellsign.load_image(path), answer)
    return stated_html(answer), verdict_html(answer), image, seen_html(answer), answer


def stated_html(answer: dict[str, Any]) -> str:
    """What the file says of itself. Its words are anybody's: they are escaped."""
    statements = answer.get("provenance", [])
    if not statements:
        return "<p>Nothing. That proves nothing: most programs drop such marks.</p>"
    return "".join(f"<p>The file states: <b>{html.escape(in_words(statement))}</b>.</p>" for statement in statements)


def verdict_html(answer: Any) -> str:
    """Verdict and probability, and what speaks for it."""
    label = answer["label"]
    lines = [
        f'<p class="verdict {label}">{TITLES[label]}</p>',
        f"<p>Probability of being generated: <b>{answer['fake_probability']:.1%}</b></p>",
    ]
    if label == "uncertain":
        lines.append("<p>The model cannot tell: a verdict here would be wrong too often.</p>")
    where = ["Yellow frames mark the evidence."] if answer["evidence"] else []
    lines.append(f"<p>{' '.join(findings_of(answer) + where)}</p>")
    return "".join(lines)


def seen_html(answer: dict[str, Any]) -> str:
    """The artifacts, numbered as in the picture."""
    if not EXPLAIN.tagger:
        return "<p>This model gives verdicts alone; it does not look for artifacts.</p>"
    if not answer["artifacts"]:
        return f"<p>{answer['artifacts_note'] or 'No known artifact was found.'}</p>"
    rows = []
    for color, found in zip(itertools.cycle(COLORS), answer["artifacts"]):
        place = place_of(found["box"], answer["width"], answer["height"])
        why = html.escape(found.get("explanation", ""))
        rows.append(
            f'<li style="border-color: {color}"><b>{html.escape(found["label"])}</b> '
            f"<small>{found['score']:.0%}, {place}</small><br>{why}</li>"
        )
    return f'<ol class="seen">{"".join(rows)}</ol>'


def show_many(paths: list[str] | None) -> tuple[str, str]:
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
            rows.append([name, "", None, "", "", "", answer["error"].replace(path, name)])
        else:
            stated = "; ".join(map(in_words, answer.get("provenance", [])))
            found = "; ".join(artifact["label"] for artifact in answer["artifacts"])
            probability = round(answer["fake_probability"], 4)
            rows.append([name, answer["label"], probability, stated, answer["summary"], found, ""])
    # Beside an upload, so that it is deleted with the uploads.
    handle, table = tempfile.mkstemp(prefix="verdicts-", suffix=".csv", dir=Path(paths[0]).parent)
    with open(handle, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([BATCH_COLUMNS, *([_as_text(cell) for cell in row] for row in rows)])
    return table_html(rows), table


def table_html(rows: list[list[Any]]) -> str:
    """The table of many images, whose rows are cards on a narrow screen. What files say is escaped."""
    head = "".join(f"<th>{column}</th>" for column in BATCH_COLUMNS)
    lines = []
    for row in rows:
        cells = (
            f'<td data-column="{column}">{html.escape("" if cell is None else str(cell))}</td>'
            for column, cell in zip(BATCH_COLUMNS, row, strict=True)
        )
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f'<table class="many"><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>'


def _as_text(cell: Any) -> Any:
    """A cell that a spreadsheet does not compute, whatever it begins with."""
    return "'" + cell if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@")) else cell


def page() -> gr.Blocks:
    """The page, with a tab for one image and one for many."""
    config = EXPLAIN.model.config
    side, size_note = getattr(config, "image_size", None), ""
    # A network for large pictures also sees cuts at their own pixels.
    if isinstance(side, int) and getattr(config, "large_picture_config", None) is None:
        size_note = f" It judges images at {side}x{side} pixels, so that small details of large pictures are lost."
    with gr.Blocks(title="tellsign", delete_cache=(3600, 3600)) as blocks:
        gr.Markdown(
            "# tellsign\nIs this image AI-generated, and how can one tell? A probability is not proof: this model "
            f"errs, above all on images unlike those it was trained on.{size_note}"
        )
        with gr.Tab("One image"), gr.Row():
            one_image()
        with gr.Tab("Many images"):
            many_images()
        if not os.path.isdir(MODEL):
            gr.Markdown(f"Model: [{MODEL}](https://huggingface.co/{MODEL})")
    return blocks


def one_image() -> None:
    """The parts of the page for one image: what is given on the left, the answer on the right."""
    inputs = gr.Column()
    with gr.Column():
        gr.Markdown("### What the file states")
        stated = gr.HTML(elem_classes="stated")
        gr.Markdown("### What the pixels say")
        verdict = gr.HTML()
        picture = gr.Image(label="Where", show_label=False, buttons=["fullscreen"], interactive=False)
        gr.Markdown("### What is seen")
        seen = gr.HTML()
        with gr.Accordion("JSON", open=False):
            answer = gr.JSON()
    results = [stated, verdict, picture, seen, answer]
    with inputs:
        # A file, not gr.Image, so that a broken one reaches our own message.
        source = gr.File(label="Image", type="filepath", file_types=["image"], height=140)
        button = gr.Button("Judge", variant="primary")
        button.click(show, source, results, show_progress_on=verdict, api_visibility="undocumented")
        # For programs, and the tool of assistants.
        gr.on([], judge, source, answer)
        if examples := example_images():
            # gr.Examples would show the names of files alone.
            gallery = gr.Gallery(
                examples,
                label="Examples",
                columns=4,
                elem_classes="examples",
                object_fit="cover",
                allow_preview=False,
                interactive=False,
                buttons=[],
            )

            def choose(event: gr.SelectData) -> str:
                return examples[event.index]

            gallery.select(choose, None, source, api_visibility="private").then(
                show, source, results, show_progress_on=verdict, api_visibility="private"
            )
    source.upload(show, source, results, show_progress_on=verdict, api_visibility="private")
    # So that the verdict on a file does not stand beside the next one, which may fail.
    source.clear(lambda: [None] * len(results), None, results, api_visibility="private")


def example_images() -> list[str]:
    """The pictures in `examples/`, the larger ones first."""
    extensions = readable_extensions()
    found = (path for path in (CARD.parent / "examples").glob("*") if path.suffix.lower() in extensions)
    return [str(path) for path in sorted(found, key=lambda path: -path.stat().st_size)]


def many_images() -> None:
    """The parts of the page for many images."""
    sources = gr.File(label="Images", type="filepath", file_types=["image"], file_count="multiple")
    button = gr.Button("Judge all", variant="primary")
    table = gr.HTML()
    download = gr.File(label="As CSV", interactive=False)
    sources.change(lambda: [None, None], None, [table, download], api_visibility="private")
    button.click(show_many, sources, [table, download], api_visibility="undocumented")


demo = page()

if __name__ == "__main__":
    demo.queue(max_size=MOST_WAITING).launch(css=CSS, mcp_server=True)
