import io
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional
from transformers import AutoImageProcessor

from tellsign import LargePictureImageProcessor, WaveFreqImageProcessor
from tellsign.modeling.image_processing_large_picture import corners_of_cuts
from tellsign.training.data.images import decode_uniformly
from tests.conftest import encode


LARGE = {"large_picture_processor": {"size": {"height": 64, "width": 96}, "smallest_side": 70}}


def test_pixels_are_normalized_by_the_stored_mean_and_deviation():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    processor = WaveFreqImageProcessor(image_mean=[0.1, 0.2, 0.3], image_std=[0.5, 0.6, 0.7])
    expected = ((pixels / 255 - [0.1, 0.2, 0.3]) / [0.5, 0.6, 0.7]).transpose(2, 0, 1)
    for image in (Image.fromarray(pixels), pixels, torch.from_numpy(pixels).permute(2, 0, 1)):
        pixel_values = processor(image, return_tensors="pt")["pixel_values"]
        assert pixel_values.dtype == torch.float32
        np.testing.assert_allclose(pixel_values[0], expected, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (20000, 10), (100, 75)])
def test_any_size_and_mode_becomes_three_channels_of_32_pixels(size):
    images = [Image.new(mode, size) for mode in ("RGB", "L", "RGBA")]
    images += [np.zeros((*size, channels), np.uint8) for channels in (1, 3, 4)]
    for image in images:
        assert WaveFreqImageProcessor()(image, return_tensors="pt")["pixel_values"].shape == (1, 3, 32, 32)


def test_what_is_resized_is_encoded_as_in_training():
    rows, columns = np.mgrid[:96, :64] / 64
    noise = np.random.default_rng(0).normal(0, 0.1, (96, 64, 3))
    pixels = ((np.stack([rows / 2, columns, 1 - columns], -1) + noise).clip(0, 1) * 255).astype(np.uint8)
    trained_on = decode_uniformly(encode(pixels, "PNG"), 32) / 255
    processor = WaveFreqImageProcessor(do_normalize=False)
    for image in (Image.fromarray(pixels), pixels, [pixels, pixels]):
        pixel_values = processor(image, return_tensors="pt")["pixel_values"][-1].permute(1, 2, 0).numpy()
        assert abs(pixel_values - trained_on).mean() < 0.002
    plain = np.asarray(Image.fromarray(pixels).resize((32, 32), Image.Resampling.BICUBIC)) / 255
    assert abs(plain - trained_on).mean() > 0.01


@pytest.mark.parametrize("do_normalize", [True, False])
@pytest.mark.parametrize("size", [(40, 50), (32, 32), (20, 90), (100, 120)])
def test_a_picture_gives_the_same_pixels_whatever_its_dtype(size, do_normalize):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    see = partial(WaveFreqImageProcessor(**LARGE, do_normalize=do_normalize), return_tensors="pt")
    expected = see(pixels)
    seen = {f"{kind}": see(pixels.astype(kind)) for kind in ("float16", "float32", "float64")}
    seen["tensor"] = see(torch.from_numpy(pixels).permute(2, 0, 1).to(torch.float16))
    seen["unit"] = see(pixels.astype(np.float32) / 255, do_rescale=False)
    for kind, features in seen.items():
        for name, values in features.items():
            torch.testing.assert_close(values.float(), expected[name].float(), atol=2e-3, rtol=0, msg=f"{kind} {name}")
    both = see([pixels, pixels.astype(np.float32)])["pixel_values"]
    torch.testing.assert_close(both, expected["pixel_values"].expand(2, -1, -1, -1))


def test_floats_of_the_right_size_keep_values_and_gradient():
    pixels = torch.rand(3, 32, 32, requires_grad=True)
    processor = WaveFreqImageProcessor(do_normalize=False)
    pixel_values = processor(pixels, do_rescale=False, return_tensors="pt")["pixel_values"]
    assert torch.equal(pixel_values[0], pixels) and pixel_values.requires_grad


def test_sizes_are_those_of_the_images_as_they_came():
    processor = WaveFreqImageProcessor()
    images = [Image.new("RGB", (40, 100)), Image.new("L", (32, 32)), Image.new("RGBA", (7, 9))]
    assert processor(images, return_tensors="pt")["image_sizes"].tolist() == [[100, 40], [32, 32], [9, 7]]
    floats = torch.rand(2, 3, 48, 64)
    assert processor(floats, do_rescale=False, return_tensors="np")["image_sizes"].tolist() == [[48, 64]] * 2


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixels_that_are_not_finite_raise(value):
    pixels = np.zeros((32, 32, 3), dtype=np.float32)
    pixels[3, 4, 1] = value
    with pytest.raises(ValueError, match="NaN or infinite pixels"):
        WaveFreqImageProcessor()(pixels, return_tensors="pt")


def picture(height: int, width: int) -> np.ndarray:
    """Smooth colors and some noise, RGB."""
    rows, columns = np.mgrid[:height, :width] / max(height, width)
    noise = np.random.default_rng(0).normal(0, 0.05, (height, width, 3))
    return ((np.stack([rows, columns, 1 - columns], -1) + noise).clip(0, 1) * 255).astype(np.uint8)


