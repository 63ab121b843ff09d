"""The page of the Space, served by a fresh process from a folder that was built for it."""

import ast
import asyncio
import csv
import html
import re
from base64 import b64encode
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.conftest import equal
from tests.models import LABELS


gradio_client = pytest.importorskip("gradio_client")
mcp = pytest.importorskip("mcp")
streamable_http = pytest.importorskip("mcp.client.streamable_http")

EXAMPLES = Path(__file__).parents[1] / "examples"
PHOTO = EXAMPLES / "photo_cat.jpg"


@pytest.fixture(scope="module")
def page(space_url, tmp_path_factory):
    return gradio_client.Client(space_url, verbose=False, download_files=tmp_path_factory.mktemp("downloads"))


def upload(path: Path):
    return gradio_client.handle_file(str(path))


def test_an_image_gets_what_file_and_pixels_say(page):
    stated, verdict, picture, seen, answer = page.predict(upload(PHOTO), api_name="/show")
    assert "Nothing. That proves nothing" in stated
    assert "Fake (generated)" in verdict and f"{answer['fake_probability']:.1%}" in verdict
    assert Image.open(picture if isinstance(picture, str) else picture["path"]).width >= 480
    assert answer["label"] == "fake" and {artifact["label"] for artifact in answer["artifacts"]} == set(LABELS)
    places = [seen.index(f"<b>{artifact['label']}</b>") for artifact in answer["artifacts"]]
    assert places == sorted(places)


def test_what_a_file_says_is_text_on_the_page_and_never_html(page, tmp_path):
    info = PngInfo()
    info.add_text("parameters", "x\nSteps: 4, Version: <img src=x onerror=alert(1)>")
    Image.open(PHOTO).save(tmp_path / "made.png", pnginfo=info)
    stated, *_ = page.predict(upload(tmp_path / "made.png"), api_name="/show")
    assert "AUTOMATIC1111 &lt;img src=x onerror=alert(1)&gt; (PNG text)" in stated and "<img" not in stated
    table, _ = page.predict([upload(tmp_path / "made.png")], api_name="/show_many")
    assert "&lt;img" in table and "<img" not in table


def test_programs_get_the_answer_as_json(page):
    assert set(page.view_api(return_format="dict")["named_endpoints"]) == {"/judge"}
    answer = page.predict(upload(PHOTO), api_name="/judge")
    assert equal(answer, page.predict(upload(PHOTO), api_name="/show")[-1]) and answer["label"] == "fake"


def test_a_broken_file_gets_an_error_without_the_servers_paths(page, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"not an image")
    with pytest.raises(gradio_client.exceptions.AppError, match="broken.jpg: not an image") as error:
        page.predict(upload(tmp_path / "broken.jpg"), api_name="/judge")
    assert "/" not in str(error.value)


def test_no_file_gets_an_error(page):
    with pytest.raises(gradio_client.exceptions.AppError, match="Choose an image first"):
        page.predict(None, api_name="/judge")


def test_many_images_give_a_table_and_csv_though_one_is_broken(page, tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    paths = [PHOTO, tmp_path / "empty.png", EXAMPLES / "gan_00.jpg"]
    table, download = page.predict([upload(path) for path in paths], api_name="/show_many")
    with open(download, newline="", encoding="utf-8") as file:
        columns, *rows = csv.reader(file)
    assert [row[0] for row in rows] == [path.name for path in paths]
    assert [row[1] for row in rows] == ["fake", "", "fake"]
    assert rows[1][-1] == "empty.png: the file is empty" and float(rows[0][2]) > 0.9
    assert columns == re.findall("<th>(.*?)</th>", table)
    assert [cell for row in rows for cell in row] == [
        html.unescape(cell) for cell in re.findall("<td.*?>(.*?)</td>", table)
    ]


def test_a_formula_as_file_name_is_text_in_the_csv_file(page, tmp_path):
    (tmp_path / "-1.jpg").write_bytes((EXAMPLES / "gan_00.jpg").read_bytes())
    table, download = page.predict([upload(tmp_path / "-1.jpg")], api_name="/show_many")
    assert ">-1.jpg</td>" in table
    with open(download, newline="", encoding="utf-8") as file:
        assert list(csv.reader(file))[1][0] == "'-1.jpg"


async def ask_tools(address: str, *files: str) -> tuple[dict, list]:
    """The tools that an assistant is offered, by name, and what `judge` says to each file."""
    async with streamable_http.streamable_http_client(f"{address}/gradio_api/mcp/") as (read, write, _):
        async with mcp.ClientSession(read, write) as session:
            await session.initialize()
            tools = {tool.name: tool for tool in (await session.list_tools()).tools}
            return tools, [await session.call_tool("judge", {"path": file}) for file in files]


def test_an_assistant_gets_a_tool_that_says_what_it_takes(space_url):
    tools, _ = asyncio.run(ask_tools(space_url))
    assert set(tools) == {"judge"} and "whether an image is AI-generated" in tools["judge"].description
    assert "fake_probability" in tools["judge"].description
    (parameter,) = tools["judge"].inputSchema["properties"].items()
    assert parameter[0] == "path" and parameter[1]["type"] == "string"
    assert parameter[1]["description"].startswith("The file of the image")


def test_an_assistant_gets_the_answer_or_an_error(page, space_url):
    contents = (PHOTO.read_bytes(), b"no image")
    files = [f"data:image/jpeg;base64,{b64encode(content).decode()}" for content in contents]
    _, (answered, failed) = asyncio.run(ask_tools(space_url, *files))
    assert equal(ast.literal_eval(answered.content[0].text), page.predict(upload(PHOTO), api_name="/judge"))
    assert failed.isError and "not an image" in failed.content[0].text
