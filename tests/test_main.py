import json
import subprocess
import sys

from PIL import Image
from typer.testing import CliRunner

from tellsign.__main__ import app


def test_detect_answers_each_image_and_names_the_broken_one(checkpoint, tmp_path):
    for name, colour in (("a.png", "red"), ("c.png", "blue")):
        Image.new("RGB", (50, 40), colour).save(tmp_path / name)
    (tmp_path / "b.png").write_bytes(b"broken")
    paths = [str(tmp_path / name) for name in ("a.png", "b.png", "c.png")]
    result = CliRunner().invoke(app, ["detect", *paths, "--model", str(checkpoint)], catch_exceptions=False)
    first, second, third = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 1
    for answer, path in ((first, paths[0]), (third, paths[2])):
        assert answer["image"] == path
        assert answer["label"] == ("fake" if answer["fake_probability"] > 0.5 else "real")
    assert second["image"] == paths[1] and "not an image" in second["error"]


def test_detect_uses_the_packaged_model_in_a_fresh_process(tmp_path):
    Image.new("RGB", (64, 64), "green").save(tmp_path / "a.png")
    command = [sys.executable, "-m", "tellsign", "detect", str(tmp_path / "a.png")]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert 0 <= json.loads(result.stdout)["fake_probability"] <= 1
