"""Measures Idefics2-8b at its real size: loading in 4 bits, training an adapter, answers of the whole pipeline.

The weights are random ones of the same shapes.

python -m tellsign.training.benchmark.explainer
"""

import gc
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import torch
import typer
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import save_file
from transformers import (
    AutoTokenizer,
    Idefics2Config,
    Idefics2ForConditionalGeneration,
    Idefics2ImageProcessor,
    Idefics2Processor,
    pipeline,
)

from tellsign import DEFAULT_MODEL, load_image
from tellsign.pipelines.answer import Box, ExplainedArtifact
from tellsign.pipelines.explainer import ArtifactExplainer
from tellsign.pipelines.formats import to_synartifact
from tellsign.tables import markdown_table
from tellsign.training import train_explainer
from tellsign.training.trainer.adapter import nf4


def idefics2_8b() -> Idefics2Config:
    """The configuration of [HuggingFaceM4/idefics2-8b](https://huggingface.co/HuggingFaceM4/idefics2-8b).

    What it leaves to the defaults of transformers is left to them here.
    """
    return Idefics2Config(
        text_config={
            "model_type": "mistral",
            "max_position_embeddings": 32768,
            "pad_token_id": 0,
            "rms_norm_eps": 1e-5,
            "vocab_size": 32003,
        },
        vision_config={
            "hidden_size": 1152,
            "image_size": 980,
            "intermediate_size": 4304,
            "num_attention_heads": 16,
            "num_hidden_layers": 27,
            "patch_size": 14,
        },
    )


def write_random_model(config: Idefics2Config, folder: Path) -> int:
    """Writes an Idefics2 of random weights in bfloat16, a file at a time, with the packaged explainer's tokenizer.

    Its image processor scales as that of [`idefics2_8b`], but takes a picture whole, not in five parts.

    Returns:
        `int`: Number of parameters.
    """
    resampler: Any = config.perceiver_config
    processor = Idefics2Processor(
        Idefics2ImageProcessor(do_image_splitting=False),
        AutoTokenizer.from_pretrained(DEFAULT_MODEL / "explainer"),
        image_seq_len=resampler.resampler_n_latents,
        chat_template=train_explainer.CHAT_TEMPLATE,
    )
    config.image_token_id = processor.image_token_id
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        setattr(config.text_config, name, getattr(processor.tokenizer, name))
        setattr(config, name, getattr(processor.tokenizer, name))
    config.dtype = torch.bfloat16
    processor.save_pretrained(folder)
    config.save_pretrained(folder)
    with torch.device("meta"):
        model = Idefics2ForConditionalGeneration(config)
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    shards = split_torch_state_dict_into_shards(model.state_dict(), max_shard_size="2GB")
    for name, keys in shards.filename_to_tensors.items():
        weights = {key: torch.empty(shapes[key], dtype=torch.bfloat16).normal_(std=0.02) for key in keys}
        for key in keys:
            if key.endswith("norm.weight") or "layer_norm" in key and key.endswith("weight"):
                weights[key].fill_(1)
        save_file(weights, folder / name, metadata={"format": "pt"})
    index = {"metadata": shards.metadata, "weight_map": shards.tensor_to_filename}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return model.num_parameters()


def write_annotated_pictures(folder: Path) -> None:
    """Two pictures with an annotation of one artifact each."""
    folder.mkdir()
    for number, path in enumerate(sorted((DEFAULT_MODEL / "examples").glob("photo_*.jpg"))[:2]):
        image = load_image(path)
        image.save(folder / f"{number}.png")
        artifact = ExplainedArtifact(
            label="Artificial smoothness",
            box=Box(xmin=0, ymin=0, xmax=image.width // 2, ymax=image.height // 2),
            explanation="Top left: the surface is as smooth as wax.",
        )
        (folder / f"{number}.json").write_text(json.dumps(to_synartifact([artifact])))


class Stages:
    """Seconds and largest memory of the stages of a run.

    Memory is in GB of 10^9 bytes. Weights that lie in a mapped file do not count, since the system drops them at need.
    """

    def __init__(self) -> None:
        self.rows: list[list[str]] = []

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        gc.collect()
        process, is_over, peak, start = psutil.Process(), threading.Event(), 0, time.perf_counter()

        def watch() -> None:
            nonlocal peak
            while True:
                memory = process.memory_info()
                peak = max(peak, memory.rss - memory.shared)
                if is_over.wait(0.05):
                    return

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()
        self.rows.append([name, f"{time.perf_counter() - start:.0f}", f"{peak / 1e9:.1f}"])
        typer.echo(" | ".join(self.rows[-1]), err=True)


def measure(config: Idefics2Config, folder: Path) -> tuple[list[list[str]], dict]:
    """Takes an Idefics2 of random weights from its files to an answer.

    Args:
        config ([`Idefics2Config`]): The model's shapes.
        folder (`Path`): An empty folder for files of 2.6 times the size of the weights.

    Returns:
        Name, seconds and largest memory of each stage, and the answer.
    """
    stage = Stages()
    base, smaller, pictures, adapter = (folder / name for name in ("base", "nf4", "pictures", "adapter"))
    write_annotated_pictures(pictures)
    with stage("write random weights in bfloat16"):
        write_random_model(config, base)
    with stage("load them in 4 bits"):
        skipped = [train_explainer.VISION_TOWER, train_explainer.HEAD]
        explainer = ArtifactExplainer.from_pretrained(base, quantization_config=nf4(skipped))
    with stage("save these"):
        explainer.save_pretrained(smaller)
    del explainer
    with stage("train_explainer: load 4 bits, two steps of one picture, save the adapter"):
        train_explainer.main(
            [
                *("--model_name_or_path", str(smaller), "--annotated_data", str(pictures), "--load_in_4bit"),
                *("--max_steps", "2", "--per_device_train_batch_size", "1", "--output_dir", str(adapter)),
                *("--save_strategy", "no", "--report_to", "none"),
            ]
        )
    seconds = json.loads((adapter / "train_results.json").read_text())["train_runtime"]
    stage.rows.append(["of these the two steps", f"{seconds:.0f}", ""])
    with stage("load the pipeline with 4 bits and adapter"):
        options: dict[str, Any] = {"explain": "always", "threshold": 0.0, "top_k": 1}
        explain = pipeline("artifact-explanation", explainer=str(adapter), **options)  # type: ignore[call-overload]
    picture = DEFAULT_MODEL / "examples" / "gan_01.jpg"  # the packaged models name artifacts of small images alone
    for name in ("answer a picture, weights repacked", "answer it again"):
        with stage(name):
            answer = explain(str(picture))
    return stage.rows, answer


def main() -> None:
    """Prints seconds and largest memory of each stage. It needs 22 GB in the folder for temporary files."""
    config = idefics2_8b()
    with tempfile.TemporaryDirectory() as folder:
        rows, answer = measure(config, Path(folder))
    typer.echo(markdown_table(["Idefics2-8b", "seconds", "GB"], rows) + "\n")
    typer.echo(json.dumps(answer["artifacts"]))


if __name__ == "__main__":
    typer.run(main)
