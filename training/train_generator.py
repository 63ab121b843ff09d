"""Trains a small GAN on real images and writes fakes of our own, free to ship.

    python -m tellsign.training.train_generator --data train.parquet --output-dir DIR

A deep convolutional GAN (Radford et al., 2015, arXiv 1511.06434) with the hinge loss and spectral normalization
(Miyato et al., 2018, arXiv 1802.05957); the samples come from the average of the generator's weights.
"""

import itertools
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader
from torchvision.transforms.v2.functional import to_pil_image
from tqdm.auto import tqdm
from transformers import set_seed

from tellsign import WaveFreqImageProcessor
from tellsign.training.data import LABELS, DecodedImages, load_sources, whole_batch


LATENT_SIZE = 128


class Generator(nn.Sequential):
    """Noise of shape `(batch_size, LATENT_SIZE, 1, 1)` to images of shape `(batch_size, 3, 32, 32)` in [-1, 1]."""

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


def main(
    data: Annotated[list[str], typer.Option(help="Images, of which the real ones are learnt from.")],
    output_dir: Annotated[Path, typer.Option(help="Where the fakes are written.")],
    steps: Annotated[int, typer.Option(help="Steps of the generator.")] = 3500,
    batch_size: Annotated[int, typer.Option(help="Images of each kind in a step.")] = 64,
    width: Annotated[int, typer.Option(help="Channels of the largest maps.")] = 32,
    samples: Annotated[int, typer.Option(help="Number of fakes to write.")] = 16,
    seed: Annotated[int, typer.Option(help="Seed of weights, order and samples.")] = 0,
) -> None:
    """Trains a GAN on 32x32 images and writes samples as JPEG files of quality 75."""
    set_seed(seed)
    real = load_sources(data, "train").filter(lambda label: label == LABELS.index("real"), input_columns="label")
    identity = WaveFreqImageProcessor(image_mean=[0.5] * 3, image_std=[0.5] * 3)
    loader = DataLoader(
        DecodedImages(real, identity), batch_size, shuffle=True, drop_last=True, collate_fn=whole_batch
    )
    generator, discriminator = Generator(width), Discriminator(width)
    average = AveragedModel(generator, multi_avg_fn=get_ema_multi_avg_fn(0.99), use_buffers=True)
    optimizers = [torch.optim.Adam(network.parameters(), 2e-4, (0.5, 0.999)) for network in (generator, discriminator)]

    batches = itertools.chain.from_iterable(itertools.repeat(loader))
    for _ in tqdm(range(steps), desc="Training", unit="step"):
        images = next(batches)["pixel_values"]
        with torch.autocast("cpu", torch.bfloat16):
            fakes = generator(torch.randn(batch_size, LATENT_SIZE, 1, 1))
            scores = discriminator(images), discriminator(fakes.detach())
        loss = torch.relu(1 - scores[0].float()).mean() + torch.relu(1 + scores[1].float()).mean()
        loss.backward()
        optimizers[1].step()
        optimizers[1].zero_grad()

        with torch.autocast("cpu", torch.bfloat16):
            score = discriminator(fakes)
        (-score.float().mean()).backward()
        optimizers[0].step()
        optimizers[0].zero_grad()
        optimizers[1].zero_grad()
        average.update_parameters(generator)

    output_dir.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        pictures = average.eval()(torch.randn(samples, LATENT_SIZE, 1, 1)) / 2 + 0.5
    for index, picture in enumerate(pictures):
        to_pil_image(picture).save(output_dir / f"gan_{index:02d}.jpg", quality=75, subsampling="4:2:0")


if __name__ == "__main__":
    typer.run(main)
