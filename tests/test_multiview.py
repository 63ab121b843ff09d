import pytest

from tellsign.pipelines.multiview import view_boxes


@pytest.mark.parametrize("size", [(33, 33), (640, 480), (40, 4000)])
def test_views_are_the_image_and_parts_inside_it_of_its_aspect_ratio_and_at_least_the_smallest_side(size):
    whole, *parts = view_boxes(*size, views=9, smallest=32)
    assert whole == (0, 0, *size) and len(parts) == 8
    for left, top, right, bottom in parts:
        assert 0 <= left and 0 <= top and right <= size[0] and bottom <= size[1]
        assert 32 <= min(right - left, bottom - top) <= min(size)
        assert (right - left) / (bottom - top) == pytest.approx(size[0] / size[1], rel=0.04)


def test_more_views_add_parts_to_those_of_fewer():
    assert view_boxes(300, 200, 8, 32)[:5] == view_boxes(300, 200, 5, 32)
    assert len(set(view_boxes(300, 200, 8, 32))) == 8


@pytest.mark.parametrize("size", [(32, 32), (8, 500), (1, 1)])
def test_an_image_no_larger_than_the_smallest_side_has_one_view(size):
    assert view_boxes(*size, 5, 32) == [(0, 0, *size)]


def test_parts_reach_all_quarters_and_scales_of_the_image():
    parts = view_boxes(1000, 1000, 65, 32)[1:]
    for low in (0, 500):
        for axis in (0, 1):
            assert sum(low <= (box[axis] + box[axis + 2]) / 2 < low + 500 for box in parts) > 16
    widths = [right - left for left, _, right, _ in parts]
    assert sum(width < 179 for width in widths) == pytest.approx(32, abs=4)  # 179 is the geometric mean of 32 and 1000
