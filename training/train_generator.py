"""Trains small GANs on real images, and writes fakes of our own.

    python -m tellsign.training.train_generator --networks 6 --data train.parquet --output gan.parquet

Each network has its own random design, since a detector that knows the traces of one network finds nothing in the
images of another. It is trained against a discriminator with spectral normalization (Miyato et al., 2018, arXiv
1802.05957). The average of the generator's weights draws the fakes, at several times of its training.

The detector learns from the fakes beside the images that the generators were trained on:
`--train_data train.parquet+gan.parquet`.
"""

import hashlib
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from datasets import Dataset
from torch import nn
from torch.nn.functional import softplus
from torch.nn.utils.parametrizations import spectral_norm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from transformers import set_seed

from tellsign import WaveFreqImageProcessor
from tellsign.training.data.images import FAKE_FEATURES, DecodedImages, fake_row, whole_batch
from tellsign.training.data.sources import load_real_images


LATENT_SIZE = 128


class Upsampling(StrEnum):
    TRANSPOSED = "transposed convolution"
    NEAREST = "nearest neighbors"
    BILINEAR = "bilinear"
    SHUFFLE = "pixel shuffle"

    def layers(self, in_channels: int, out_channels: int) -> list[nn.Module]:
        """Layers that double height and width."""
        if self is Upsampling.TRANSPOSED:
            return [nn.ConvTranspose2d(in_channels, out_channels, 4, 2, 1)]
        if self is Upsampling.SHUFFLE:
            return [nn.Conv2d(in_channels, 4 * out_channels, 3, 1, 1), nn.PixelShuffle(2)]
        mode = "nearest" if self is Upsampling.NEAREST else "bilinear"
        return [nn.Upsample(scale_factor=2, mode=mode), nn.Conv2d(in_channels, out_channels, 3, 1, 1)]


