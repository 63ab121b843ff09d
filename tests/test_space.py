"""The page of the Space, served by a fresh process from a folder that was built for it."""

import csv
from pathlib import Path

import pytest
from PIL import Image

from tests.test_modeling_artifact_siglip import LABELS


gradio_client = pytest.importorskip("gradio_client")
pytest.importorskip("gradio")

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def page(space_url, tmp_path_factory):
    return gradio_client.Client(space_url, verbose=False, download_files=tmp_path_factory.mktemp("downloads"))


def upload(path: Path):
    return gradio_client.handle_file(str(path))


def test_an_image_gets_a_verdict_a_picture_a_table_and_json(page):
    verdict, picture, table, answer = page.predict(upload(EXAMPLES / "photo_cat.jpg"), api_name="/judge")
    assert "## Fake (generated)" in verdict and f"{answer['fake_probability']:.1%}" in verdict
    assert Image.open(picture if isinstance(picture, str) else picture["path"]).width >= 480
    assert answer["label"] == "fake" and {artifact["label"] for artifact in answer["artifacts"]} == set(LABELS)
    assert [row[0] for row in table["data"]] == [artifact["label"] for artifact in answer["artifacts"]]
    assert all(row[1].endswith("%") and row[2] for row in table["data"])


def test_others_may_call_the_functions_of_the_two_buttons_alone(page):
    assert set(page.view_api(return_format="dict")["named_endpoints"]) == {"/judge", "/judge_many"}


def test_a_broken_file_gets_an_error_that_says_why_without_paths_of_the_server(page, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"not an image")
    with pytest.raises(gradio_client.exceptions.AppError, match="broken.jpg: not an image") as error:
        page.predict(upload(tmp_path / "broken.jpg"), api_name="/judge")
    assert "/" not in str(error.value)


def test_no_file_gets_an_error(page):
    with pytest.raises(gradio_client.exceptions.AppError, match="Choose an image first"):
        page.predict(None, api_name="/judge")


def test_many_images_give_a_table_and_the_same_as_csv_and_a_broken_one_costs_only_its_row(page, tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    paths = [EXAMPLES / "photo_cat.jpg", tmp_path / "empty.png", EXAMPLES / "gan_00.jpg"]
    table, download = page.predict([upload(path) for path in paths], api_name="/judge_many")
    rows = table["data"]
    assert [row[0] for row in rows] == [path.name for path in paths]
    assert [row[1] for row in rows] == ["fake", "", "fake"]
    assert rows[1][4] == "empty.png: the file is empty" and rows[0][2] > 0.9
    with open(download, newline="", encoding="utf-8") as file:
        written = list(csv.reader(file))
    assert written[0] == table["headers"]
    assert [row[:2] for row in written[1:]] == [row[:2] for row in rows]


def test_a_file_name_that_a_spreadsheet_would_compute_is_text_in_the_csv_file(page, tmp_path):
    (tmp_path / "-1.jpg").write_bytes((EXAMPLES / "gan_00.jpg").read_bytes())
    table, download = page.predict([upload(tmp_path / "-1.jpg")], api_name="/judge_many")
    assert table["data"][0][0] == "-1.jpg"
    with open(download, newline="", encoding="utf-8") as file:
        assert list(csv.reader(file))[1][0] == "'-1.jpg"
