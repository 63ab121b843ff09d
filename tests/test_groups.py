from collections import Counter

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, load_dataset
from torch.utils.data import DataLoader

from tellsign import WaveFreqConfig, WaveFreqImageProcessor
from tellsign.training.data import groups as detector_data
from tellsign.training.data import sources
from tellsign.training.data.groups import DataArguments, load_images, stream_images


def test_a_group_that_would_all_be_held_out_is_named(parquet):
    arguments = DataArguments(train_data=[parquet], validation_per_class=24)
    with pytest.raises(
        ValueError, match=f"--validation_per_class: {parquet}: cannot hold out 24 images of class real"
    ):
        load_images(arguments, WaveFreqImageProcessor(), WaveFreqConfig(), seed=0)


def test_what_is_held_out_is_in_no_group(parquet, synthetic_rows, tmp_path):
    rows = {name: values[:16] for name, values in synthetic_rows.items()}
    Dataset.from_dict(rows).to_parquet(tmp_path / "again.parquet")
    arguments = DataArguments(
        train_data=[parquet, f"{tmp_path / 'again.parquet'}+{parquet}"],
        validation_per_class=8,
        views=True,
    )
    views, validation = load_images(arguments, WaveFreqImageProcessor(), WaveFreqConfig(), seed=0)
    # The second group holds the same images: they are held out of both, and each has as many of each class.
    assert len(views.groups) == 2 and len(set(validation["sha1"])) == 16
    pairs = Counter(zip(validation["group"], validation["label"], strict=True))
    assert pairs == {(group, label): 8 for group in (0, 1) for label in (0, 1)}
    for group in views.groups:
        assert not set(group["sha1"]) & set(validation["sha1"])


@pytest.mark.parametrize("views", [False, True])
def test_batches_say_what_real_images_show_if_known(with_categories, parquet, views):
    other = DataArguments(train_data=[with_categories, parquet], validation_per_class=6, views=views)
    config = WaveFreqConfig(real_categories=["slope", "ramp"])
    images, _ = load_images(other, WaveFreqImageProcessor(), config, seed=0)
    batch = images.__getitems__(list(range(len(images))))
    assert {*zip(batch["labels"].tolist(), batch["category_labels"].tolist(), strict=True)} >= {
        (0, 0),
        (0, 1),
        (0, -100),
    }
    assert set(batch["category_labels"][batch["labels"] == 1].tolist()) == {-100}


def test_categories_that_no_image_shows_are_refused(parquet):
    arguments = DataArguments(train_data=[parquet], validation_per_class=8)
    with pytest.raises(ValueError, match="no real image has one of the categories cat in the column category"):
        load_images(arguments, WaveFreqImageProcessor(), WaveFreqConfig(real_categories=["cat"]), seed=0)
    with pytest.raises(ValueError, match="real_categories: not with --streaming"):
        stream_images(arguments, WaveFreqImageProcessor(), WaveFreqConfig(real_categories=["cat"]), seed=0, workers=0)


def test_no_worker_streams_what_is_held_out(parquet, tmp_path, monkeypatch):
    table = pq.read_table(parquet)
    for name, rows in (("a", table.slice(0, 24)), ("b", table.slice(24))):
        pq.write_table(rows, tmp_path / f"{name}.parquet")
    monkeypatch.setattr(detector_data, "stream_views", lambda streams, *arguments, **options: streams)
    group = f"{tmp_path / 'a.parquet'}+{tmp_path / 'b.parquet'}"
    other = f"{tmp_path / 'b.parquet'}+{tmp_path / 'a.parquet'}"
    arguments = DataArguments(train_data=[group, other, group], streaming=True, validation_per_class=6)
    streams, validation = stream_images(arguments, None, WaveFreqConfig(), seed=0, workers=0)
    held_out = {image["bytes"] for image in validation["image"]}
    assert np.bincount(validation["group"]).tolist() == [12, 12, 12]
    seen = []
    for stream in streams:
        for batch in DataLoader(stream, batch_size=4, num_workers=2, collate_fn=list):
            seen += [row["image"]["bytes"] for row in batch]
    assert not held_out & set(seen)
    assert set(seen) | held_out == set(table["image"].to_pylist())


def test_workers_are_refused_where_one_would_lack_a_class(parquet, tmp_path, monkeypatch):
    table = pq.read_table(parquet)
    real = pc.equal(table["label"], "real")
    parts = {"by class": (table.filter(real), table.filter(pc.invert(real))), "mixed": (table, table)}
    options = (WaveFreqImageProcessor(), WaveFreqConfig(), 0)
    for name, shards in parts.items():
        files = [str(tmp_path / f"{name}-{number}.parquet") for number in range(2)]
        for file, shard in zip(files, shards, strict=True):
            pq.write_table(shard, file)
        stream = load_dataset("parquet", data_files=files, split="train", streaming=True)
        monkeypatch.setattr(sources, "_open_source", lambda *args, stream=stream, **kwargs: stream)
        arguments = DataArguments(train_data=["images"], streaming=True, validation_per_class=4)
        assert stream_images(arguments, *options, workers=0)
        if name == "mixed":
            assert stream_images(arguments, *options, workers=2)
        else:
            with pytest.raises(ValueError, match="--streaming: there are shards without images of a class"):
                stream_images(arguments, *options, workers=2)


@pytest.mark.parametrize("per_class", [24, 30])
def test_streams_that_would_all_be_held_out_raise(parquet, per_class):
    arguments = DataArguments(train_data=[parquet], streaming=True, validation_per_class=per_class)
    with pytest.raises(ValueError, match=f"cannot hold out {per_class} images of each class, where one has 24"):
        stream_images(arguments, WaveFreqImageProcessor(), WaveFreqConfig(), seed=0, workers=0)
