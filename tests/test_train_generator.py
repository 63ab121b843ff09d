from dataclasses import replace

import numpy as np
import pytest
import torch

from tellsign.training import train_generator
from tellsign.training.data.sources import load_sources
from tellsign.training.train_generator import (
    LATENT_SIZE,
    Design,
    Discriminator,
    Generator,
    Loss,
    Upsampling,
    main,
)


@pytest.mark.parametrize("upsampling", list(Upsampling))
def test_generators_and_discriminator_fit_together_at_32_pixels(upsampling):
    images = Generator(Design(upsampling, torch.nn.ReLU, Loss.HINGE, width=4))(torch.randn(2, LATENT_SIZE, 1, 1))
    assert images.shape == (2, 3, 32, 32)
    assert images.abs().max() <= 1
    assert Discriminator(width=4)(images).shape == (2, 1, 1, 1)


@pytest.mark.parametrize("loss", list(Loss))
def test_each_side_of_a_loss_falls_with_right_scores(loss):
    low, high = torch.full((2,), -0.5), torch.full((2,), 0.5)
    assert loss.of_discriminator(real=high, fake=low) < loss.of_discriminator(real=low, fake=high)
    assert loss.of_generator(high) < loss.of_generator(low)


def test_networks_grow_in_turn_by_each_way_and_differ_otherwise():
    rng = np.random.default_rng(0)
    designs = [Design.draw(number, rng) for number in range(8)]
    assert [design.upsampling for design in designs] == 2 * list(Upsampling)
    assert len({(design.activation, design.loss, design.width) for design in designs}) > 4


@pytest.fixture
def narrow(monkeypatch):
    """Networks of sixteen channels, which train in less time."""
    draw = Design.draw
    monkeypatch.setattr(Design, "draw", lambda *arguments: replace(draw(*arguments), width=16))


def run(parquet: str, output, steps: int = 4, networks: int = 1) -> list[dict]:
    main(data=[parquet], output=output, networks=networks, steps=steps, batch_size=4, snapshots=2, count=8, seed=1)
    return list(load_sources(str(output), "train"))


def test_a_run_writes_fakes_that_repeat_with_the_seed(narrow, parquet, tmp_path):
    rows = run(parquet, tmp_path / "a.parquet", networks=2)
    assert rows == run(parquet, tmp_path / "b.parquet", networks=2)
    assert {row["label"] for row in rows} == {1}
    assert [row["generator"] for row in rows] == 4 * ["tellsign-gan-0"] + 4 * ["tellsign-gan-1"]


def test_too_few_steps_or_images_are_refused_before_training(parquet, tmp_path):
    with pytest.raises(ValueError, match="--steps 1: too few for --snapshots 2, give at least 2"):
        run(parquet, tmp_path / "a.parquet", steps=1)
    with pytest.raises(ValueError, match="8 images are too few for 5 networks that draw 2 times each"):
        run(parquet, tmp_path / "a.parquet", networks=5)


def test_a_stopped_run_goes_on_with_the_network_it_was_at(narrow, parquet, tmp_path, monkeypatch):
    whole = run(parquet, tmp_path / "whole.parquet", networks=2)
    trained = train_generator.train

    def stopped(design, *arguments):
        if design.upsampling is Upsampling.NEAREST:  # the second network
            raise KeyboardInterrupt
        return trained(design, *arguments)

    monkeypatch.setattr(train_generator, "train", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(parquet, tmp_path / "a.parquet", networks=2)
    assert not (tmp_path / "a.parquet").exists()

    def only_second(design, *arguments):
        assert design.upsampling is Upsampling.NEAREST
        return trained(design, *arguments)

    monkeypatch.setattr(train_generator, "train", only_second)
    assert run(parquet, tmp_path / "a.parquet", networks=2) == whole
    assert not [*tmp_path.glob("*.part"), *tmp_path.glob("*.writing")]
