import io
from typing import get_args

import numpy as np
import pytest
from datasets import Dataset
from PIL import Image, JpegImagePlugin
from typer.testing import CliRunner

from tellsign.configuration.artifacts import find_artifact
from tellsign.configuration.configuration_artifact_siglip import GLOBAL_ARTIFACTS
from tellsign.training.data.images import decode_uniformly
from tellsign.training.data.sources import load_sources
from tellsign.training.planting import (
    OPERATORS,
    PLANTED_FEATURES,
    Operator,
    Use,
    operators_of,
    plant,
    plantable,
    planted_images,
)
from tellsign.training.planting import pixels as px
from tellsign.training.planting.__main__ import app
from tellsign.training.planting.planter import visible_change
from tests.conftest import encode
from tests.samples import scene


SCENES = [scene(index) for index in range(12)]
SEVERITIES = (0.33, 0.67, 1.0)
Answer = tuple[np.ndarray, np.ndarray]


def answers_of(entry: Operator, severity: float, images: list[np.ndarray]) -> list[Answer | None]:
    """Changed image and mask for each image, or None where it has no place."""
    return [entry(image / np.float32(255), severity, np.random.default_rng(7)) for image in images]


@pytest.fixture(scope="module")
def answers() -> list[tuple[Operator, list[list[Answer | None]]]]:
    """Every operator with what it answers for eight scenes, at three severities."""
    return [(entry, [answers_of(entry, severity, SCENES[:8]) for severity in SEVERITIES]) for entry in OPERATORS]


def tight_box(mask: np.ndarray) -> dict[str, int]:
    rows, columns = np.argwhere(mask).T
    sides = {"xmin": columns.min(), "ymin": rows.min(), "xmax": columns.max() + 1, "ymax": rows.max() + 1}
    return {side: int(value) for side, value in sides.items()}


def test_plantable_names_are_official_and_in_order():
    assert [find_artifact(name).name for name in plantable()] == plantable()
    assert {entry.artifact for entry in OPERATORS} == set(plantable()) == set(plantable("evaluation"))
    assert plantable("training") == [name for name in plantable() if name in plantable("training")]
    assert len(plantable("evaluation")) == 33 and len(plantable("training")) == 24


def name_of(part) -> str:
    """Of a pattern or a change, which may lie in a `partial`, or be missing."""
    return getattr(getattr(part, "func", part), "__name__", "")


def test_no_pattern_with_its_change_serves_both_uses():
    for name in plantable("training"):
        pairs = [
            {(name_of(entry.effect.pattern), name_of(entry.effect.change)) for entry in operators_of(name, use)}
            for use in get_args(Use)
        ]
        assert not pairs[0] & pairs[1], name


def test_operators_change_images_within_their_masks_only(answers):
    for entry, by_severity in answers:
        assert any(answer for answer in by_severity[1]), entry
        for image, answer in zip(SCENES[:8], by_severity[1], strict=True):
            if answer is None:
                continue
            changed, mask = answer
            original = image / np.float32(255)
            assert changed.dtype == np.float32 and mask.dtype == bool and mask.shape == image.shape[:2], entry
            assert changed.min() >= 0 and changed.max() <= 1, entry
            assert np.array_equal(changed[~mask], original[~mask]), entry
            assert not np.array_equal(changed[mask], original[mask]), entry
            assert mask.all() or entry.artifact not in GLOBAL_ARTIFACTS, entry


def test_channels_are_added_in_the_same_order_everywhere():
    red, green, blue = np.moveaxis(image := SCENES[0] / np.float32(255), -1, 0)
    one, two, three = np.float32([-0.168736, -0.331264, 0.5])
    assert np.array_equal(px.to_ycc(image)[..., 1], one * red + two * green + three * blue)


def test_operators_leave_the_given_image_as_it_is(answers):
    assert all(np.array_equal(image, scene(index)) for index, image in enumerate(SCENES))


