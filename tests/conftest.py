import gc
import io
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TextIO

import numpy as np
import pytest
from PIL import Image

import tellsign


os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when huggingface_hub is imported, which tellsign leaves for later
# The process that only hands out the tests reads this file too. What takes seconds is imported where it is needed.
gc.disable()  # until all tests are imported
# Fresh processes that need not import anew what takes seconds.
FRESH = multiprocessing.get_context("forkserver")
FRESH.set_forkserver_preload([f"tellsign.training.train_{part}" for part in ("detector", "tagger", "explainer")])
TINY = {
    "embedding_size": 4,
    "hidden_sizes": [4, 8, 8],
    "depths": [1, 1, 1],
    "frequency_hidden_sizes": [2, 4],
}
TINY_LARGE = {"backbone": "tf_efficientnet_lite0", "out_indices": [2, 3], "hidden_size": 8, "image_size": 64}
"""Of the network for large pictures."""
TINY_BOTH = {"large_picture_config": TINY_LARGE}
LARGE_PROCESSOR = {"large_picture_processor": {"size": {"height": 64, "width": 64}, "smallest_side": 64}}
# The folder's copy of the package must run, whatever is installed.
LAUNCH = """
import runpy, sys
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in getattr(finder, "__module__", "")]
sys.path.insert(0, ".")
import tellsign
assert tellsign.__file__.startswith(sys.argv[1]), tellsign.__file__
runpy.run_path("app.py", run_name="__main__")
"""


def equal(first, second) -> bool:
    """Whether two answers are equal, scores up to rounding."""
    if isinstance(first, float):
        return first == pytest.approx(second, abs=1e-5)
    if isinstance(first, dict):
        return list(first) == list(second) and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(equal, first, second))
    return first == second


def run_fresh(target: Callable, *arguments, variables: Sequence[dict[str, str]] = ({},)) -> list[int]:
    """Calls a function in a fresh process for each set of environment variables; returns their exit statuses."""
    processes = [FRESH.Process(target=_run, args=(os.getcwd(), each, target, *arguments)) for each in variables]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def _run(folder: str, variables: dict[str, str], target: Callable, *arguments) -> None:
    multiprocessing.set_start_method(None, force=True)  # or processes of this one would wait for another fork server
    gc.freeze()  # what is imported is not looked through again and again
    gc.enable()
    os.chdir(folder)
    os.environ.update(variables)
    target(*arguments)


def run_script(script: str, output: Path) -> int:
    """Runs a script in a fresh process that has loaded the package; returns its exit status.

    What it prints goes into a file.
    """
    (status,) = run_fresh(_run_script, script, output)
    return status


def _run_script(script: str, output: Path) -> None:
    with output.open("w") as file, redirect_stdout(file):
        exec(script, {"__name__": "__main__"})


def start_command(arguments: Sequence[str], **variables: str) -> tuple[BaseProcess, TextIO]:
    """Starts a command of tellsign in a fresh process that has loaded the package; also gives what it prints."""
    reader, writer = FRESH.Pipe(duplex=False)
    process = FRESH.Process(target=_run, args=(os.getcwd(), variables, _run_command, arguments, writer))
    process.start()
    writer.close()
    printed = os.fdopen(os.dup(reader.fileno()))
    reader.close()
    return process, printed


def _run_command(arguments: Sequence[str], writer: Connection) -> None:
    from tellsign.__main__ import app

    for stream in (sys.stdout, sys.stderr):
        os.dup2(writer.fileno(), stream.fileno())
    sys.stdout.reconfigure(line_buffering=True)
    writer.close()
    app(arguments)


def run_until_killed(train: Callable, arguments: list[str]) -> int:
    """Runs a training that is killed after its seventh step; returns its exit status."""
    (status,) = run_fresh(_train_until_killed, train, arguments)
    return status


def _train_until_killed(train: Callable, arguments: list[str]) -> None:
    from tellsign.training.trainer.averaging import WeightAveraging

    on_step_end = WeightAveraging.on_step_end

    def kill(self, args, state, control, **kwargs):
        on_step_end(self, args, state, control, **kwargs)
        if state.global_step == 7:
            os.kill(os.getpid(), signal.SIGKILL)

    WeightAveraging.on_step_end = kill
    train(arguments)


