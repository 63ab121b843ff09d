"""Makes planted images, and shows what the operators do.

python -m tellsign.training.planting data --data real.parquet --output planted.parquet --use evaluation
python -m tellsign.training.planting contact-sheet --data real.parquet --output sheet.png
"""

import json
import tempfile
import textwrap
from collections import Counter
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from datasets import Dataset
from PIL import Image, ImageDraw, ImageFont

from tellsign.training.data.sources import load_real_images, of_class, without_folders

from . import OPERATORS, PLANTED_FEATURES, Operator, Use, plantable, planted_images
from .planter import encoded
from .rows import readable


app = typer.Typer(help=__doc__, add_completion=False)
SEVERITIES = (0.33, 0.67, 1.0)


def load_real(data: list[str], count: int | None, seed: int) -> Dataset:
    """Distinct real images, so many of them drawn at random, or all."""
    images = load_real_images(data)
    if len(images) == 0:
        raise ValueError(f"{', '.join(data)}: there is no real image")
    return of_class(images, "real", count, seed)


@app.command("data")
def make_data(
    data: Annotated[list[str], typer.Option(help="Images, of which the real ones are taken.")],
    output: Annotated[Path, typer.Option(help="Parquet file to write.")],
    use: Annotated[Use, typer.Option(help="Which operators to take.")],
    count: Annotated[int | None, typer.Option(min=1, help="How many images, drawn at random; all by default.")] = None,
    image_size: Annotated[int, typer.Option(min=32, help="Height and width.")] = 32,
    untouched: Annotated[float, typer.Option(min=0, max=1, help="Share of images without any artifact.")] = 0.2,
    most: Annotated[int, typer.Option(min=1, help="Largest number of artifacts in an image.")] = 3,
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn.")] = 0,
) -> None:
    """Plants artifacts into real images and prints how often each was planted.

    What they were made with goes into a JSON file of the same name, from which a card can be made.

    \f
    Raises:
        ValueError: If the file is not to be called *.parquet.
    """
    if output.suffix != ".parquet":
        raise ValueError(f"--output {output}: expected a name that ends in .parquet")
    options = {"use": use, "seed": seed, "image_size": image_size, "untouched": untouched, "most": most}
    with tempfile.TemporaryDirectory() as cache:
        planting = {"dataset": load_real(data, count, seed)} | options
        planted = Dataset.from_generator(
            planted_images, features=PLANTED_FEATURES, cache_dir=cache, gen_kwargs=planting
        )
        planted.to_parquet(output)
        made_with = {"data": [without_folders(source) for source in data], "count": count} | options
        output.with_suffix(".json").write_text(json.dumps(made_with, indent=2) + "\n")
        labels = [[artifact["label"] for artifact in artifacts] for artifacts in planted["artifacts"]]
    counts = Counter(label for image in labels for label in image)
    typer.echo(f"{len(labels)} images, {sum(not image for image in labels)} without an artifact")
    for name in plantable():
        typer.echo(f"{counts[name]:6} {name}")


def contact_sheet(images: list[np.ndarray], seed: int, tile: int = 64) -> Image.Image:
    """Every operator in a row: an untouched image, the planted image at three severities, and the mask at the last.

    Args:
        images (`list[np.ndarray]`): Real images of shape `(height, width, 3)`, uint8, to be tried in turn.
        seed (`int`): Seed of everything that is drawn.
        tile (`int`, *optional*, defaults to 64): Side of a picture on the sheet, in pixels.

    Returns:
        `PIL.Image.Image` in mode RGB. The operators are in the order of [`plantable`], those of evaluation first.
    """
    operators = sorted(OPERATORS, key=lambda entry: (plantable().index(entry.artifact), entry.use))
    text, step = 300, tile + 4
    sheet = Image.new("RGB", (text + (len(SEVERITIES) + 2) * step, len(operators) * step), "gainsboro")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    order = np.random.default_rng(seed).permutation(len(images))
    for row, entry in enumerate(operators):
        lines = [*textwrap.wrap(entry.artifact, 42), f"{entry.use}: {entry.effect.__name__}"]
        draw.multiline_text((4, row * step), "\n".join(lines), "black", font, spacing=2)
        pictures = _example(entry, [images[index] for index in np.roll(order, -row)], [seed, row])
        if not pictures:
            draw.text((text, row * step), "no place for it in these images", "black", font)
        for column, picture in enumerate(pictures):
            enlarged = Image.fromarray(picture).resize((tile, tile), Image.Resampling.NEAREST)
            sheet.paste(enlarged, (text + column * step, row * step))
    return sheet


def _example(entry: Operator, images: list[np.ndarray], seed: list[int]) -> list[np.ndarray]:
    """The first image that has a place for an artifact, planted at all severities, with the mask at the last one."""
    for image in images:
        answers = [entry(image / np.float32(255), severity, np.random.default_rng(seed)) for severity in SEVERITIES]
        planted = [answer for answer in answers if answer is not None]
        if len(planted) == len(SEVERITIES):
            pictures = [encoded((changed * 255).round().astype(np.uint8)) for changed, _ in planted]
            return [image, *pictures, planted[-1][1].astype(np.uint8) * 255]
    return []


@app.command("contact-sheet")
def make_contact_sheet(
    data: Annotated[list[str], typer.Option(help="Images, of which the real ones are taken.")],
    output: Annotated[Path, typer.Option(help="PNG file to write.")],
    image_size: Annotated[int, typer.Option(min=32, help="Height and width of the images.")] = 32,
    count: Annotated[int, typer.Option(min=1, help="How many images to choose from, drawn at random.")] = 100,
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn.")] = 0,
) -> None:
    """Draws every operator at three severities with its mask."""
    images = [pixels for _, pixels in readable(load_real(data, count, seed), image_size)]
    sheet = contact_sheet(images, seed, max(64, image_size))
    output.parent.mkdir(parents=True, exist_ok=True)
    # A palette makes the file a third as large.
    sheet.quantize(256, dither=Image.Dither.NONE).save(output, optimize=True)


if __name__ == "__main__":
    app()
