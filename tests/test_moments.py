import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import kstest

from tellsign import LargePictureConfig, LargePictureForImageClassification, LargePictureImageProcessor, load_image
from tellsign.modeling.modeling_large_picture import moments_of
from tellsign.training.data.degradations import HISTORIES, as_seen, random_part
from tellsign.training.data.moments import picture_moments
from tellsign.training.data.sources import load_sources
from tests.conftest import encode, write_parquet
from tests.models import TINY_LARGE


SHAPES = [(272, 272), (600, 272), (272, 480)]


def noise(width: int, height: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def model() -> LargePictureForImageClassification:
    return LargePictureForImageClassification(LargePictureConfig(**TINY_LARGE)).eval()


@pytest.fixture
def processor() -> LargePictureImageProcessor:
    return LargePictureImageProcessor(size={"height": 64, "width": 64})


@pytest.fixture
def pictures(tmp_path):
    contents = [encode(noise(*size)) for size in ((64, 70), (90, 80), (130, 64))]
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


def test_the_same_seed_cuts_every_shape_to_the_same_ratio():
    for seed in range(200):
        sizes = [random_part(Image.new("L", shape), np.random.default_rng(seed)).size for shape in SHAPES]
        ratios = [width / height for width, height in sizes]
        assert ratios == pytest.approx([ratios[0]] * len(ratios), abs=0.01)


@pytest.mark.parametrize("shape", [*SHAPES, (64, 2000)])
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


def test_a_picture_is_seen_whole_after_a_history_or_in_part():
    content = encode(noise(120, 90))
    image = load_image(content)
    assert np.array_equal(np.asarray(as_seen(content, None, 0)), np.asarray(image))
    assert as_seen(content, "half size", 0).size == HISTORIES["half size"](image).size == (60, 45)
    first, again = (np.asarray(as_seen(content, 3, 5)) for _ in range(2))
    assert np.array_equal(first, again)
    others = [np.asarray(as_seen(content, *seeds)) for seeds in ((4, 5), (3, 6))]
    assert not any(np.array_equal(first, other) for other in others)


@torch.no_grad()
def test_moments_are_those_of_the_maps_of_each_picture(pictures, model, processor):
    moments = picture_moments(pictures, model, processor, None, None)
    images = [load_image(image["bytes"]) for image in pictures["image"]]
    inputs = processor(images, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(moments, moments_of(model.feature_maps(inputs)), atol=1e-4, rtol=1e-4)


def test_moments_are_computed_once(pictures, model, processor, tmp_path, monkeypatch):
    calls, feature_maps = [], LargePictureForImageClassification.feature_maps

    def counted(self, values):
        calls.append(len(values))
        return feature_maps(self, values)

    monkeypatch.setattr(LargePictureForImageClassification, "feature_maps", counted)
    first = picture_moments(pictures, model, processor, 0, tmp_path / "cache")
    assert len(calls) == 3
    assert torch.equal(picture_moments(pictures, model, processor, 0, tmp_path / "cache"), first) and len(calls) == 3
    changes = [
        (pictures, model, processor, 1),  # another copy
        (pictures.select([0, 1]), model, processor, 0),
        (pictures, LargePictureForImageClassification(LargePictureConfig(**TINY_LARGE)).eval(), processor, 0),
        (pictures, model, LargePictureImageProcessor(size={"height": 96, "width": 96}), 0),
    ]
    for changed in changes:
        calls.clear()
        picture_moments(*changed, tmp_path / "cache")
        assert len(calls) == len(changed[0])


@torch.no_grad()
def test_a_part_may_be_smaller_than_a_picture_must_be(pictures, model, processor):
    moments = picture_moments(pictures, model, processor, "half size", None)
    resized = [HISTORIES["half size"](load_image(image["bytes"])) for image in pictures["image"]]
    assert min(resized[0].size) == 32
    inputs = processor(resized, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(moments, moments_of(model.feature_maps(inputs)), atol=1e-4, rtol=1e-4)


def test_a_broken_picture_is_named(model, processor, tmp_path):
    contents = [encode(noise(64, 64)), b"broken"]
    path = write_parquet(tmp_path / "b.parquet", image=contents, label=["real", "fake"])
    with pytest.raises(ValueError, match="row 1: .*not an image"):
        picture_moments(load_sources(path, "train"), model, processor, None, None)
