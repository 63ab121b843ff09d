"""The snippets of the README run as they stand."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = re.findall(r"^python -m (tellsign\.\S+)(.*)$", README, re.MULTILINE)


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_a_snippet_runs_in_a_fresh_process_where_the_examples_lie(number, tmp_path):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    ran = subprocess.run([sys.executable, "-c", SNIPPETS[number]], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("module", sorted({module for module, _ in COMMANDS}))
def test_the_options_of_a_command_exist(module):
    ran = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        capture_output=True,
        text=True,
        env={"COLUMNS": "400", "HF_HUB_OFFLINE": "1"},
    )
    assert ran.returncode == 0, ran.stderr
    own = " ".join(arguments.split(" -- ")[0] for name, arguments in COMMANDS if name == module)
    assert all(option in ran.stdout for option in re.findall(r"--[\w-]+", own))


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+)\)", README))))
def test_links_lead_to_files_that_exist(target):
    assert target.startswith("https://") or (ROOT / target).exists()
