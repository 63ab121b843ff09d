"""The page of the Space in a browser, as a visitor sees it."""

import re
import shutil
from pathlib import Path

import pytest

from tests.test_modeling_artifact_siglip import LABELS


pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

PHOTO = Path(__file__).parents[1] / "examples" / "photo_cat.jpg"
FLAGS = """
    --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync
""".split()
PROBABILITY = re.compile(r"^Probability of being generated: \d+\.\d%$")
# Elements that reach beyond the window, but for those inside of an element that scrolls.
OVERFLOWING = """() => {
    const scrolls = e => e !== document.body && (/auto|scroll/.test(getComputedStyle(e).overflowX) || inside(e));
    const inside = e => e.parentElement !== null && scrolls(e.parentElement);
    const reaches = ({left, right, width}) => width > 0 && (left < 0 || right > window.innerWidth);
    return [...document.body.querySelectorAll("*")]
        .filter(e => e.checkVisibility() && reaches(e.getBoundingClientRect()) && !inside(e))
        .map(e => e.outerHTML.slice(0, 200));
}"""


@pytest.fixture(scope="module")
def browser():
    playwright.expect.set_options(timeout=30_000)
    with playwright.sync_playwright() as session:
        chromium = session.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, space_url):
    """The page, opened in a desktop's window; of other hosts, as of those of fonts, it gets nothing."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.route(lambda url: not url.startswith(space_url), lambda route: route.abort())
    page.goto(space_url)
    yield page
    page.close()


def upload(page, path: Path):
    page.locator("input[type=file]:not([multiple])").first.set_input_files(path)


def fits(page):
    """Waits until nothing reaches beyond the window: the bar that shows progress does while it moves."""
    page.wait_for_function(f"({OVERFLOWING})().length === 0", timeout=30_000)


def verdict_of(page):
    return playwright.expect(page.get_by_text(PROBABILITY))


def test_an_uploaded_photo_gets_a_verdict_with_its_probability_and_artifacts(page):
    upload(page, PHOTO)
    verdict_of(page).to_be_visible()
    playwright.expect(page.get_by_role("heading", name="Generated")).to_be_visible()
    for label in LABELS:
        playwright.expect(page.get_by_role("gridcell", name=label, exact=True)).to_be_visible()


def test_a_broken_file_gets_an_error_without_the_verdict_before_it_and_the_page_still_works(page, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"not an image")
    upload(page, PHOTO)
    verdict_of(page).to_be_visible()
    page.get_by_role("button", name="Clear").first.click()
    verdict_of(page).to_have_count(0)

    upload(page, tmp_path / "broken.jpg")
    playwright.expect(page.get_by_text("broken.jpg: not an image")).to_be_visible()
    verdict_of(page).to_have_count(0)

    page.get_by_role("button", name="Clear").first.click()
    upload(page, PHOTO)
    verdict_of(page).to_be_visible()


def test_nothing_overflows_the_window_of_a_phone(page):
    page.set_viewport_size({"width": 390, "height": 844})
    playwright.expect(page.get_by_role("button", name="Judge", exact=True)).to_be_visible()
    fits(page)
    upload(page, PHOTO)
    verdict_of(page).to_be_visible()
    fits(page)
    page.get_by_role("tab", name="Many images").click()
    playwright.expect(page.get_by_role("button", name="Judge all")).to_be_visible()
    fits(page)
