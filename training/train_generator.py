"""Trains a small generator on real images, and writes fakes of our own beside as many of the real images.

    python -m tellsign.training.train_generator gan --data train.parquet --output gan.parquet
    python -m tellsign.training.train_generator autoencoder --data train.parquet --output autoencoder.parquet

Both are trained against a discriminator with the hinge loss and spectral normalization (Miyato et al., 2018, arXiv
1802.05957). What is written comes from the average of the generator's weights. An autoencoder gives aligned pairs: the
same picture, real and as a decoder draws it, which differ in nothing but what decoders do (Chen et al., 2025, arXiv
2505.14359).
"""

import itertools
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from datasets import ClassLabel, Dataset, Features, Image, Value
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader
from torchvision.transforms.v2.functional import to_pil_image
from tqdm.auto import tqdm
from transformers import set_seed

from tellsign import WaveFreqImageProcessor
from tellsign.training.data import (
    LABELS,
    DecodedImages,
    drop_duplicates,
    encode_uniformly,
    load_sources,
    whole_batch,
)


LATENT_SIZE = 128
REAL, FAKE = range(len(LABELS))


class Kind(StrEnum):
    GAN = "gan"
    AUTOENCODER = "autoencoder"


class Generator(nn.Sequential):
    """Deep convolutional generator (Radford et al., 2015, arXiv 1511.06434).

    Noise of shape `(batch_size, LATENT_SIZE, 1, 1)` to images of shape `(batch_size, 3, 32, 32)` in [-1, 1].
    """

    def __init__(self, width: int):
        layers: list[nn.Module] = []
        sizes = [LATENT_SIZE, 4 * width, 2 * width, width]
        for index, (in_channels, out_channels) in enumerate(itertools.pairwise(sizes)):
            stride, padding = (2, 1) if index else (1, 0)
            layers += [
                nn.ConvTranspose2d(in_channels, out_channels, 4, stride, padding, bias=False),
                nn.BatchNorm2d(out_channels),
                nn.ReLU(inplace=True),
            ]
        super().__init__(*layers, nn.ConvTranspose2d(width, 3, 4, 2, 1), nn.Tanh())


