"""A file of answers, one JSON object a line, to which a run that was stopped adds those that are missing."""

import json
import os
import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any


def spelt(text: str) -> str:
    """A name, or a message with one, as JSON can hold it: other bytes than UTF-8 are spelt out."""
    return text.encode("utf-8", "backslashreplace").decode()


class AnswerFile:
    """The answers in a file, which may not exist yet.

    Args:
        path (`Path`): The file. A link to one is followed.

    Raises:
        ValueError: If it is no file, or holds something else than such answers. A last line that was cut off counts as
            none.
    """

    def __init__(self, path: Path):
        self.path = path.resolve()
        self.lines: list[str] = []
        self.answers: list[dict[str, Any]] = []
        if not self.path.exists():
            return
        if not self.path.is_file():
            raise ValueError("is no file")
        begin = '{"image": '
        for line in self.path.read_text(encoding="utf-8").splitlines(keepends=True):
            try:
                answer = json.loads(line)
                is_answer = isinstance(answer, dict) and isinstance(answer.get("image"), str)
            except json.JSONDecodeError:
                if not line.endswith("\n") and line[: len(begin)] == begin[: len(line)]:
                    break  # cut off
                is_answer = False
            if not is_answer:
                raise ValueError(f"holds something else than answers: {line.strip()[:50]}")
            self.lines.append(line.rstrip("\n") + "\n")
            self.answers.append(answer)

    def answered(self) -> set[str]:
        """The images that have a verdict."""
        return {answer["image"] for answer in self.answers if "error" not in answer}

    def drop(self, images: Collection[str]) -> None:
        """Removes the answers of these images, and what was cut off. Nothing is lost if it is stopped meanwhile."""
        pairs = zip(self.lines, self.answers, strict=True)
        content = "".join(line for line, answer in pairs if answer["image"] not in images)
        if not self.path.exists() or self.path.read_text(encoding="utf-8") == content:
            return
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=self.path.parent, delete=False) as file:
            file.write(content)
        shutil.copymode(self.path, file.name)
        os.replace(file.name, self.path)


__all__ = ["AnswerFile", "spelt"]
