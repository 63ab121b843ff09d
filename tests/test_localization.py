import numpy as np
import pytest

from tellsign.pipelines.localization import box_in, box_of, heat_map, whole_image
from tests.samples import box


# Independent references in NumPy, written from the definitions.


def bilinear_by_hand(scores: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear interpolation between the centers of patches, pixel by pixel."""
    rows, columns = scores.shape
    result = np.empty((height, width))
    for y in range(height):
        for x in range(width):
            row = np.clip((y + 0.5) * rows / height - 0.5, 0, rows - 1)
            column = np.clip((x + 0.5) * columns / width - 0.5, 0, columns - 1)
            top, left = int(row), int(column)
            bottom, right = min(top + 1, rows - 1), min(left + 1, columns - 1)
            down, across = row - top, column - left
            result[y, x] = (1 - down) * ((1 - across) * scores[top, left] + across * scores[top, right]) + down * (
                (1 - across) * scores[bottom, left] + across * scores[bottom, right]
            )
    return result


def largest_part_by_hand(mask: np.ndarray) -> set[tuple[int, int]]:
    """Pixels of the largest part that is connected by sides, by flooding."""
    left, largest = {(int(y), int(x)) for y, x in np.argwhere(mask)}, set()
    while left:
        part, front = set(), [min(left)]
        while front:
            y, x = front.pop()
            if (y, x) in left:
                left.remove((y, x))
                part.add((y, x))
                front += [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
        largest = max(largest, part, key=len)
    return largest


@pytest.mark.parametrize("size", [(32, 32), (8, 8), (9, 31), (200, 17), (8, 120)])
@pytest.mark.parametrize("grid", [(8, 8), (1, 1), (2, 5)])
def test_heat_map_is_bilinear_in_the_pixels_of_any_image(size, grid):
    scores = np.random.default_rng(0).random(grid)
    heat = heat_map(scores, *size)
    assert heat.shape == size and heat.dtype == np.float32
    np.testing.assert_allclose(heat, bilinear_by_hand(scores, *size), atol=1e-6)


def test_heat_map_of_a_small_image_weighs_patches_by_a_triangle():
    scores = np.random.default_rng(0).random((8, 8))
    weights = 1 - abs((np.arange(8) + 0.5) / 8 - 0.5)
    expected = weights @ scores @ weights / weights.sum() ** 2
    np.testing.assert_allclose(heat_map(scores, 1, 1), [[expected]], atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3, 2), (50, 70)])
def test_a_constant_map_has_the_whole_image_as_its_box(value, size):
    heat = heat_map(np.full((8, 8), value), *size)
    np.testing.assert_allclose(heat, value, atol=1e-6)
    assert box_of(np.full(size, value)) == whole_image(*size)


def test_box_surrounds_the_largest_part_without_corners():
    heat = np.zeros((6, 9))
    heat[0, 0] = 1.0
    heat[1:3, 1:4] = 0.5  # touches the former at a corner
    heat[4:6, 6:9] = 0.6
    heat[5, 8] = 0.2
    for threshold, sides in ((0.5, (1, 1, 4, 3)), (0.6, (6, 4, 9, 6)), (1.0, (0, 0, 1, 1))):
        assert box_of(heat, threshold) == box(*sides)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.9])
def test_box_equals_flooding_on_random_maps(threshold):
    generator = np.random.default_rng(0)
    for _ in range(20):
        heat = heat_map(generator.random((5, 5)), 23, 14)
        part = largest_part_by_hand(heat >= threshold * heat.max())
        rows, columns = zip(*part, strict=True)
        assert box_of(heat, threshold) == box(min(columns), min(rows), max(columns) + 1, max(rows) + 1)


@pytest.mark.parametrize("size", [(1, 1), (31, 33), (512, 512), (200, 512), (513, 7), (1111, 2000), (4000, 3000)])
def test_box_in_an_image_is_its_heat_maps_to_a_pixel_of_512(size):
    scores = np.random.default_rng(0).random((8, 8))
    found, expected = box_in(scores, *size, 0.7), box_of(heat_map(scores, *size), 0.7)
    error = 0 if max(size) <= 512 else 1 + max(size) / 512
    assert all(type(found[side]) is int and abs(found[side] - expected[side]) <= error for side in expected)
    assert found["xmax"] <= size[1] and found["ymax"] <= size[0]