def train_in_two_processes(train: Callable, arguments: list[str]) -> None:
    """Runs a training in two processes on the CPU, with the variables that `accelerate launch` and torchrun set."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        both = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    variables = [both | {"RANK": rank, "LOCAL_RANK": rank} for rank in "01"]
    assert run_fresh(train, [*arguments, "--ddp_backend=gloo"], variables=variables) == [0, 0]


def pytest_collection_finish():
    gc.freeze()  # what is imported is not looked through again and again
    gc.enable()


@pytest.fixture(autouse=True, scope="session")
def _no_wait():
    from datasets import config

    # After a stream, datasets waits 5 seconds for Arrow's threads: https://github.com/apache/arrow/issues/45214
    config.SLEEP_TIME_ON_THREADS_SHUTDOWN = 0


@pytest.fixture(autouse=True)
def _seed():
    import torch

    torch.manual_seed(0)


@pytest.fixture(scope="session")
def make_model():
    """A function that makes a tiny model from configuration fields, with real batch statistics."""
    import torch

    def make(**fields) -> tellsign.WaveFreqForImageClassification:
        model = tellsign.WaveFreqForImageClassification(tellsign.WaveFreqConfig(**(TINY | fields)))
        torch.nn.init.normal_(model.classifier.weight)  # logits of order 1 give a tolerance meaning
        size = model.config.image_size
        with torch.no_grad():
            model.train()(torch.randn(8, 3, size, size))
        return model.eval()

    return make


@pytest.fixture
def checkpoint(make_model, tmp_path):
    """Folder of a saved tiny model with its image processor."""
    make_model().save_pretrained(tmp_path / "checkpoint")
    tellsign.WaveFreqImageProcessor().save_pretrained(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def encode(pixels: np.ndarray, image_format: str = "JPEG", **options) -> bytes:
    buffer = io.BytesIO()
    if image_format == "JPEG":
        options = {"quality": 75, "subsampling": "4:2:0"} | options
    Image.fromarray(pixels).save(buffer, image_format, **options)
    return buffer.getvalue()


def write_parquet(path: Path, **columns) -> str:
    from datasets import Dataset

    Dataset.from_dict(columns).to_parquet(path)
    return str(path)


@pytest.fixture(scope="session")
def synthetic_rows() -> dict[str, list]:
    """24 smooth images called real and 24 noisy ones called fake, as CIFAKE encodes them."""
    generator = np.random.default_rng(0)
    rows: dict[str, list] = {"image": [], "label": [], "generator": []}
    for index in range(48):
        pixels = np.zeros((32, 32, 3)) + np.linspace(0, 200, 32)[:, None, None] + generator.uniform(0, 50, 3)
        if index % 2:
            pixels = pixels + generator.normal(0, 40, pixels.shape)
        rows["image"].append(encode(pixels.clip(0, 255).astype(np.uint8)))
        rows["label"].append("fake" if index % 2 else "real")
        rows["generator"].append("noise" if index % 2 else "camera")
    return rows


@pytest.fixture(scope="session")
def large_sources(tmp_path_factory) -> str:
    """64 pictures of 130 pixels and more from four collections and four generators; the generated ones are noisy."""
    rng, rows = np.random.default_rng(0), []
    real = {"zoo": "photo", "park": "photo", "street": "photo", "museum": "artwork"}
    for number, name in enumerate([*real, "dream-1", "dream-2", "flux-dev", "stylegan2-cat"]):
        for _ in range(8):
            height, width = rng.integers(130, 150, 2)
            pixels = np.linspace(0, 150, width)[:, None] * rng.uniform(0, 1, 3) + np.zeros((height, 1, 1))
            pixels += rng.normal(0, 4 if name in real else 40, pixels.shape)
            row = {"image": encode(pixels.clip(0, 255).astype(np.uint8)), "generator": name}
            row |= {"label": "real" if name in real else "fake", "kind": real.get(name, "generated")}
            rows.append(row | {"source": f"person {number}/set@abc:1"})
    path = tmp_path_factory.mktemp("large") / "sources.parquet"
    return write_parquet(path, **{name: [row[name] for row in rows] for name in rows[0]})


@pytest.fixture(scope="session")
def parquet(synthetic_rows, tmp_path_factory) -> str:
    """The synthetic images as a parquet file."""
    return write_parquet(tmp_path_factory.mktemp("data") / "images.parquet", **synthetic_rows)


@pytest.fixture
def evaluation() -> dict:
    """The least that an `evaluation.json` may hold."""
    scores = {"accuracy": 0.75, "auroc": 0.5}
    result = {"name": "all", "real": 2, "fake": 2, "scores": scores, "intervals": dict.fromkeys(scores, [0.25, 1.0])}
    return {"parameters": 5, "temperature": 1.0, "data": ["my images.parquet"], "results": [result]}


@pytest.fixture(scope="session")
def textured(tmp_path_factory) -> str:
    """48 images with edges and texture, in which artifacts can be planted, with a category; half are called fake."""
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[:32, :32]
    table: dict[str, list] = {"image": [], "label": [], "category": []}
    for index in range(48):
        pixels = np.full((32, 32, 3), generator.uniform(40, 200, 3))
        inside = (rows - generator.uniform(8, 24)) ** 2 + (columns - generator.uniform(8, 24)) ** 2 < 100
        pixels[inside] = generator.uniform(40, 200, 3) + generator.normal(0, 15, (inside.sum(), 1))
        table["image"].append(encode(pixels.clip(0, 255).astype(np.uint8)))
        table["label"].append("fake" if index % 2 else "real")
        table["category"].append("disc" if index % 3 else "ball")
    return write_parquet(tmp_path_factory.mktemp("textured") / "images.parquet", **table)


@pytest.fixture
def with_categories(synthetic_rows, tmp_path) -> str:
    """The synthetic images, of which most real ones are known to show a ramp or a slope, and a fake one too."""
    known = ["ramp", "ramp", "slope", None, "", "cliff"]
    return write_parquet(tmp_path / "known.parquet", **synthetic_rows, category=8 * known)


@pytest.fixture(scope="session")
def imagefolder(synthetic_rows, tmp_path_factory) -> str:
    """The synthetic images as a folder with one subfolder a class."""
    folder = tmp_path_factory.mktemp("folder")
    for index, (image, label) in enumerate(zip(synthetic_rows["image"], synthetic_rows["label"], strict=True)):
        (folder / label).mkdir(exist_ok=True)
        (folder / label / f"{index}.jpg").write_bytes(image)
    return str(folder)


def wait_for_address(printed: TextIO) -> None:
    """Reads what a server prints until it answers."""
    lines = []
    for line in printed:
        lines.append(line)
        if "Running on local URL" in line:
            return
    pytest.fail("".join(lines))


@contextmanager
def serve(space: Path, **variables: str) -> Iterator[str]:
    """Runs a Space in a process of its own; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = os.environ | {
        "GRADIO_SERVER_PORT": port,
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_TEMP_DIR": str(space.parent / "uploads"),
        "HF_HUB_OFFLINE": "1",
        "PYTHONUNBUFFERED": "1",
    }
    environment.pop("TELLSIGN_MODEL", None)
    command = [sys.executable, "-c", LAUNCH, str(space)]
    with subprocess.Popen(
        command,
        cwd=space,
        env=environment | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as server:
        wait_for_address(server.stdout)
        yield f"http://127.0.0.1:{port}"
        server.terminate()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    """Folder of a tiny detector, which calls everything fake, and of a tagger that finds four artifacts in it."""
    from tests.test_modeling_artifact_siglip import (
        LABELS,
        make_processor,
        make_tagger_model,
    )  # which imports this file

    home = tmp_path_factory.mktemp("tiny")
    config = tellsign.WaveFreqConfig(**TINY, verdict_thresholds=[0.2, 0.9])
    model = tellsign.WaveFreqForImageClassification(config).eval()
    model.classifier.bias.data.fill_(5.0)
    model.save_pretrained(home / "model")
    tellsign.WaveFreqImageProcessor().save_pretrained(home / "model")
    make_tagger_model(trained_artifacts=LABELS, artifact_thresholds=[0.0] * 4).save_pretrained(
        home / "model" / "tagger"
    )
    make_processor().save_pretrained(home / "model" / "tagger")
    shutil.copytree(Path(__file__).parents[1] / "examples", home / "model" / "examples")
    return home / "model"


@pytest.fixture(scope="session")
def space_url(tiny_model, tmp_path_factory):
    """Address of the Space of a tiny model."""
    from tellsign.hub_cards.export import build_space

    home = tmp_path_factory.mktemp("space")
    build_space(home / "space", tiny_model)
    with serve(home / "space") as url:
        yield url
