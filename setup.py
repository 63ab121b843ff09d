"""What setup.cfg cannot say: an editable install finds the package before Python looks into folders."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


# A script beside a clone named "tellsign" would import the clone's folder in place of the package in it.
FINDER_FIRST = "import sys; sys.meta_path.sort(key=lambda finder: '__editable___tellsign' not in repr(finder))\n"


class BuildPy(build_py):
    """Adds a line that Python runs at its start, after the one by which setuptools adds its finder at the end."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            path = Path(self.get_finalized_command("install").install_lib, "tellsign.pth")
            path.write_text(FINDER_FIRST)


setup(cmdclass={"build_py": BuildPy})
