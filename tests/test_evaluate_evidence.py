import numpy as np
from PIL import Image

from tellsign.pipelines.evidence import places_of
from tellsign.training.evaluate_evidence import SHARE, framed, strongest, with_blurred


def test_the_strongest_cells_are_a_fifth_of_the_grid():
    values = np.random.default_rng(0).normal(size=(10, 10))
    hidden = strongest(values)
    assert hidden.sum() == round(SHARE * 100) and values[hidden].min() > values[~hidden].max()


def test_only_the_hidden_cells_are_blurred():
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    hidden = np.zeros((4, 4), bool)
    hidden[1, 2] = True
    changed = np.asarray(with_blurred(Image.fromarray(pixels), hidden)) != pixels
    assert changed[16:32, 48:72].mean() > 0.9
    changed[16:32, 48:72] = False
    assert not changed.any()


def test_frames_elsewhere_have_the_size_of_the_answers_first():
    evidence = np.zeros((16, 16))
    evidence[3:5, 7:10] = 1
    first, *others = framed(evidence, np.random.default_rng(0))
    box = places_of(evidence, 16, 16)[0]["box"]
    assert first[box["ymin"] : box["ymax"], box["xmin"] : box["xmax"]].all() and first.sum() == 6
    assert [other.sum() for other in others] == [6] * 4 and any((other != first).any() for other in others)


def test_without_a_frame_nothing_is_blurred():
    assert not np.any(framed(np.zeros((16, 16)), np.random.default_rng(0))[0])