def test_operators_depend_on_their_random_numbers_alone(answers):
    for entry, by_severity in answers:
        for first, again in zip(by_severity[2][:2], answers_of(entry, 1.0, SCENES[:2]), strict=True):
            assert (first is None) == (again is None), entry
            assert first is None or all(one.tobytes() == two.tobytes() for one, two in zip(first, again, strict=True))


def test_operators_change_more_with_higher_severity(answers):
    for entry, by_severity in answers:
        changes = [
            sum(float(abs(answer[0] - image / np.float32(255)).sum()) for image, answer in pairs if answer is not None)
            for pairs in (zip(SCENES[:8], some, strict=True) for some in by_severity)
        ]
        assert changes[0] < changes[1] < changes[2], (entry, changes)


@pytest.mark.parametrize("size", [(40, 32), (48, 96), (112, 112)])
def test_operators_work_at_other_sizes(size):
    images = [scene(index, *size) for index in (0, 1, 3)]
    for entry in OPERATORS:
        for image, answer in zip(images, answers_of(entry, 1.0, images), strict=True):
            if answer is not None:
                changed, mask = answer
                assert changed.shape == image.shape and mask.shape == size and np.isfinite(changed).all(), entry
                assert np.array_equal(changed[~mask], image[~mask] / np.float32(255)), entry


def test_a_seed_plants_the_same_bytes_again():
    for image in SCENES[:4]:
        first, again, other = (
            plant(image, plantable("training"), np.random.default_rng(s), "training", count=3) for s in (1, 1, 2)
        )
        assert first.image.tobytes() == again.image.tobytes() != other.image.tobytes()
        for one, two in zip(first.artifacts, again.artifacts, strict=True):
            assert (one.label, one.severity, one.box) == (two.label, two.severity, two.box)
            assert np.array_equal(one.mask, two.mask)


@pytest.mark.parametrize("use", get_args(Use))
def test_planted_artifacts_are_asked_for_and_tightly_boxed(use):
    names, planted = plantable(use)[::2], []
    for index, image in enumerate(SCENES):
        artifacts = plant(image, names, np.random.default_rng(index), use, count=2).artifacts
        assert 1 <= len(artifacts) <= 2
        planted += artifacts
    for artifact in planted:
        assert artifact.label in names and 0.33 <= artifact.severity <= 1
        assert artifact.box == tight_box(artifact.mask)
    assert any(not artifact.mask.all() for artifact in planted)


def test_training_operators_work_in_eight_orientations(monkeypatch):
    def darken_a_corner(image, severity, rng):
        weight = np.zeros(image.shape[:2])
        weight[:12, :6] = 1
        return np.zeros_like(image), weight

    name, plain = "Over-sharpening artifacts", np.full((36, 32, 3), 153, np.uint8)
    operators = [Operator(name, use, darken_a_corner) for use in get_args(Use)]
    monkeypatch.setattr("tellsign.training.planting.registry.OPERATORS", operators)
    places = {}
    for use in get_args(Use):
        planted = [plant(plain, [name], np.random.default_rng(seed), use) for seed in range(100)]
        places[use] = {tuple(artifact.box.values()) for image in planted for artifact in image.artifacts}
        for image in planted:
            assert np.array_equal(image.image == 0, np.repeat(image.artifacts[0].mask[..., None], 3, axis=2))
    corners = [(0, 0), (0, 1), (1, 0), (1, 1)]
    anywhere = {
        (right * (32 - width), down * (36 - height), right * (32 - width) + width, down * (36 - height) + height)
        for right, down in corners
        for width, height in [(6, 12), (12, 6)]
    }
    assert places == {"evaluation": {(0, 0, 6, 12)}, "training": anywhere}


def test_what_cannot_be_seen_is_not_planted():
    plain = np.full((32, 32, 3), 120, np.uint8)
    for image, names, severity in [
        (SCENES[0], ["Unnatural Lighting Gradients"], 0.001),
        (plain, ["Blurred boundaries in fine details", "Aliasing along high-contrast edges"], 1.0),
        (plain, ["Over-sharpening artifacts"], 1.0),
    ]:
        planted = plant(image, names, np.random.default_rng(0), "training", severity)
        assert planted.artifacts == [] and np.array_equal(planted.image, image)


