"""Pretrained backbones of packages, folders and repositories."""

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf
from transformers import BertConfig, BertModel, ConvNextConfig, ConvNextImageProcessor, ConvNextModel

from tellsign.training.trainer import backbone
from tellsign.training.trainer.backbone import detector_on


@pytest.fixture
def of_timm(tmp_path):
    """Folder of a small random vision transformer, as timm saves it."""
    folder = tmp_path / "of timm"
    save_for_hf(timm.create_model("test_vit"), folder, safe_serialization=True)
    return folder


@torch.no_grad()
def test_a_model_of_timm_is_taken_with_its_size_and_weights(of_timm):
    model, processor, commit = detector_on(str(of_timm))
    config = model.config
    assert (config.backbone, config.image_size, config.cut_size, commit) == ("test_vit", 160, 160, None)
    assert processor.image_mean == (0.5, 0.5, 0.5) and processor.size["height"] == 160
    saved = load_file(of_timm / "model.safetensors")
    for name, value in model.backbone.state_dict().items():
        assert torch.equal(value, saved[name].half().float())


def test_a_convolutional_model_sees_cuts_of_the_usual_size(tmp_path):
    ConvNextModel(ConvNextConfig(hidden_sizes=[4, 4, 8, 8], depths=[1] * 4)).save_pretrained(tmp_path)
    ConvNextImageProcessor(size={"shortest_edge": 288}).save_pretrained(tmp_path)
    model, _, _ = detector_on(str(tmp_path))
    assert (model.config.image_size, model.config.cut_size, model.config.out_indices) == (288, 224, [1, 2, 3])


def test_a_repository_is_taken_at_its_commit(of_timm, monkeypatch):
    asked = {}

    def snapshot_download(name, **options):
        asked.update(options, name=name)
        return str(of_timm.rename(of_timm.with_name("0123abc")))

    monkeypatch.setattr(backbone, "snapshot_download", snapshot_download)
    assert detector_on("someone/vit", "main")[2] == "0123abc"
    assert (asked["name"], asked["revision"]) == ("someone/vit", "main")
    assert not any("bin" in pattern for pattern in asked["allow_patterns"])


def test_pickled_weights_are_not_taken(of_timm):
    (of_timm / "model.safetensors").rename(of_timm / "pytorch_model.bin")
    with pytest.raises(ValueError, match="no weights as safetensors"):
        detector_on(str(of_timm))


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"has no config\.json of a vision model"):
        detector_on(str(tmp_path))


def test_a_model_of_text_is_refused(tmp_path):
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    BertModel(BertConfig(**sizes, vocab_size=8)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is no vision model"):
        detector_on(str(tmp_path))


def test_weights_that_are_missing_are_named(tmp_path):
    ConvNextModel(ConvNextConfig(hidden_sizes=[4, 4, 8, 8], depths=[1] * 4)).save_pretrained(tmp_path)
    ConvNextImageProcessor().save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    lost = weights.pop(min(weights))
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert lost.numel()
    with pytest.raises(ValueError, match="lacks weights, such as "):
        detector_on(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("config.json", lambda content: content.replace(b'"test_vit"', b'"no_such_vit"')),
        ("model.safetensors", lambda content: content[:1000]),
    ],
    ids=["unknown", "cut off"],
)
def test_what_is_no_model_by_its_configuration_is_refused(of_timm, name, change):
    (of_timm / name).write_bytes(change((of_timm / name).read_bytes()))
    with pytest.raises(ValueError, match="cannot be built by its configuration"):
        detector_on(str(of_timm))


def test_an_architecture_that_does_not_fit_its_weights_is_refused(tmp_path):
    save_for_hf(timm.create_model("test_vit", embed_dim=32), tmp_path, safe_serialization=True)
    with pytest.raises(ValueError, match="cannot be built by its configuration"):
        detector_on(str(tmp_path))
