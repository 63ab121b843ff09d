"""The page of `tellsign export --web`, opened in Chromium."""

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright


FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)
PATIENCE = 600_000
"""Milliseconds to wait for answers."""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address on loopback of the files in a folder, as `python -m http.server` serves them."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Chromium without a window.

    Raises:
        FileNotFoundError: If it is not installed.
    """
    if (executable := shutil.which("chromium")) is None:
        raise FileNotFoundError("chromium is not installed")
    with sync_playwright() as session:
        browser = session.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        browser.close()


def loaded(page: Page, address: str) -> Page:
    """A page that is ready to judge."""
    page.goto(address)
    expect(page.locator("body")).to_have_attribute("data-ready", "true", timeout=PATIENCE)
    return page


def give(page: Page, files: Sequence[Path]) -> None:
    """Has a page judge files, and waits for the answers; those to earlier files are removed."""
    page.locator("#clear").dispatch_event("click")  # of one picture it is hidden
    page.locator("#files").set_input_files(files)
    expect(page.locator("#status")).to_have_text(re.compile(f"^{len(files)} pictures?:"), timeout=PATIENCE)


def answers_of(page: Page) -> list[dict[str, Any]]:
    """The answers that a page offers to download."""
    with page.expect_download() as download:
        page.locator("#json").dispatch_event("click")  # of one picture the button is hidden
    return json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