def test_visible_change_is_what_later_changes_left():
    before, after = np.full((32, 32, 3), 100), np.full((32, 32, 3), 100)
    after[:16] += [20, -30, 0]
    upper = np.zeros((32, 32), bool)
    upper[:16] = True
    assert visible_change(before, after, after, upper) == pytest.approx(30)
    assert visible_change(before, after, after, np.ones((32, 32), bool)) == pytest.approx(15)
    assert visible_change(before, after, (before + after) / 2, upper) == pytest.approx(15)
    assert visible_change(before, after, before, upper) == 0
    assert visible_change(before, before, after, upper) == 0


def test_an_artifact_covered_later_is_not_listed(monkeypatch):
    def paint(level):
        return lambda image, severity, rng: (np.full_like(image, level), np.ones(image.shape[:2]))

    names = ["Over-sharpening artifacts", "Artificial smoothness"]
    gray, white = (Operator(name, "training", paint(level)) for name, level in zip(names, (0.4, 1), strict=True))
    monkeypatch.setattr("tellsign.training.planting.registry.OPERATORS", [gray, white])
    plain, rng = np.full((32, 32, 3), 153, np.uint8), np.random.default_rng(0)
    assert [artifact.label for artifact in plant(plain, names, rng, "training").artifacts] == names[1:]
    assert [artifact.label for artifact in plant(plain, names[:1], rng, "training").artifacts] == names[:1]


@pytest.fixture(scope="module")
def real_images(tmp_path_factory) -> str:
    """Parquet of 150 scenes as JPEG and one as PNG, called real, one broken file, and a fake."""
    path = tmp_path_factory.mktemp("real") / "images.parquet"
    images = [encode(scene(index)) for index in range(150)] + [encode(scene(900, 50, 70), "PNG"), b"broken"]
    labels = ["real"] * len(images) + ["fake"]
    Dataset.from_dict({"image": [*images, encode(scene(901))], "label": labels}).to_parquet(path)
    return str(path)


def rows_of(path: str, **options) -> list[dict]:
    reals = load_sources(path, "train").filter(lambda row: row["label"] == 0)
    return list(planted_images(reals, "evaluation", **options))


def test_untouched_images_are_real_and_have_their_share(real_images):
    rows = [row for seed in range(4) for row in rows_of(real_images, untouched=0.4, most=2, seed=seed)]
    untouched = [row for row in rows if not row["artifacts"]]
    assert len(untouched) / len(rows) == pytest.approx(0.4, abs=0.1)
    assert {len(row["artifacts"]) for row in rows} == {0, 1, 2}
    reals = load_sources(real_images, "train")
    contents = dict(zip(reals["sha1"], (image["bytes"] for image in reals["image"]), strict=True))
    for row in untouched:
        assert row["image"]["bytes"] == encode(decode_uniformly(contents[row["sha1"]], 32))
    assert not any(row["artifacts"] for row in rows_of(real_images, untouched=1.0))


def test_every_artifact_is_planted_now_and_then(real_images):
    rows = [row for seed in range(4) for row in rows_of(real_images, untouched=0.0, seed=seed)]
    assert {artifact["label"] for row in rows for artifact in row["artifacts"]} == set(plantable())


def test_a_row_depends_on_its_own_image_and_the_seed_alone(real_images):
    reals = load_sources(real_images, "train").select(range(12))
    forward = {row["sha1"]: row for row in planted_images(reals, "training", seed=5)}
    backward = {row["sha1"]: row for row in planted_images(reals.select(range(11, 4, -1)), "training", seed=5)}
    assert len(forward) == 12 and len(backward) == 7
    assert all(forward[sha1] == row for sha1, row in backward.items())
    assert forward != {row["sha1"]: row for row in planted_images(reals, "training", seed=6)}


