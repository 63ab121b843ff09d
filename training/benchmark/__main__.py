"""Measures the speed of the detector beside well-known networks, and of whole answers, in one run on one machine.

python -m tellsign.training.benchmark
"""

import io
import timeit
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image
from torch import nn
from torchvision.models import resnet50
from tqdm.auto import tqdm
from transformers import (
    AutoImageProcessor,
    AutoModelForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
    pipeline,
)

from tellsign import DEFAULT_MODEL, WaveFreqConfig, WaveFreqForImageClassification, WaveFreqImageProcessor, load_image
from tellsign.tables import markdown_table
from tellsign.training.evaluation.timing import median_milliseconds


RIVAL = "ViT-B/16 at 224 px"


def candidates() -> dict[str, tuple[nn.Module, Any]]:
    """Networks by name, each with its image processor. All but the packaged one have random weights."""
    return {
        "WaveFreq, packaged": (
            AutoModelForImageClassification.from_pretrained(DEFAULT_MODEL),
            AutoImageProcessor.from_pretrained(DEFAULT_MODEL),
        ),
        "WaveFreq, packaged, in bfloat16": (
            AutoModelForImageClassification.from_pretrained(DEFAULT_MODEL, dtype=torch.bfloat16),
            AutoImageProcessor.from_pretrained(DEFAULT_MODEL),
        ),
        "WaveFreq, as first published": (
            WaveFreqForImageClassification(WaveFreqConfig.original()),
            WaveFreqImageProcessor(),
        ),
        "ResNet-50 at 32 px (torchvision)": (resnet50(num_classes=2), WaveFreqImageProcessor()),
        RIVAL: (ViTForImageClassification(ViTConfig()), ViTImageProcessor()),
    }


def jpeg_file(width: int, height: int) -> bytes:
    """The content of a JPEG file of random pixels, enlarged eight times where it can be.

    Of 1152x864 pixels it has 205 kB, as photographs of a megapixel often have.
    """
    scale = 8 if min(width, height) > 32 else 1
    pixels = np.random.default_rng(0).integers(0, 256, (height // scale, width // scale, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC).save(buffer, "JPEG")
    return buffer.getvalue()


def dtype_of(network: nn.Module) -> torch.dtype:
    return next(network.parameters()).dtype


def answer(network: nn.Module, processor: Any, content: bytes) -> None:
    """Answers one image: decoding, processing, network."""
    pixel_values = processor(load_image(content), return_tensors="pt")["pixel_values"]
    network(pixel_values.to(dtype_of(network)))


def pipelines() -> dict[str, Callable[[bytes], object]]:
    """The packaged pipeline for one image, from the verdict alone to sentences on three artifacts."""
    options: dict[str, Any] = {"task": "artifact-explanation", "explain": "always", "threshold": 0.0, "top_k": 3}
    explain, without = pipeline(**options), pipeline(**options, explainer=False)
    return {
        "verdict": partial(explain, explain="never"),
        "verdict, three names and boxes": without,
        "verdict, three names, boxes and sentences": explain,
    }


def main(
    batch_size: Annotated[int, typer.Option(help="Images at once for the throughput.")] = 256,
    rounds: Annotated[int, typer.Option(help="Measurements of each network. The median counts.")] = 5,
    latency_threads: Annotated[int, typer.Option(help="Threads for the latency of one image.")] = 1,
    throughput_threads: Annotated[int, typer.Option(help="Threads for the throughput.")] = torch.get_num_threads(),
    answer_threads: Annotated[int, typer.Option(help="Threads for a whole answer.")] = 2,
) -> None:
    """Prints the latency of one JPEG file of 32x32 pixels, decoding and processing included, and the throughput.

    The networks take turns in every round, after one round to warm up. They run in float32 unless their name says
    otherwise. The packaged pipeline follows, on that file and on one of a megapixel, which the second network judges.
    """
    content, larger = jpeg_file(32, 32), jpeg_file(1152, 864)
    networks = candidates()
    latency: dict[str, list[float]] = {name: [] for name in networks}
    duration: dict[str, list[float]] = {name: [] for name in networks}
    with torch.inference_mode():
        # In turns, so that a slow minute of the machine hits all networks alike.
        for turn in tqdm(range(rounds + 1), desc="Measuring", unit="round"):
            for name, (network, processor) in networks.items():
                network.eval()
                torch.set_num_threads(latency_threads)
                repeats = 1 if turn == 0 else 10
                latency[name] += timeit.repeat(partial(answer, network, processor, content), number=1, repeat=repeats)
                torch.set_num_threads(throughput_threads)
                size = processor.size["height"]
                batch = torch.randn(batch_size, 3, size, size, dtype=dtype_of(network))
                duration[name].append(timeit.timeit(partial(network, batch), number=1))

    columns = [
        "network",
        "parameters",
        "latency, ms",
        "images/s",
        f"latency of {RIVAL} / its own",
        "images/s relative to it",
    ]
    latencies = {name: 1000 * float(np.median(times[1:])) for name, times in latency.items()}
    rates = {name: batch_size / float(np.median(times[1:])) for name, times in duration.items()}
    rows = []
    for name, (network, _) in networks.items():
        parameters = sum(parameter.numel() for parameter in network.parameters()) / 1e6
        ratios = [f"{latencies[RIVAL] / latencies[name]:.1f}", f"{rates[name] / rates[RIVAL]:.1f}"]
        rows.append([name, f"{parameters:.2f} M", f"{latencies[name]:.1f}", f"{rates[name]:.0f}", *ratios])
    typer.echo(markdown_table(columns, rows) + "\n")

    rows = []
    for name, explain in pipelines().items():
        each = (median_milliseconds(partial(explain, file), answer_threads, rounds) for file in (content, larger))
        rows.append([name, *(f"{milliseconds:.0f}" for milliseconds in each)])
    titles = [f"answer of the pipeline, {answer_threads} threads", "of 32x32 pixels, ms", "of 1152x864 pixels, ms"]
    typer.echo(markdown_table(titles, rows))


if __name__ == "__main__":
    typer.run(main)
