"""Answers as lines of JSON, and a file of them to which a run that was stopped adds those that are missing."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO


def spelt(text: str) -> str:
    """A name, or a message with one, as JSON and parquet can hold it: other bytes than UTF-8 are spelt out."""
    return text.encode("utf-8", "backslashreplace").decode()


def answer_line(image: str, answer: dict[str, Any]) -> str:
    """An answer, or the error in its place, as a line of JSON that begins with the name of its image."""
    error = {"error": spelt(answer["error"])} if "error" in answer else {}
    return json.dumps({"image": spelt(image)} | answer | error)


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
        if self.path.exists() and not self.path.is_file():
            raise ValueError("is no file")
        self.content = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        self.answers: list[tuple[str, dict[str, Any]]] = []
        begin = '{"image": '
        for line in self.content.splitlines(keepends=True):
            try:
                answer = json.loads(line)
                is_answer = isinstance(answer, dict) and isinstance(answer.get("image"), str)
            except json.JSONDecodeError:
                if not line.endswith("\n") and line[: len(begin)] == begin[: len(line)]:
                    break  # cut off
                is_answer = False
            if not is_answer:
                raise ValueError(f"holds something else than answers: {line.strip()[:50]}")
            self.answers.append((line.rstrip("\n") + "\n", answer))
        self.made_with = {
            answer["image"]: answer.get("made_with") for _, answer in self.answers if "error" not in answer
        }

    def has_verdict(self, image: str, made_with: dict[str, Any]) -> bool:
        """Whether there is an answer for an image of this name that is no error, and was made with the same."""
        return self.made_with.get(spelt(image)) == made_with

    def reopen(self, images: Iterable[str]) -> TextIO:
        """Opens it for the answers of these images, after the others: without those that they had, and without what
        was cut off. Nothing is lost if it is stopped meanwhile."""
        anew = set(map(spelt, images))
        content = "".join(line for line, answer in self.answers if answer["image"] not in anew)
        if content != self.content:
            with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=self.path.parent, delete=False) as file:
                file.write(content)
            shutil.copymode(self.path, file.name)
            os.replace(file.name, self.path)
        return open(self.path, "a", encoding="utf-8")


__all__ = ["AnswerFile", "answer_line", "spelt"]
