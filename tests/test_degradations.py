import io
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from tellsign.training.data import degradations
from tellsign.training.data.degradations import LEAST_SIDE, VERSIONS, encode, random_history, random_look, rescale


@pytest.fixture
def image() -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).resize((200, 150), Image.Resampling.BOX)


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_encoding_is_that_of_the_format_at_its_quality(image, form):
    content = io.BytesIO()
    image.save(content, form, quality=60)
    expected = np.asarray(Image.open(content).convert("RGB"))
    np.testing.assert_array_equal(np.asarray(encode(image, form, 60)), expected)
    assert not np.array_equal(expected, np.asarray(image))


def test_resizing_multiplies_both_sides(image):
    assert rescale(image, 0.5).size == (100, 75) and rescale(image, 0.001).size == (1, 1)


def test_each_version_changes_a_picture_as_its_name_says(image):
    changed = {name: np.asarray(version(image)) for name, version in VERSIONS.items()}
    sides = {"three quarters of the size": (112, 150), "screenshot": (128, 170), "reposted": (120, 160)}
    sides["a tenth cut off"] = (135, 180)
    assert {name: pixels.shape[:2] for name, pixels in changed.items() if pixels.shape != (150, 200, 3)} == sides
    assert np.array_equal(changed["as it is"], image) and not np.array_equal(changed["JPEG quality 70"], image)
    assert np.array_equal(changed["a tenth cut off"], np.asarray(image)[15:, 20:])
    assert (changed["grey"] == changed["grey"][:, :, :1]).all() and len(VERSIONS) == 7


def test_the_same_seed_gives_the_same_history(image):
    first, again, other = (np.asarray(random_history(image, np.random.default_rng(seed))) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_random_histories_do_not_make_a_picture_small():
    images = [Image.new("RGB", size) for size in ((64, 64), (70, 300), (200, 90))]
    sizes = [random_history(image, np.random.default_rng(seed)).size for image in images for seed in range(60)]
    assert min(map(min, sizes)) >= LEAST_SIDE and len(set(sizes)) > 30


def test_random_histories_encode_one_to_three_times(image, monkeypatch):
    calls = Mock(side_effect=lambda image, form, quality: image)
    monkeypatch.setattr(degradations, "encode", calls)
    counts = []
    for seed in range(300):
        before = calls.call_count
        random_history(image, np.random.default_rng(seed))
        counts.append(calls.call_count - before)
    assert set(counts) == {0, 1, 2, 3}  # none where all were screenshots
    forms = [call.args[1] for call in calls.call_args_list]
    qualities = [call.args[2] for call in calls.call_args_list]
    assert np.mean([form == "JPEG" for form in forms]) == pytest.approx(7 / 9, abs=0.05)
    assert set(forms) == {"JPEG", "WEBP"} and (min(qualities), max(qualities)) == (50, 95)


def test_some_pictures_lose_their_color_and_some_get_a_border(image):
    looks = [np.asarray(random_look(image, np.random.default_rng(seed))) for seed in range(600)]
    grey = np.mean([(look == look[:, :, :1]).all() for look in looks])
    bordered = [look.shape for look in looks if look.shape != (150, 200, 3)]
    assert abs(grey - 1 / 8) < 0.04 and abs(len(bordered) / 600 - 1 / 6) < 0.04
    sides = {(height > 150, width > 200) for height, width, _ in bordered}
    assert sides == {(True, True), (True, False), (False, True)}
    assert max(height for height, _, _ in bordered) <= 150 + 2 * 23  # at most 0.15 of the shorter side


def test_a_border_leaves_the_picture_as_it_is(image):
    pixels = np.asarray(image)
    for seed in range(100):
        look = np.asarray(random_look(image, np.random.default_rng(seed)))
        top, left = (look.shape[0] - 150) // 2, (look.shape[1] - 200) // 2
        inside = look[top : top + 150, left : left + 200]
        assert np.array_equal(inside, pixels) or (inside == inside[:, :, :1]).all()
