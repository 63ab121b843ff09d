import numpy as np
import pytest
import torch

from tellsign.training.data import decode_uniformly, load_sources
from tellsign.training.train_generator import LATENT_SIZE, Autoencoder, Discriminator, Generator, Kind, main


@pytest.mark.parametrize("network, size", [(Generator, (LATENT_SIZE, 1, 1)), (Autoencoder, (3, 32, 32))])
def test_generators_and_discriminator_fit_together_at_32_pixels(network, size):
    images = network(width=4)(torch.randn(2, *size))
    assert images.shape == (2, 3, 32, 32)
    assert images.abs().max() <= 1
    assert Discriminator(width=4)(images).shape == (2, 1, 1, 1)


def run(kind: Kind, parquet: str, output, steps: int = 2) -> list[dict]:
    main(kind, data=[parquet], output=output, steps=steps, batch_size=4, width=4, count=3, seed=1)
    return list(load_sources(str(output), "train"))


@pytest.mark.parametrize("kind", list(Kind))
def test_a_short_run_writes_pairs_that_repeat_with_the_seed(kind, parquet, tmp_path):
    rows = run(kind, parquet, tmp_path / "a.parquet")
    assert rows == run(kind, parquet, tmp_path / "b.parquet")
    assert [row["label"] for row in rows] == [0, 0, 0, 1, 1, 1]
    assert {row["generator"] for row in rows[3:]} == {f"tellsign-{kind}"}
    assert {row["sha1"] for row in rows[:3]}.isdisjoint(row["sha1"] for row in rows[3:])


def test_reconstructions_come_nearer_to_their_own_original(parquet, tmp_path):
    def error(steps: int) -> float:
        rows = run(Kind.AUTOENCODER, parquet, tmp_path / f"{steps}.parquet", steps)
        pictures = np.stack([decode_uniformly(row["image"]["bytes"], 32) for row in rows]).astype(float)
        return float(np.mean((pictures[:3] - pictures[3:]) ** 2))

    assert error(200) < 0.7 * error(2)
