import json
import re
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file

from tellsign.hub_cards.card_tables import leave_out_tables
from tellsign.training import leave_out, train_detector
from tellsign.training.data.families import family_of
from tellsign.training.data.groups import DataArguments, load_groups
from tellsign.training.data.sources import load_sources
from tellsign.training.leave_out import assign_folds, check_start, generators_of_fakes, main, score_fold
from tests.conftest import TINY


@pytest.fixture
def sources(synthetic_rows, tmp_path) -> str:
    """The synthetic images as of three cameras and four generators of different sizes."""
    rows = dict(synthetic_rows)
    cameras, noises = iter("a" * 10 + "b" * 8 + "c" * 6), iter("p" * 9 + "q" * 7 + "r" * 6 + "s" * 2)
    rows["generator"] = [next(noises) if label == "fake" else next(cameras) for label in rows["label"]]
    Dataset.from_dict(rows).to_parquet(tmp_path / "sources.parquet")
    return str(tmp_path / "sources.parquet")


def test_each_source_is_left_out_once_and_folds_are_of_similar_size(sources):
    assert assign_folds(load_sources(sources, "train"), 2) == {"a": 0, "b": 1, "c": 1, "p": 0, "q": 1, "r": 1, "s": 0}


def test_generators_of_a_family_are_left_out_together(sources):
    names = {"p": "flux.1-dev", "q": "Some FLUX.1-dev again", "r": "midjourney", "s": "midjourney (later)"}
    images = load_sources(sources, "train").map(
        lambda row: {"generator": names.get(row["generator"], row["generator"])}
    )
    folds = assign_folds(images, 2)
    assert {folds[names["p"]]} == {folds[names["q"]]} != {folds[names["r"]]} == {folds[names["s"]]}


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("stable-diffusion-1.5 (artist cheatsheet)", "Stable Diffusion 1"),
        ("sdnext-ref: XCLiu--instaflow_0_9B_from_sd_1_5", "Stable Diffusion 1"),
        ("dreamshaper-8 (SD1.5)", "Stable Diffusion 1"),
        ("sdnext-ref: stabilityai--stable-diffusion-xl-base-1.0", "SDXL"),
        ("sdnext-ref: stabilityai--stable-diffusion-3_5-large", "Stable Diffusion 3"),
        ("realvisxl-v3-turbo (SDXL)", "SDXL"),
        ("sdnext-ref: PixArt-alpha--PixArt-XL-2-512x512", "PixArt"),
        ("sdnext-ref: black-forest-labs--FLUX.2-dev", "FLUX.2"),
        ("sdnext-ref: purplesmartai--pony-v7-base", "AuraFlow"),
        ("dall-e (gallery_twin)", "DALL-E"),
        ("DALLE 3", "DALL-E"),
        ("dalle-mini", "DALL-E mini"),
        ("dalle-mega", "DALL-E mini"),
        ("stylegan2-lsun-cat", "StyleGAN2"),
        ("sdcpp:ovis_image", "Ovis"),
        ("sdnext-ref: AIDC-AI--Ovis-Image-7B", "Ovis"),
        ("sd-img2img-sdedit", "Stable Diffusion 1"),
        ("pix2pixhd-cityscapes", "pix2pix"),
        ("stable_diffusion_v_1_4", "Stable Diffusion 1"),
        ("stable-diffusion-xl", "SDXL"),
        ("Midjourney v5.2", "Midjourney"),
        ("sdnext-ref: Freepik--F-Lite-7B", "F-Lite"),
        ("sdnext-ref: Photoroom--prxpixel-t2i", "PRX"),
        ("mindalle", "mindalle"),
        ("stabilityai/stable-diffusion-v2", "Stable Diffusion 2"),
        ("sd-2.1", "Stable Diffusion 2"),
        ("sd-v1-4", "Stable Diffusion 1"),
        ("sd-3.5-large", "Stable Diffusion 3"),
        ("FLUX 2", "FLUX.2"),
        ("dreamshaper-xl", "SDXL"),
        ("juggernautXL", "SDXL"),
        ("glid-3-xl", "glid-3-xl"),
        ("u-vit (ImageNet-256)", "u-vit"),
    ],
)
def test_versions_and_fine_tunes_belong_to_the_family_of_their_model(name, family):
    assert family_of(name) == family


def test_families_seen_are_those_of_all_training_data(sources, parquet):
    arguments = DataArguments(train_data=[f"{sources}+{parquet}", parquet])
    assert generators_of_fakes(load_groups(arguments)) == {"p", "q", "r", "s", "noise"}