class Loss(StrEnum):
    HINGE = "hinge"
    LOGISTIC = "logistic"
    LEAST_SQUARES = "least squares"

    def of_discriminator(self, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        """Mean loss of the scores of real and fake images; least squares as Mao et al. (2017, arXiv 1611.04076)."""
        if self is Loss.LEAST_SQUARES:
            return ((real - 1) ** 2).mean() + (fake**2).mean()
        penalty = torch.relu if self is Loss.HINGE else softplus
        margin = 1 if self is Loss.HINGE else 0
        return penalty(margin - real).mean() + penalty(margin + fake).mean()

    def of_generator(self, fake: torch.Tensor) -> torch.Tensor:
        """Mean loss of the scores of fake images."""
        if self is Loss.LEAST_SQUARES:
            return ((fake - 1) ** 2).mean()
        return softplus(-fake).mean() if self is Loss.LOGISTIC else -fake.mean()


@dataclass(frozen=True)
class Design:
    """The design of a network and its training: `width` is the number of channels of its largest maps."""

    upsampling: Upsampling
    activation: type[nn.Module]
    loss: Loss
    width: int

    @classmethod
    def draw(cls, number: int, rng: np.random.Generator) -> "Design":
        """Draws the design of network `number`. Upsamplings take turns, the rest is random."""
        return cls(
            upsampling=list(Upsampling)[number % len(Upsampling)],
            activation=(nn.ReLU, nn.LeakyReLU, nn.SiLU)[rng.integers(3)],
            loss=list(Loss)[rng.integers(len(Loss))],
            width=8 * int(rng.integers(4, 7)),
        )


class Generator(nn.Sequential):
    """Deep convolutional generator (Radford et al., 2015, arXiv 1511.06434).

    Noise has the shape `(batch_size, LATENT_SIZE, 1, 1)`, images `(batch_size, 3, 32, 32)` and values in [-1, 1].
    """

    def __init__(self, design: Design):
        width = design.width
        layers: list[nn.Module] = [nn.ConvTranspose2d(LATENT_SIZE, 4 * width, 4, bias=False)]
        for in_channels, out_channels in ((4 * width, 2 * width), (2 * width, width), (width, 3)):
            layers += [nn.BatchNorm2d(in_channels), design.activation()]
            layers += design.upsampling.layers(in_channels, out_channels)
        super().__init__(*layers, nn.Tanh())


class Discriminator(nn.Sequential):
    """Scores images of shape `(batch_size, 3, 32, 32)`, high for real ones, in shape `(batch_size, 1, 1, 1)`."""

    def __init__(self, width: int):
        layers: list[nn.Module] = []
        for in_channels, out_channels in itertools.pairwise([3, width, 2 * width, 4 * width]):
            layers += [spectral_norm(nn.Conv2d(in_channels, out_channels, 4, 2, 1)), nn.LeakyReLU(0.1)]
        super().__init__(*layers, spectral_norm(nn.Conv2d(4 * width, 1, 4)))


def _noise(count: int, device: torch.device) -> torch.Tensor:
    return torch.randn(count, LATENT_SIZE, 1, 1, device=device)


def train(
    design: Design,
    images: DecodedImages,
    steps: int,
    batch_size: int,
    snapshots: int,
) -> Iterator[nn.Module]:
    """Trains a generator, and yields the average of its weights, in evaluation mode, several times.

    The images' `pixel_values` are in [-1, 1], and at least a batch. There are so many snapshots: after the last step,
    half as many, a quarter, and so on.
    """
    if len(images) < batch_size:
        raise ValueError(
            f"{len(images)} real images are too few for steps of {batch_size}: give more, or a lower --batch-size"
        )
    loader = DataLoader(images, batch_size, shuffle=True, drop_last=True, collate_fn=whole_batch)
    generator, discriminator = Generator(design), Discriminator(design.width)
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    autocast = partial(torch.autocast, device.type, torch.bfloat16)
    for network in (generator, discriminator):
        network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = AveragedModel(generator, multi_avg_fn=get_ema_multi_avg_fn(0.99), use_buffers=True).eval()
    optimizers = [torch.optim.Adam(network.parameters(), 2e-4, (0.5, 0.999)) for network in (generator, discriminator)]

    batches = itertools.chain.from_iterable(itertools.repeat(loader))
    ends = {steps >> halvings for halvings in range(snapshots)}
    for step in tqdm(range(1, steps + 1), desc=f"{design.upsampling}, {design.loss}", unit="step"):
        real = next(batches)["pixel_values"].to(device)
        with autocast():
            fakes = generator(_noise(len(real), device))
            scores = discriminator(torch.cat([real, fakes.detach()]))
        design.loss.of_discriminator(*scores.float().split(batch_size)).backward()
        optimizers[1].step()
        optimizers[1].zero_grad()

        # Its gradients by this loss would be thrown away.
        discriminator.requires_grad_(False)
        with autocast():
            score = discriminator(fakes)
        design.loss.of_generator(score.float()).backward()
        optimizers[0].step()
        optimizers[0].zero_grad()
        discriminator.requires_grad_(True)
        average.update_parameters(generator)
        if step in ends:
            yield average


@torch.no_grad()
def fakes_of(generator: nn.Module, name: str, count: int) -> Iterator[dict]:
    """Rows of a data set, with fakes of a generator from [`train`] under its name."""
    device = next(generator.parameters()).device
    for part in torch.arange(count).split(250):
        for picture in generator(_noise(len(part), device)).cpu() / 2 + 0.5:
            yield fake_row(picture, name)


def main(
    data: Annotated[list[str], typer.Option(help="Images, of which the real ones are learned from.")],
    output: Annotated[Path, typer.Option(help="Parquet file to write.")],
    networks: Annotated[int, typer.Option(min=1, help="Number of networks to train, one after the other.")] = 1,
    steps: Annotated[int, typer.Option(min=1, help="Steps of each generator.")] = 2000,
    batch_size: Annotated[int, typer.Option(min=1, help="Images of each class in a step.")] = 64,
    snapshots: Annotated[int, typer.Option(min=1, help="Number of times in training when each draws images.")] = 3,
    count: Annotated[int, typer.Option(min=1, help="Most images to write.")] = 16_000,
    seed: Annotated[int, typer.Option(help="Seed of designs, weights, order and samples.")] = 0,
) -> None:
    """Trains generators on 32x32 images and writes their fakes, as JPEG of quality 75.

    Given again after it was stopped, the command goes on with the network where it stopped.

    \f
    Raises:
        ValueError: If there are too few steps for so many snapshots, each at half of the steps of the next. Also if
            there are too few images for each to draw one.
    """
    if not steps >> (snapshots - 1):
        raise ValueError(f"--steps {steps}: too few for --snapshots {snapshots}, give at least {1 << snapshots - 1}")
    set_seed(seed)
    real = load_real_images(data)
    images = DecodedImages(real, WaveFreqImageProcessor(image_mean=[0.5] * 3, image_std=[0.5] * 3))
    drawn = torch.randperm(len(images))[:count]
    if len(drawn) < networks * snapshots:
        raise ValueError(f"{len(drawn)} images are too few for {networks} networks that draw {snapshots} times each")
    sizes = [len(part) for part in drawn.tensor_split(networks * snapshots)]
    # Apart from torch's numbers, so that a stopped run draws the same designs again.
    rng = np.random.default_rng(seed)
    designs = [Design.draw(number, rng) for number in range(networks)]
    run = hashlib.sha1(
        repr((real["sha1"][:], networks, steps, batch_size, snapshots, count, seed)).encode()
    ).hexdigest()
    output.parent.mkdir(parents=True, exist_ok=True)
    parts = [output.with_name(f"{output.stem}-{run[:8]}-{number}.part") for number in range(networks)]
    for number, (design, part) in enumerate(zip(designs, parts, strict=True)):
        if part.exists():
            continue
        set_seed(seed + number)
        rows: list[dict] = []
        of_snapshot = iter(sizes[number * snapshots :])
        for generator in train(design, images, steps, batch_size, snapshots):
            rows += fakes_of(generator, f"tellsign-gan-{number}", next(of_snapshot))
        written = part.with_suffix(".writing")
        Dataset.from_list(rows, features=FAKE_FEATURES).to_parquet(written)
        os.replace(written, part)
    Dataset.from_parquet([str(part) for part in parts], features=FAKE_FEATURES, keep_in_memory=True).to_parquet(output)
    for part in parts:
        part.unlink()


if __name__ == "__main__":
    typer.run(main)
