"""The page on which people annotate images: what it asks of the server, and in a browser."""

import json
import shutil
import socket
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tellsign.annotating.files import annotation_file
from tellsign.configuration.artifacts import ARTIFACTS
from tellsign.training.train_tagger import main as train_tagger
from tests.conftest import open_page
from tests.models import make_tagger_model, tagger_options
from tests.processes import start_command, wait_for_address


EXAMPLES = Path(__file__).parents[1] / "examples"
SURE = {"a.png": 0.99, "b.png": 0.4, "c.png": 0.6}
ARTIFACT = {"label": "Artificial smoothness", "score": 0.8, "box": {"xmin": 0, "ymin": 0, "xmax": 9, "ymax": 9}}


@pytest.fixture
def folder(tmp_path):
    for number, name in enumerate(SURE):
        pixels = np.random.default_rng(number).integers(0, 255, (60, 80, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    return tmp_path


def judge(image: Path) -> dict:
    return {"label": "fake", "fake_probability": SURE.get(image.name, 0.5), "artifacts": [ARTIFACT]}


@pytest.fixture
def Annotator():
    pytest.importorskip("gradio")
    from tellsign.annotating.app import Annotator  # not where tests are collected: gradio takes seconds

    return Annotator


@pytest.fixture
def work(Annotator, folder):
    return Annotator(folder, judge, "", in_order=False)


def test_next_is_the_image_of_which_the_model_is_least_sure(work):
    assert work.start()["index"] == 0  # as long as nothing is judged
    work.judge_all()
    assert work.next({"index": 0})["index"] in (1, 2)
    view = work.open({"index": 1})
    assert work.save(view) == {"version": work.open({"index": 1})["version"], "done": 1}
    assert work.next({"index": 0})["index"] == 2
    work.save(work.open({"index": 2}))
    assert work.next({"index": 2})["index"] == 0
    work.in_order = True
    work.done = set()
    assert work.next({"index": 0})["index"] == 1


def test_a_server_that_starts_again_knows_what_is_annotated(Annotator, work, folder):
    work.save(work.open({"index": 1}))
    assert Annotator(folder, judge, "", in_order=True).done == {1}


def test_a_view_has_the_picture_upright_and_what_the_model_says(work, folder):
    view = work.open({"index": 0})
    assert (view["width"], view["height"], view["refused"]) == (80, 60, "")
    assert view["src"].startswith("data:image/png;base64,") and view["answer"]["artifacts"] == [ARTIFACT]


def test_a_file_that_cannot_be_read_is_refused_and_stays(work, folder):
    (folder / "a.json").write_text("{cut off")
    view = work.open({"index": 0})
    assert "a.json" in view["refused"]
    assert "error" in work.save(view) and (folder / "a.json").read_text() == "{cut off"


def test_a_broken_picture_is_refused(work, folder):
    (folder / "a.png").write_bytes(b"nothing")
    assert "a.png" in work.open({"index": 0})["refused"]


@pytest.mark.parametrize("annotation", [{"unknown": 1}, {"artifacts": [{}]}, {"artifacts": 3}, {"verdict": "maybe"}])
def test_a_request_that_is_not_as_described_changes_nothing(work, folder, annotation):
    request = work.open({"index": 0}) | {"annotation": annotation}
    assert work.save(request)["error"] and not (folder / "a.json").exists()


def test_a_number_in_a_challenges_file_is_that_of_the_image(Annotator, folder):
    shutil.copy(folder / "a.png", folder / "7.png")
    entry = {"index": 7, "explanation": {"Artificial smoothness": "Top left: Fur is smooth."}}
    (folder / "answers.json").write_text(json.dumps([entry]))
    (artifact,) = Annotator(folder, judge, "", in_order=True).open({"index": 0})["annotation"]["artifacts"]
    assert artifact["explanation"] == "Fur is smooth." and artifact["box"]["xmax"] == 27


def test_a_folder_that_nobody_may_write_into_is_refused_at_once(Annotator, folder, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(PermissionError):
        Annotator(folder, judge, "", in_order=True)


@pytest.fixture
def model(tiny_model, tmp_path_factory) -> Path:
    """A tiny model whose tagger finds four of the 70 artifacts in every image."""
    folder = tmp_path_factory.mktemp("model") / "model"
    shutil.copytree(tiny_model, folder)
    names = [artifact.name for artifact in ARTIFACTS[:4]]
    options = {"artifact_labels": names, "trained_artifacts": names, "artifact_thresholds": [0.0] * 4}
    make_tagger_model(**options).save_pretrained(folder / "tagger")
    return folder


@contextmanager
def serving(folder: Path, model: Path, port: int):
    """Runs `tellsign annotate`; gives its process."""
    command = ["annotate", str(folder), "--model", str(model), "--port", str(port), "--in-order", "--no-browser"]
    process, printed = start_command(command, GRADIO_ANALYTICS_ENABLED="False")
    try:
        wait_for_address(printed)
        yield process
    finally:
        process.kill()
        process.join()
        printed.close()


def test_a_killed_server_loses_nothing_of_three_annotations(
    browser,
    Annotator,
    folder,
    model,
    textured,
    tmp_path_factory,
):
    (folder / "a.json").write_text(json.dumps({"Artifacts annotation": [], "by": "<img src=x onerror=alert(1)>"}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    expect = pytest.importorskip("playwright.sync_api").expect

    def saved(name: str) -> dict:
        return json.loads((folder / name).read_text())

    with serving(folder, model, port) as server:
        page = open_page(browser, url)
        page.on("dialog", lambda dialog: pytest.fail(f"the page ran what a file says: {dialog.message}"))
        status = expect(page.locator("[data-show=status]"))
        expect(page.get_by_text("1 of 3, 0 annotated")).to_be_visible()
        expect(page.get_by_text("The model says fake")).to_be_visible()
        expect(page.locator(".artifacts li.proposed")).to_have_count(4)

        # By mouse: a box of a quarter of the picture, a name by its definition, a sentence, the verdict.
        frame = page.locator(".canvas img").bounding_box()
        corner = frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2
        page.mouse.move(frame["x"] + 1, frame["y"] + 1)
        page.mouse.down()
        page.mouse.move(*corner, steps=3)
        page.mouse.up()
        page.get_by_label("Name of the artifact").fill("polished like wax")
        page.get_by_text("Artificial smoothness").first.click()
        page.get_by_label("Sentence").fill("The skin looks like wax.")
        page.get_by_role("button", name="Fake").click()
        status.to_have_text("Saved")
        (entry,) = saved("a.json")["Artifacts annotation"]
        assert entry["artifacts_class"] == "Artificial smoothness"
        assert entry["artifacts_caption"] == "The skin looks like wax."
        assert entry["rect_start"] == [0, 0] and np.allclose(entry["rect_end"], [40, 30], atol=1)
        assert saved("a.json")["verdict"] == "fake" and saved("a.json")["by"].startswith("<img")

        # The box is pulled by its corner, and that is undone.
        page.mouse.move(*corner)
        page.mouse.down()
        page.mouse.move(frame["x"] + frame["width"] - 2, frame["y"] + frame["height"] - 2, steps=3)
        page.mouse.up()
        status.to_have_text("Saved")
        assert np.allclose(saved("a.json")["Artifacts annotation"][0]["rect_end"], [80, 60], atol=1)
        page.get_by_role("button", name="Undo").click()
        status.to_have_text("Saved")
        assert saved("a.json")["Artifacts annotation"] == [entry]

        # By keys: a proposal is accepted, one rejected, a note written.
        page.keyboard.press("n")
        expect(page.get_by_text("2 of 3, 1 annotated")).to_be_visible()
        names = page.locator(".artifacts li span").all_text_contents()
        for key in ("a", "j", "x", "3", "m"):
            page.keyboard.press(key)
        page.keyboard.type("not easy")
        page.keyboard.press("Escape")
        status.to_have_text("Saved")
        second = saved("b.json")
        assert [found["artifacts_class"] for found in second["Artifacts annotation"]] == names[:1]
        assert (second["rejected"], second["verdict"], second["note"]) == (names[1:2], "unsure", "not easy")

        # The server is killed; what is done meanwhile waits, and goes to the one that is started again.
        page.keyboard.press("n")
        expect(page.get_by_text("3 of 3, 2 annotated")).to_be_visible()
        server.kill()
        server.join()
        for key in ("b", "g", "h", "o", "s", "t", "Enter", "ArrowRight", "Shift+ArrowUp", "c", "1"):
            page.keyboard.press(key)
        status.to_contain_text("does not answer")
        assert not (folder / "c.json").exists()
    with serving(folder, model, port):
        status.to_have_text("Saved", timeout=60_000)
        third = saved("c.json")
        (entry,) = third["Artifacts annotation"]
        assert entry["artifacts_class"].startswith("Ghosting") and third["verdict"] == "real" and third["complete"]
        assert (entry["rect_start"], entry["rect_end"]) == ([21, 15], [61, 44])
        page.reload()
        expect(page.get_by_text("1 of 3, 3 annotated")).to_be_visible()
        page.close()

    # Somebody else's name, whose files are apart.
    assert annotation_file(folder / "a.png", "bert").read()[0].artifacts == []

    output = tmp_path_factory.mktemp("trained")
    train_tagger(tagger_options(textured, output, annotated_data=folder, max_steps=2))
    assert (output / "model.safetensors").is_file()