def test_more_folds_than_sources_and_a_name_of_both_classes_raise(sources):
    images = load_sources(sources, "train")
    with pytest.raises(ValueError, match="3 sources of real images cannot be left out in 4 folds"):
        assign_folds(images, 4)
    renamed = images.map(lambda row: {"generator": "same"})
    with pytest.raises(ValueError, match="same: has real and fake images"):
        assign_folds(renamed, 2)


def test_scores_are_those_of_each_generator_against_all_reals_of_the_fold():
    labels = np.asarray([0, 0, 0, 0, 1, 1, 1, 1, 1])
    names = np.asarray(["x", "x", "x", "y", "good", "good", "bad", "bad", "single"])
    probabilities = np.asarray([0.1, 0.2, 0.3, 0.6, 0.9, 0.8, 0.15, 0.25, 0.7])
    verdicts = np.asarray(["real" if p < 0.2 else "fake" if p > 0.7 else "uncertain" for p in probabilities])
    result = score_fold(labels, names, probabilities, verdicts, 0.65, {"bad"}, None, pool_below=2, resamples=10)
    assert set(result["generators"]) == {"good", "bad", "1 others"}
    assert [result["generators"][name]["family_seen"] for name in ("good", "bad", "1 others")] == [False, True, False]
    good, bad = result["generators"]["good"], result["generators"]["bad"]
    assert good["auroc"]["value"] == 1 and bad["auroc"]["value"] == 3 / 8
    assert [row["balanced_accuracy_at_threshold"]["value"] for row in (good, bad)] == [1, 1 / 2]
    assert good["recall_at_5_fpr"]["value"] == 1 and bad["recall_at_5_fpr"]["value"] == 0
    assert bad["called_fake"]["value"] == 0 and bad["called_real"]["value"] == 0.5
    x, y = result["collections"]["x"], result["collections"]["y"]
    assert x["above_0.5"]["value"] == 0 and x["called_real"]["value"] == pytest.approx(1 / 3)
    assert y["above_0.5"]["value"] == 1 and y["above_threshold"]["value"] == y["called_fake"]["value"] == 0
    unseen, seen, photographs = leave_out_tables([result])
    assert "| mean of the rows | 3 | 100.0 [100.0, 100.0] |" in unseen  # of good and 1 others
    assert "| bad | 2 |" in seen and "| good |" not in seen and "| bad |" not in unseen
    of_all = np.mean([row["auroc"]["value"] for row in result["generators"].values()])
    assert f"| mean of all the rows | 5 | {100 * of_all:.1f} [" in seen
    none = "0.0 [0.0, 0.0]"
    assert f"| mean of the rows | 4 | {none} | 50.0 [0.0, 100.0] | {none} | 16.7 [0.0, 33.3] |" in photographs
    assert f"| mean of the images | 4 | {none} | 25.0 [0.0, 100.0] | {none} | 25.0 [0.0, 33.3] |" in photographs
    result = score_fold(
        labels, names, probabilities, verdicts, 0.65, {"bad", "single"}, None, pool_below=3, resamples=10
    )
    assert {name: row["family_seen"] for name, row in result["generators"].items()} == {
        "1 others": False,
        "2 others of families seen": True,
    }


def test_photographs_of_collections_seen_stand_against_each_generator_too():
    labels, names = np.asarray([0, 0, 1, 1, 1]), np.asarray(["x", "x", "good", "bad", "bad"])
    probabilities, verdicts = np.asarray([0.1, 0.2, 0.9, 0.15, 0.25]), np.asarray(["uncertain"] * 5)
    photographs = np.asarray([0.05, 0.18, 0.22])
    result = score_fold(labels, names, probabilities, verdicts, 0.5, set(), photographs, pool_below=1, resamples=10)
    aurocs = {name: row["auroc_seen_collections"]["value"] for name, row in result["generators"].items()}
    assert aurocs == {"good": 1, "bad": pytest.approx(4 / 6)}
    generators, collections = leave_out_tables([result])
    assert "photographs of collections seen" in generators and "collections seen" not in collections
    assert "| mean of the rows | 3 | 87.5 [75.0, 100.0] | 83.3 [66.7, 100.0] |" in generators


