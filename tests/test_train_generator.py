import numpy as np
import torch
from PIL import Image

from tellsign.training.train_generator import LATENT_SIZE, Discriminator, Generator, main


def test_generator_and_discriminator_fit_together_at_32_pixels():
    images = Generator(width=4)(torch.randn(2, LATENT_SIZE, 1, 1))
    assert images.shape == (2, 3, 32, 32)
    assert images.abs().max() <= 1
    assert Discriminator(width=4)(images).shape == (2, 1, 1, 1)


def test_a_short_run_writes_distinct_pictures_that_repeat_with_the_seed(parquet, tmp_path):
    for folder in ("a", "b"):
        main(data=[parquet], output_dir=tmp_path / folder, steps=2, batch_size=4, width=4, samples=3, seed=1)
    pictures = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "a").iterdir())]
    assert [picture.shape for picture in pictures] == [(32, 32, 3)] * 3
    assert not np.array_equal(pictures[0], pictures[1])
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