def large_by_hand(pixels: np.ndarray) -> torch.Tensor:
    """A picture as the second network sees it: to a short side of 272, as JPEG, to 64x96, as JPEG, normalized."""
    image, (height, width) = torch.from_numpy(pixels.copy()).permute(2, 0, 1), pixels.shape[:2]
    factor = min(1, 272 / min(height, width))
    for size in ([round(factor * height), round(factor * width)], [64, 96]):
        if list(image.shape[1:]) != size:
            image = functional.resize(image, size, InterpolationMode.BICUBIC, antialias=True)
        image = functional.jpeg(image, 75)
    return (image.float() - 127) / 128


@pytest.mark.parametrize("size", [(70, 100), (200, 90), (272, 300), (500, 700)])
def test_large_pictures_are_resized_and_encoded_twice(size):
    pixels = picture(*size)
    processor = WaveFreqImageProcessor(**LARGE)
    for image in (Image.fromarray(pixels), pixels):
        values = processor(image, return_tensors="pt")["large_pixel_values"]
        assert values.shape == (1, 3, 64, 96) and values.dtype == torch.float32
        torch.testing.assert_close(values[0], large_by_hand(pixels), atol=1e-5, rtol=0)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "LA"])
def test_large_pictures_of_any_mode_are_seen_in_color(mode):
    image, processor = Image.fromarray(picture(100, 120)).convert(mode), WaveFreqImageProcessor(**LARGE)
    expected = large_by_hand(np.asarray(image.convert("RGB")))
    for given in (image, np.array(image)[..., None]) if mode == "L" else (image,):
        values = processor(given, return_tensors="pt")["large_pixel_values"]
        torch.testing.assert_close(values[0], expected, atol=1e-5, rtol=0)


def test_the_processor_of_large_pictures_alone_sees_the_same():
    pixels = picture(100, 120)
    alone = LargePictureImageProcessor(size={"height": 64, "width": 96})
    values = alone([pixels, picture(40, 30)], return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(values[0], large_by_hand(pixels), atol=1e-5, rtol=0)
    torch.testing.assert_close(values[1], large_by_hand(picture(40, 30)), atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="NaN"):
        alone(np.full((70, 70, 3), np.nan, np.float32))


def test_a_batch_holds_the_large_images_and_zeros_for_small_ones():
    pictures = [picture(*size) for size in ((80, 90), (20, 30), (70, 70), (69, 500), (300, 280))]
    features = WaveFreqImageProcessor(**LARGE)(pictures, return_tensors="pt")
    assert features["image_sizes"].tolist() == [[80, 90], [20, 30], [70, 70], [69, 500], [300, 280]]
    expected = torch.zeros(5, 3, 64, 96)
    for row in (0, 2, 4):
        expected[row] = large_by_hand(pictures[row])
    torch.testing.assert_close(features["large_pixel_values"], expected, atol=1e-5, rtol=0)
    assert not {"large_pixel_values", "cuts"} & WaveFreqImageProcessor()(pictures, return_tensors="pt").keys()


def test_the_size_of_large_pictures_is_saved(tmp_path):
    WaveFreqImageProcessor(**LARGE).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "wavefreq"}')
    loaded = AutoImageProcessor.from_pretrained(tmp_path)
    assert loaded.large_picture_processor == LARGE["large_picture_processor"]
    values = loaded(picture(80, 90), return_tensors="pt")["large_pixel_values"]
    torch.testing.assert_close(values[0], large_by_hand(picture(80, 90)), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("size", "corners"),
    [
        ((224, 224), [(0, 0)] * 3),
        ((287, 1000), [(16, 384)] * 3),
        ((288, 288), [(16, 16), (32, 32), (48, 48)]),
        ((864, 1152), [(160, 224), (320, 464), (480, 688)]),
    ],
)
def test_cuts_lie_on_the_diagonal_of_pictures_with_room(size, corners):
    assert corners_of_cuts(*size, 224, 3) == corners
    assert corners_of_cuts(*size, 224, 1) == corners[1:2]


@pytest.mark.parametrize("size", [(200, 300), (64, 64), (1, 500), (40, 130), (20, 20)])
def test_cuts_have_the_pixels_of_the_picture_saved_once(size):
    pixels = picture(*size)
    processor = LargePictureImageProcessor(cut_size=64, num_cuts=3, do_normalize=False)
    inputs = processor(Image.fromarray(pixels), return_tensors="pt")
    assert inputs["cuts"].shape == (1, 3, 3, 64, 64) and inputs["cut_boxes"].shape == (1, 3, 4)
    height, width = (max(64, side) for side in size)
    mirrored = np.pad(pixels, ((0, height - size[0]), (0, width - size[1]), (0, 0)), mode="symmetric")
    for cut, box in zip(inputs["cuts"][0], inputs["cut_boxes"][0], strict=True):
        left, top, right, bottom = (box * torch.tensor([*size[::-1], *size[::-1]])).round().int().tolist()
        assert (right - left, bottom - top) == (64, 64) and left % 16 == top % 16 == 0
        saved = Image.open(io.BytesIO(encode(np.ascontiguousarray(mirrored[top:bottom, left:right]), quality=90)))
        np.testing.assert_allclose(cut.permute(1, 2, 0) * 255, saved, atol=1e-3)


def test_a_copy_without_loss_gives_the_same_views(tmp_path):
    Image.fromarray(picture(300, 420)).save(tmp_path / "photo.jpg", quality=80)
    photo = Image.open(tmp_path / "photo.jpg")
    photo.convert("RGB").save(tmp_path / "photo.png")
    see = partial(WaveFreqImageProcessor(**LARGE), return_tensors="pt")
    first, second = see(photo), see(Image.open(tmp_path / "photo.png"))
    assert all(torch.equal(first[name], second[name]) for name in first)