def test_the_interval_of_a_mean_is_that_of_means_of_as_many_sources_drawn_anew():
    values = np.random.default_rng(0).normal(0.5, 0.1, 40)
    row = {key: {"value": 0.0, "interval": [0.0, 0.0]} for key in ("above_0.5", "called_fake", "called_real")}
    collections = {
        f"collection {index}": {"images": 10, "above_threshold": {"value": value, "interval": [0, 1]}} | row
        for index, value in enumerate(values)
    }
    (table,) = leave_out_tables([{"generators": {}, "collections": collections}])
    mean, low, high = map(float, re.search(r"mean of the rows \| 400 \| (\S+) \[(\S+), (\S+)\]", table).groups())
    half_width = 1.96 * 100 * values.std() / np.sqrt(len(values))
    assert [mean, low, high] == pytest.approx(100 * values.mean() + np.asarray([0, -half_width, half_width]), abs=0.3)
    (table,) = leave_out_tables([{"generators": {}, "collections": {"x": collections["collection 0"]}}])
    assert f"| mean of the rows | 10 | {100 * values[0]:.1f} |" in table  # one source does not say how they differ


def test_runs_train_without_the_sources_they_score_and_are_not_repeated(sources, tmp_path, capsys, monkeypatch):
    training = ["--train_data", sources, "--views", "--validation_per_class", "3", "--config_overrides"]
    training += [json.dumps(TINY), "--max_steps", "2", "--per_device_train_batch_size", "4", "--report_to", "none"]
    training += ["--use_cpu", "--save_strategy", "no"]
    seen, held_out, scored = [], [], []
    load_images, score_images = train_detector.load_images, leave_out.score_images

    def spy(*arguments):
        views, validation = load_images(*arguments)
        seen.append({*views.groups[0]["generator"], *validation["generator"]})
        held_out.append({row["sha1"] for row in validation if row["label"] == 0})
        return views, validation

    def spy_on_scores(model, image_processor, images, views):
        scored.append(set(images["sha1"]))
        return score_images(model, image_processor, images, views)

    monkeypatch.setattr(train_detector, "load_images", spy)
    monkeypatch.setattr(leave_out, "score_images", spy_on_scores)
    main(sources, tmp_path / "runs", training, folds=2, pool_below=2, resamples=10)
    assert seen == [{"b", "c", "q", "r"}, {"a", "p", "s"}]
    assert scored[::2] == held_out  # photographs of the collections seen
    record = json.loads((tmp_path / "runs" / "leave_out.json").read_text())
    folds = record["folds"]
    assert [set(fold["generators"]) for fold in folds] == [{"p", "s"}, {"q", "r"}]
    assert all("auroc_seen_collections" in row for fold in folds for row in fold["generators"].values())
    assert record["training"] == ["--train_data", Path(sources).name, *training[2:]]
    assert record["data"] == Path(sources).name and (record["views"], record["pool_below"]) == (1, 2)
    # Three validation photographs promise nothing: no image is above a probability of 1.
    assert {row["above_threshold"]["value"] for fold in folds for row in fold["collections"].values()} == {0.0}
    assert (tmp_path / "runs" / "leave_out.png").stat().st_size > 1000
    first = capsys.readouterr().out
    main(sources, tmp_path / "runs", training, folds=2, pool_below=2, resamples=10)
    assert len(seen) == 2 and capsys.readouterr().out.endswith(first[-500:])
    main(sources, tmp_path / "runs", training, folds=2, pool_below=2, views=3, resamples=10)  # of 32 pixels: one view
    several = json.loads((tmp_path / "runs" / "leave_out_views_3.json").read_text())
    assert len(seen) == 2 and several == record | {"views": 3}
    with pytest.raises(ValueError, match="fold-0 is of a run with other arguments"):
        main(sources, tmp_path / "runs", [*training, "--seed", "1"], folds=2)


def test_what_is_left_out_of_all_runs_is_left_out_of_each(sources, tmp_path, monkeypatch):
    runs = []

    def stop(arguments):
        runs.append(train_detector.parse_arguments(arguments)[1].leave_out)
        raise KeyboardInterrupt

    monkeypatch.setattr(train_detector, "main", stop)
    with pytest.raises(KeyboardInterrupt):
        main(sources, tmp_path / "runs", ["--train_data", sources, "--leave_out", "r", "--use_cpu"], folds=2)
    assert runs == [["r", "a", "p", "s"]]


