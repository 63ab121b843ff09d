"""The handler of Inference Endpoints, in a repository as it is pushed."""

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import snapshot_download
from PIL import Image

from tellsign.hub_cards.export import push
from tellsign.hub_cards.handler import URLS, EndpointHandler
from tests.conftest import equal, run_script
from tests.test_hub import HIDE, PHOTO, client, expected, folder, hub  # noqa: F401 - fixtures


BASE64 = base64.b64encode(PHOTO.read_bytes()).decode()
# How huggingface-inference-toolkit loads it.
LOAD = """
import importlib.util, json, sys
folder = sys.argv[1]
spec = importlib.util.spec_from_file_location("handler.EndpointHandler", folder + "/handler.py")
sys.path.insert(0, folder)
module = importlib.util.module_from_spec(spec)
sys.modules["handler.EndpointHandler"] = module
spec.loader.exec_module(module)
print(json.dumps(module.EndpointHandler(folder)(json.load(sys.stdin))))
"""


@pytest.fixture(scope="module")
def handler(folder) -> EndpointHandler:  # noqa: F811
    return EndpointHandler(str(folder))


@pytest.mark.parametrize("self_contained", [False, True])
def test_a_pushed_repository_answers_as_an_endpoint(client, folder, expected, tmp_path, self_contained):  # noqa: F811
    push(folder, "anna/endpoint", self_contained=self_contained)
    snapshot = snapshot_download("anna/endpoint", local_dir=tmp_path / "repository")
    requirements = (Path(snapshot) / "requirements.txt").read_text().splitlines()
    assert any(line.startswith("torch>=") for line in requirements)
    assert not any(line.startswith("gradio") for line in requirements)
    assert any(line.startswith("tellsign") for line in requirements) != self_contained
    request = json.dumps({"inputs": [BASE64, "broken"]})
    if self_contained:
        command = [sys.executable, "-c", HIDE + LOAD, snapshot]
        ran = subprocess.run(command, input=request, capture_output=True, text=True, cwd=tmp_path)
        assert ran.returncode == 0, ran.stderr
        printed = ran.stdout
    else:
        assert run_script(LOAD, tmp_path / "printed", snapshot, given=request) == 0
        printed = (tmp_path / "printed").read_text()
    answer, error = json.loads(printed.splitlines()[-1])
    assert equal(answer, expected) and "base64" in error["error"]


def test_an_image_in_any_form_is_answered_by_an_object(handler, expected):  # noqa: F811
    for image in (BASE64, f"data:image/jpeg;base64,{BASE64}", PHOTO.read_bytes(), Image.open(PHOTO)):
        assert equal(handler({"inputs": image}), expected)


def test_a_list_gets_a_list_with_errors_in_their_places(handler):
    no_image = base64.b64encode(b"no image").decode()
    answers = handler({"inputs": [BASE64, no_image, str(PHOTO), 7, None, ""], "parameters": {"explain": "never"}})
    assert ["error" in answer for answer in answers] == [False, True, True, True, True, True]
    assert handler({"inputs": []}) == []


def test_parameters_reach_the_pipeline_and_wrong_ones_are_named(handler):
    assert handler({"inputs": BASE64, "parameters": {"explain": "never"}})["artifacts"] == []
    assert len(handler({"inputs": BASE64, "parameters": {"top_k": 1}})["artifacts"]) == 1
    for request, reason in (
        ({"inputs": BASE64, "parameters": {"timeout": 1}}, "no timeout"),
        ({"inputs": BASE64, "parameters": {"explain": "maybe"}}, "explain='maybe'"),
        ({"image": BASE64}, "has no inputs"),
    ):
        with pytest.raises(ValueError, match=reason):
            handler(request)


def test_addresses_are_fetched_only_if_the_endpoint_allows_it(folder, handler, monkeypatch):  # noqa: F811
    address = "http://127.0.0.1:9/photo.jpg"
    assert "fetches no addresses" in handler({"inputs": address})["error"]
    monkeypatch.setenv(URLS, "1")
    assert "Connection refused" in EndpointHandler(str(folder))({"inputs": address})["error"]