class Autoencoder(nn.Sequential):
    """Images of shape `(batch_size, 3, 32, 32)` in [-1, 1] to their reconstructions from 8x8 latents of 8 channels.

    As in latent diffusion (Rombach et al., 2022, arXiv 2112.10752), the decoder resizes by nearest neighbors.
    """

    def __init__(self, width: int):
        encoder: list[nn.Module] = [nn.Conv2d(3, width, 3, 1, 1), nn.SiLU(inplace=True)]
        decoder: list[nn.Module] = [nn.Conv2d(8, 4 * width, 3, 1, 1), nn.SiLU(inplace=True)]
        for channels in (width, 2 * width):
            encoder += [nn.Conv2d(channels, 2 * channels, 4, 2, 1), nn.SiLU(inplace=True)]
        for channels in (4 * width, 2 * width):
            decoder += [
                nn.Upsample(scale_factor=2),
                nn.Conv2d(channels, channels // 2, 3, 1, 1),
                nn.SiLU(inplace=True),
                nn.Conv2d(channels // 2, channels // 2, 3, 1, 1),
                nn.SiLU(inplace=True),
            ]
        encoder.append(nn.Conv2d(4 * width, 8, 1))
        super().__init__(*encoder, *decoder, nn.Conv2d(width, 3, 3, 1, 1), nn.Tanh())


class Discriminator(nn.Sequential):
    """Images of shape `(batch_size, 3, 32, 32)` to scores of shape `(batch_size, 1, 1, 1)`, high for real ones."""

    def __init__(self, width: int):
        layers: list[nn.Module] = []
        for in_channels, out_channels in itertools.pairwise([3, width, 2 * width, 4 * width]):
            layers += [
                spectral_norm(nn.Conv2d(in_channels, out_channels, 3, 1, 1)),
                nn.LeakyReLU(0.1, inplace=True),
                spectral_norm(nn.Conv2d(out_channels, out_channels, 4, 2, 1)),
                nn.LeakyReLU(0.1, inplace=True),
            ]
        super().__init__(*layers, spectral_norm(nn.Conv2d(4 * width, 1, 4)))


def train(
    kind: Kind, images: DecodedImages, steps: int, batch_size: int, width: int, reconstruction_weight: float = 20.0
) -> nn.Module:
    """Trains a generator of this kind, and returns the average of its weights, in evaluation mode.

    Args:
        kind ([`Kind`]): GAN or autoencoder.
        images ([`DecodedImages`]): Real images, whose `pixel_values` are in [-1, 1].
        steps (`int`): Steps of the generator; the discriminator takes as many.
        batch_size (`int`): Images of each class in a step.
        width (`int`): Channels of the largest maps.
        reconstruction_weight (`float`, *optional*, defaults to 20.0):
            Weight of an autoencoder's mean absolute error, relative to the score of the discriminator.
    """
    loader = DataLoader(images, batch_size, shuffle=True, drop_last=True, collate_fn=whole_batch)
    generator = (Generator if kind is Kind.GAN else Autoencoder)(width)
    discriminator = Discriminator(width)
    average = AveragedModel(generator, multi_avg_fn=get_ema_multi_avg_fn(0.99), use_buffers=True)
    optimizers = [torch.optim.Adam(network.parameters(), 2e-4, (0.5, 0.999)) for network in (generator, discriminator)]

    batches = itertools.chain.from_iterable(itertools.repeat(loader))
    for _ in tqdm(range(steps), desc="Training", unit="step"):
        real = next(batches)["pixel_values"]
        with torch.autocast("cpu", torch.bfloat16):
            fakes = generator(_inputs(kind, real))
            scores = discriminator(real), discriminator(fakes.detach())
        loss = torch.relu(1 - scores[0].float()).mean() + torch.relu(1 + scores[1].float()).mean()
        loss.backward()
        optimizers[1].step()
        optimizers[1].zero_grad()

        with torch.autocast("cpu", torch.bfloat16):
            score = discriminator(fakes)
        loss = -score.float().mean()
        if kind is Kind.AUTOENCODER:
            loss = loss + reconstruction_weight * (fakes.float() - real).abs().mean()
        loss.backward()
        optimizers[0].step()
        optimizers[0].zero_grad()
        optimizers[1].zero_grad()
        average.update_parameters(generator)
    return average.eval()


def _inputs(kind: Kind, real: torch.Tensor) -> torch.Tensor:
    return torch.randn(len(real), LATENT_SIZE, 1, 1) if kind is Kind.GAN else real


@torch.no_grad()
def pairs(
    kind: Kind, generator: nn.Module, images: DecodedImages, generators: list[str], count: int
) -> Iterator[dict]:
    """Rows of a data set: real images and as many fakes, batch by batch; the autoencoder's are of the same pictures.

    Args:
        kind ([`Kind`]): GAN or autoencoder.
        generator (`nn.Module`): From [`train`].
        images ([`DecodedImages`]): Real images, whose `pixel_values` are in [-1, 1].
        generators (`list[str]`): Where each of them comes from.
        count (`int`): Number of pairs, at most as many as there are images.
    """
    chosen = torch.randperm(len(images))[:count]
    for indices in tqdm(chosen.split(250), desc="Writing", unit="batch"):
        real = images.__getitems__(indices)["pixel_values"]
        fakes = generator(_inputs(kind, real))
        for label, names, pictures in (
            (REAL, [generators[index] for index in indices], real),
            (FAKE, [f"tellsign-{kind}"] * len(indices), fakes),
        ):
            levels = (255 * (pictures / 2 + 0.5)).round().clamp(0, 255).byte()
            for name, picture in zip(names, levels, strict=True):
                content = encode_uniformly(to_pil_image(picture))
                yield {"image": {"bytes": content, "path": None}, "label": label, "generator": name}


def main(
    kind: Annotated[Kind, typer.Argument(help="What to train.")],
    data: Annotated[list[str], typer.Option(help="Images, of which the real ones are learnt from.")],
    output: Annotated[Path, typer.Option(help="Parquet file to write.")],
    steps: Annotated[int, typer.Option(help="Steps of the generator.")] = 3500,
    batch_size: Annotated[int, typer.Option(help="Images of each class in a step.")] = 64,
    width: Annotated[int, typer.Option(help="Channels of the largest maps.")] = 32,
    count: Annotated[int, typer.Option(help="Most pairs of a real image and a fake to write.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Seed of weights, order and samples.")] = 0,
) -> None:
    """Trains a generator on 32x32 images and writes pairs of a real image and a fake, all JPEG of quality 75."""
    set_seed(seed)
    dataset = drop_duplicates(load_sources(data, "train"))
    dataset = dataset.select(np.flatnonzero(np.asarray(dataset["label"]) == REAL))
    images = DecodedImages(dataset, WaveFreqImageProcessor(image_mean=[0.5] * 3, image_std=[0.5] * 3))
    generator = train(kind, images, steps, batch_size, width)
    features = Features(
        {"image": Image(decode=False), "label": ClassLabel(names=LABELS), "generator": Value("string")}
    )
    rows = list(pairs(kind, generator, images, [dataset["generator"][int(row)] for row in images.rows], count))
    output.parent.mkdir(parents=True, exist_ok=True)
    Dataset.from_list(rows, features=features).to_parquet(output)


if __name__ == "__main__":
    typer.run(main)
