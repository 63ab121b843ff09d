import json
import subprocess
import sys

from PIL import Image
from typer.testing import CliRunner

from tellsign.__main__ import app


def test_explain_answers_each_image_and_names_the_broken_one(checkpoint, tmp_path):
    for name, colour in (("a.png", "red"), ("c.png", "blue")):
        Image.new("RGB", (50, 40), colour).save(tmp_path / name)
    (tmp_path / "b.png").write_bytes(b"broken")
    options = ["--explain", "never", "--model", str(checkpoint)]
    result = CliRunner().invoke(app, ["explain", str(tmp_path / "*.png"), *options], catch_exceptions=False)
    first, second, third = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 1
    for answer, name in ((first, "a.png"), (third, "c.png")):
        assert answer["image"] == str(tmp_path / name)
        assert answer["label"] == ("fake" if answer["fake_probability"] > 0.5 else "real")
    assert second["image"] == str(tmp_path / "b.png") and "not an image" in second["error"]


def test_explain_uses_the_packaged_models_in_a_fresh_process(tmp_path):
    Image.new("RGB", (64, 64), "green").save(tmp_path / "a.png")
    command = [sys.executable, "-m", "tellsign", "explain", str(tmp_path / "a.png"), "--explain", "always"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    answer = json.loads(result.stdout)
    assert answer["label"] in ("real", "fake", "uncertain") and 0 <= answer["fake_probability"] <= 1
    assert (answer["width"], answer["height"]) == (64, 64)