@pytest.mark.parametrize("seen_by", ["train_data", "start_train_data"])
def test_a_start_that_saw_the_sources_is_refused_and_so_is_one_whose_start_did(sources, tmp_path, seen_by):
    recipe = {"train_data": ["cifake.parquet"]} | {seen_by: ["cifake.parquet", "cameras.parquet+sources.parquet"]}
    (tmp_path / "training.json").write_text(json.dumps(recipe))
    training = ["--train_data", "a.parquet", "--model_name_or_path", str(tmp_path)]
    with pytest.raises(ValueError, match="was trained on sources.parquet: what it saw cannot be left out"):
        main(sources, tmp_path / "runs", training, folds=2)


def test_runs_may_start_from_those_that_were_without_the_same_sources(sources, tmp_path):
    common = ["--train_data", sources, "--validation_per_class", "3", "--per_device_train_batch_size", "4"]
    common += ["--report_to", "none", "--use_cpu", "--save_strategy", "no"]
    first = [*common, "--config_overrides", json.dumps(TINY), "--max_steps", "1"]
    main(sources, tmp_path / "first", first, folds=2, resamples=2)
    second = [*common, "--model_name_or_path", str(tmp_path / "first" / "fold-{fold}"), "--num_train_epochs", "0"]
    main(sources, tmp_path / "second", second, folds=2, resamples=2)
    for fold in range(2):
        before, after = (
            load_file(tmp_path / run / f"fold-{fold}" / "model.safetensors") for run in ("first", "second")
        )
        assert all(torch.equal(value, before[name]) for name, value in after.items())
    folds = [json.loads((tmp_path / run / "leave_out.json").read_text())["folds"] for run in ("first", "second")]
    assert folds[0] == folds[1]
    other = [*common, "--model_name_or_path", str(tmp_path / "first" / "fold-1"), "--num_train_epochs", "0"]
    with pytest.raises(ValueError, match="fold-1 was trained on sources.parquet: what it saw cannot be left out"):
        main(sources, tmp_path / "third", other, folds=2, resamples=2)


def test_an_expert_that_saw_the_sources_is_refused(sources, tmp_path):
    (tmp_path / "training.json").write_text(json.dumps({"train_data": ["sources.parquet"]}))
    training = ["--train_data", "a.parquet", "--expert", str(tmp_path)]
    with pytest.raises(ValueError, match="was trained on sources.parquet: what it saw cannot be left out"):
        main(sources, tmp_path / "runs", training, folds=2)


def test_fakes_without_a_name_are_named_in_a_warning(sources, textured, tmp_path, monkeypatch):
    warned = Mock()
    monkeypatch.setattr(leave_out.logger, "warning", warned)
    monkeypatch.setattr(train_detector, "main", Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        main(sources, tmp_path, ["--train_data", textured], folds=2)
    assert "fakes without a generator's name" in warned.call_args.args[0]


def test_with_several_views_the_threshold_is_that_of_means_of_as_many(sources, tmp_path, monkeypatch):
    training = ["--train_data", sources, sources, "--views", "--validation_per_class", "3", "--config_overrides"]
    training += [json.dumps(TINY), "--max_steps", "1", "--per_device_train_batch_size", "4", "--report_to", "none"]
    training += ["--use_cpu", "--save_strategy", "no"]
    fitted_on = []

    def fit(labels, probabilities, groups):
        fitted_on.append(np.bincount(groups[labels == 0]).tolist())
        return -1.0

    monkeypatch.setattr(leave_out, "fit_decision_threshold", fit)
    shares = {}
    for views in (1, 2):
        main(sources, tmp_path, training, folds=2, pool_below=2, views=views, resamples=10)
        name = "leave_out" if views == 1 else "leave_out_views_2"
        folds = json.loads((tmp_path / f"{name}.json").read_text())["folds"]
        shares[views] = {row["above_threshold"]["value"] for fold in folds for row in fold["collections"].values()}
    assert shares == {1: {0.0}, 2: {1.0}}
    assert fitted_on == [[3, 3]] * 2  # images that two groups share count in both, as when the run was calibrated


def test_what_a_start_saw_and_the_runs_do_not_is_named_in_a_warning(tmp_path, monkeypatch):
    (tmp_path / "training.json").write_text('{"train_data": ["a.parquet+b.parquet", "c.parquet"]}')
    warned = Mock()
    monkeypatch.setattr(leave_out.logger, "warning", warned)
    check_start(["sources.parquet"], ["c.parquet+a.parquet", "b.parquet"], str(tmp_path), ["x"])
    warned.assert_not_called()
    check_start(["sources.parquet"], ["c.parquet"], str(tmp_path), ["x"])
    assert "was trained on a.parquet, b.parquet too" in warned.call_args.args[0]