def test_a_broken_image_is_left_out_and_the_rest_planted(real_images):
    assert len(rows_of(real_images)) == 151


def test_a_data_set_comes_back_from_parquet(real_images, tmp_path):
    arguments = ["data", "--data", real_images, *"--count 40 --use training --untouched 0.25 --seed 3".split()]
    outputs = [str(tmp_path / name) for name in ("one.parquet", "two.parquet")]
    for output in outputs:
        result = CliRunner().invoke(app, [*arguments, "--output", output], catch_exceptions=False)
    first, second = (Dataset.from_parquet(output, cache_dir=str(tmp_path)) for output in outputs)
    assert first.features == PLANTED_FEATURES
    assert first.data.table == second.data.table
    labels = [artifact["label"] for row in first for artifact in row["artifacts"]]
    untouched = sum(not row["artifacts"] for row in first)
    assert f"{len(first)} images, {untouched} without an artifact" in result.stdout
    assert all(f"{labels.count(name):6} {name}" in result.stdout for name in plantable())
    for row in first:
        file = row["image"]
        assert isinstance(file, JpegImagePlugin.JpegImageFile) and file.size == (32, 32)
        assert JpegImagePlugin.get_sampling(file) == 2
        for artifact in row["artifacts"]:
            mask = np.asarray(artifact["mask"])
            assert mask.shape == (32, 32) and mask.dtype == bool
            assert artifact["box"] == tight_box(mask)
            assert mask.all() or artifact["label"] not in GLOBAL_ARTIFACTS


def test_planted_images_have_the_size_that_was_asked_for(real_images):
    reals = load_sources(real_images, "train").select(range(1))
    (row,) = planted_images(reals, "training", image_size=48, untouched=0.0)
    assert Image.open(io.BytesIO(row["image"]["bytes"])).size == (48, 48)
    assert Image.open(io.BytesIO(row["artifacts"][0]["mask"]["bytes"])).size == (48, 48)


@pytest.mark.parametrize(
    "image", [SCENES[0] / 255, SCENES[0][..., 0], np.zeros((32, 32, 4), np.uint8), SCENES[0][:20]]
)
def test_planting_refuses_what_is_not_an_image(image):
    with pytest.raises(ValueError, match="image: expected uint8"):
        plant(image, plantable("training"), np.random.default_rng(0), "training")


def test_planting_refuses_unknown_names_and_uses():
    rng = np.random.default_rng(0)
    with pytest.raises(
        ValueError, match="'Dental anomalies in mammals' cannot be planted for training, only: Discont"
    ):
        plant(SCENES[0], ["Dental anomalies in mammals"], rng, "training")
    with pytest.raises(
        ValueError, match="'Cinematization Effects' cannot be planted for training, only: Discontinuous"
    ):
        plant(SCENES[0], ["Cinematization Effects"], rng, "training")
    with pytest.raises(ValueError, match="no artifact is called 'Nonsense', nearest"):
        plant(SCENES[0], ["Nonsense"], rng, "training")
    with pytest.raises(ValueError, match="use: expected training or evaluation, got 'test'"):
        plant(SCENES[0], plantable(), rng, "test")


def test_planted_data_go_to_a_parquet_file(real_images, tmp_path):
    arguments = ["data", "--data", real_images, "--output", str(tmp_path / "planted.json"), "--use", "training"]
    with pytest.raises(ValueError, match="planted.json: expected a name that ends in .parquet"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_data_without_a_real_image_is_refused(tmp_path):
    path = str(tmp_path / "fake.parquet")
    Dataset.from_dict({"image": [encode(SCENES[0])], "label": ["fake"]}).to_parquet(path)
    arguments = ["data", "--data", path, "--output", str(tmp_path / "planted.parquet"), "--use", "training"]
    with pytest.raises(ValueError, match="fake.parquet: there is no real image"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
