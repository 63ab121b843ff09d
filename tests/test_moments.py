import copy
import hashlib
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import kstest

from tellsign import LargePictureConfig, LargePictureForImageClassification, LargePictureImageProcessor, load_image
from tellsign.modeling.modeling_large_picture import moments_of
from tellsign.training.data.degradations import REDUCED, SQUEEZED, VERSIONS, cut_as_seen, random_part, whole_as_seen
from tellsign.training.data.large_pictures import load_large_pictures
from tellsign.training.data.moments import Moments, view_moments, weights_of
from tellsign.training.data.sources import load_sources
from tests.conftest import encode, write_parquet
from tests.models import LARGE_PROCESSOR, TINY_LARGE


SHAPES = [(272, 272), (600, 272), (272, 480)]


def noise(width: int, height: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def model() -> LargePictureForImageClassification:
    return LargePictureForImageClassification(LargePictureConfig(**TINY_LARGE)).eval()


@pytest.fixture
def processor() -> LargePictureImageProcessor:
    return LargePictureImageProcessor(**LARGE_PROCESSOR["large_picture_processor"])


@pytest.fixture
def pictures(tmp_path):
    contents = [encode(noise(*size)) for size in ((65, 70), (90, 80), (130, 64))]
    return load_sources(write_parquet(tmp_path / "a.parquet", image=contents, label=["real", "fake", "real"]), "train")


@pytest.mark.parametrize("shape", SHAPES)
def test_the_ratio_of_a_part_does_not_depend_on_the_shape(shape):
    image = Image.new("L", shape)
    parts = [random_part(image, np.random.default_rng(seed)).size for seed in range(2000)]
    ratios = np.asarray([width / height for width, height in parts])
    assert np.mean(ratios == 1) == pytest.approx(0.4, abs=4 * np.sqrt(0.24 / 2000))
    assert ratios.min() > 1 / 1.52 and ratios.max() < 1.52
    drawn = np.log(ratios[ratios != 1]) / np.log(1.5)
    assert kstest(drawn, "uniform", (-1, 2)).pvalue > 0.01


@pytest.mark.parametrize("shape", [(600, 272), (64, 2000)])
def test_a_part_is_the_largest_of_its_ratio_anywhere(shape):
    columns, rows = np.meshgrid(np.arange(shape[0], dtype=np.int32), np.arange(shape[1], dtype=np.int32))
    places = Image.fromarray(10_000 * rows + columns)
    corners = set()
    for seed in range(100):
        part = np.asarray(random_part(places, np.random.default_rng(seed)))
        assert part.shape[1] == shape[0] or part.shape[0] == shape[1]
        top, left = divmod(int(part[0, 0]), 10_000)
        np.testing.assert_array_equal(part, np.asarray(places)[top : top + part.shape[0], left : left + part.shape[1]])
        corners.add((top, left))
    assert len(corners) > 20


def test_a_whole_is_a_square_all_of_it_or_a_random_part():
    content = encode(noise(120, 90))
    image = load_image(content)
    middle = np.asarray(image)[:, 15:105]
    assert np.array_equal(np.asarray(whole_as_seen(content, None, 0)), middle)
    assert np.array_equal(np.asarray(whole_as_seen(content, SQUEEZED, 0)), np.asarray(image))
    first, again = (np.asarray(whole_as_seen(content, 3, 5)) for _ in range(2))
    assert np.array_equal(first, again)
    others = [np.asarray(whole_as_seen(content, *seeds)) for seeds in ((4, 5), (3, 6))]
    assert not any(np.array_equal(first, other) for other in others)


def test_a_small_copy_is_made_of_larger_pictures_alone():
    large, small = encode(noise(600, 408)), encode(noise(120, 90))
    for seen in (partial(whole_as_seen, row_seed=0), partial(cut_as_seen, row_seed=0, cut_size=64)):
        sizes = [[seen(content, history=name).size for name in REDUCED] for content in (large, small)]
        assert sizes == [[(400, 272), (141, 96), (94, 64)], [(120, 90), (120, 90), (85, 64)]]


def test_a_version_of_a_reduced_whole_is_made_of_a_larger_one():
    content = encode(noise(120, 90))
    assert whole_as_seen(content, "as it is", 0).size == (180, 180)
    assert whole_as_seen(content, "three quarters of the size", 0).size == (135, 135)
    assert whole_as_seen(encode(noise(700, 600)), "as it is", 0).size == (600, 600)


def test_a_cut_is_taken_at_random_places_and_after_histories():
    content = encode(noise(120, 90))
    pixels = np.asarray(load_image(content))
    assert np.array_equal(np.asarray(cut_as_seen(content, None, 0, 64)), pixels)
    places = {cut_as_seen(content, 0, row, 64).tobytes() for row in range(20)}
    every = {pixels[top : top + 64, left : left + 64].tobytes() for top in range(27) for left in range(57)}
    assert len(places) > 15 and places <= every
    assert cut_as_seen(content, 1, 0, 64).size <= (64, 64) and cut_as_seen(content, 1, 0, 64).tobytes() not in every
    assert np.array_equal(
        np.asarray(cut_as_seen(content, "grey", 0, 64)), np.asarray(VERSIONS["grey"](load_image(content)))
    )


@torch.no_grad()
@pytest.mark.parametrize("view", ["whole", "cut"])
def test_moments_are_those_of_the_maps_of_each_view(pictures, model, processor, view):
    moments = view_moments(pictures, view, model, processor, None, None)
    images = [load_image(image["bytes"]) for image in pictures["image"]]
    squares = [
        image.crop(((image.width - 64) // 2, 0, (image.width + 64) // 2, 64)) for image in images if image.height == 64
    ]
    assert len(squares) == 1
    seen = processor(squares, return_tensors="pt")["pixel_values"]
    if view == "cut":
        seen = processor(images, return_tensors="pt")["cuts"][:, 1]
        torch.testing.assert_close(moments, moments_of(model.feature_maps(seen)), atol=1e-4, rtol=1e-4)
    else:
        torch.testing.assert_close(moments[2:], moments_of(model.feature_maps(seen)), atol=1e-4, rtol=1e-4)


def test_moments_are_computed_once(pictures, model, processor, tmp_path, monkeypatch):
    calls, feature_maps = [], LargePictureForImageClassification.feature_maps

    def counted(self, values):
        calls.append(len(values))
        return feature_maps(self, values)

    monkeypatch.setattr(LargePictureForImageClassification, "feature_maps", counted)
    first = view_moments(pictures, "whole", model, processor, 1, tmp_path / "cache")
    assert len(calls) == 3
    again = view_moments(pictures, "whole", model, processor, 1, tmp_path / "cache")
    assert torch.equal(again, first) and len(calls) == 3
    changes = [
        (pictures, "whole", model, processor, 2),  # another copy
        (pictures, "cut", model, processor, 1),
        (pictures.select([0, 1]), "whole", model, processor, 1),
        (pictures, "whole", LargePictureForImageClassification(LargePictureConfig(**TINY_LARGE)).eval(), processor, 1),
        (pictures, "whole", model, LargePictureImageProcessor(size={"height": 96, "width": 96}), 1),
    ]
    for changed in changes:
        calls.clear()
        view_moments(*changed, tmp_path / "cache")
        assert len(calls) == len(changed[0])


def test_weights_in_another_order_have_another_name(model):
    before = weights_of(model)
    assert before == weights_of(copy.deepcopy(model))
    first = next(parameter for parameter in model.backbone.parameters() if parameter.numel() > 1)
    first.data = first.data.flip(0)  # of the same sum
    assert weights_of(model) != before


def test_a_broken_picture_is_named(model, processor, tmp_path):
    contents = [encode(noise(64, 64)), b"broken"]
    path = write_parquet(tmp_path / "b.parquet", image=contents, label=["real", "fake"])
    with pytest.raises(ValueError, match="row 1: .*not an image"):
        view_moments(load_sources(path, "train"), "whole", model, processor, None, None)


@pytest.fixture
def joined(tmp_path):
    """Three wholes, of which the second has a cut, and a cut without a whole."""
    contents = [encode(noise(90, 90, seed)) for seed in range(3)]
    known = {"label": ["real", "fake", "real"], "generator": ["zoo", "dream", "park"]}
    wholes = write_parquet(tmp_path / "wholes.parquet", image=contents, **known)
    cuts = {"image": [encode(noise(80, 80, seed)) for seed in (3, 4)], "label": ["fake", "fake"]}
    cuts |= {"generator": ["dream", "sleep"], "whole": [hashlib.sha1(contents[1]).hexdigest(), ""]}
    return load_large_pictures([wholes], [write_parquet(tmp_path / "cuts.parquet", **cuts)], 64)


def test_a_picture_and_its_cut_are_joined(joined):
    assert joined.columns["generator"].tolist() == ["dream", "sleep", "zoo", "park"]
    assert joined.columns["label"].tolist() == [1, 1, 0, 0]
    assert joined.whole_rows.tolist() == [1, -1, 0, 2] and joined.cut_rows.tolist() == [0, 1, -1, -1]
    assert joined.complete.tolist() == [0]


def test_a_view_that_is_missing_has_no_moments(joined, model, processor):
    moments = Moments(joined, model, processor, None)
    seen, some = moments(), moments(rows=np.asarray([0, 3]))
    assert seen.shape == (4, 2, 128)
    assert seen.isnan().all(2).tolist() == [[False, False], [True, False], [False, True], [False, True]]
    assert some.isnan().all(2).tolist() == [[False, False], [True, True], [True, True], [False, True]]
    torch.testing.assert_close(some[[0, 3]], seen[[0, 3]], equal_nan=True)
    assert moments.training_copies(2).shape == (2, 4, 2, 128)
