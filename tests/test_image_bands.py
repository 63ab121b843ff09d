"""Very large pictures, which the processors read band by band."""

import numpy as np
import pytest
import torch
from PIL import Image

from tellsign import WaveFreqImageProcessor
from tellsign.modeling import image_bands
from tests.models import LARGE_PROCESSOR


@pytest.fixture
def bands(monkeypatch) -> list[int]:
    """Pixels of each part of a picture that is made a tensor, while 3,000 are many."""
    made, pil_to_tensor = [], image_bands.pil_to_tensor
    monkeypatch.setattr(image_bands, "BAND", 3000)
    monkeypatch.setattr(
        image_bands, "pil_to_tensor", lambda part: made.append(part.width * part.height) or pil_to_tensor(part)
    )
    return made


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(120, 90), (61, 300), (64, 700), (400, 65), (40, 90), (3100, 1), (1, 3100)])
def test_bands_give_the_pixels_of_the_whole(bands, size):
    pixels, processor = noise(*size), WaveFreqImageProcessor(**LARGE_PROCESSOR)
    expected = processor(torch.from_numpy(pixels).permute(2, 0, 1), return_tensors="pt")
    assert not bands
    seen = processor(Image.fromarray(pixels), return_tensors="pt")
    assert bands and seen.keys() == expected.keys()
    for name, values in seen.items():
        assert torch.equal(values, expected[name]), name


def test_no_part_has_more_than_a_band_or_a_cut(bands):
    WaveFreqImageProcessor(**LARGE_PROCESSOR)(Image.fromarray(noise(300, 700)), return_tensors="pt")
    assert max(bands) == LARGE_PROCESSOR["large_picture_processor"]["cut_size"] ** 2 and len(bands) > 100


def test_a_picture_that_is_not_resized_is_a_tensor(bands):
    processor = WaveFreqImageProcessor(do_resize=False)
    assert processor(Image.fromarray(noise(60, 70)), return_tensors="pt")["pixel_values"].shape == (1, 3, 60, 70)


def test_a_picture_longer_than_jpeg_allows_is_seen(bands):
    seen = WaveFreqImageProcessor(**LARGE_PROCESSOR)(Image.new("RGB", (65_600, 64)), return_tensors="pt")
    assert seen["large_pixel_values"].shape == (1, 3, 64, 64) and seen["image_sizes"].tolist() == [[64, 65_600]]
