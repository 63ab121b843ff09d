import os
import sys
from pathlib import Path

import pytest
from huggingface_hub.errors import StrictDataclassClassValidationError
from transformers import AutoConfig, SiglipConfig

from tellsign import ArtifactSiglipConfig, LargePictureConfig, WaveFreqConfig
from tests.processes import run_fresh


def test_round_trip_through_a_saved_folder_keeps_every_field(tmp_path):
    config = ArtifactSiglipConfig(
        vision_config={"num_hidden_layers": 2},
        artifact_labels=["noise", "blur"],
        trained_artifacts=["blur"],
        global_artifacts=["noise"],
        artifact_temperatures=[0.5, 2.0],
        artifact_thresholds=[0.1, 0.9],
        patch_loss_coefficient=3.0,
    )
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(loaded, ArtifactSiglipConfig)
    assert loaded.to_dict() | {"_name_or_path": ""} == config.to_dict() | {"_name_or_path": ""}


def load_config(folder: Path, errors: Path) -> None:
    os.dup2(os.open(errors, os.O_CREAT | os.O_WRONLY), sys.stderr.fileno())
    ArtifactSiglipConfig.from_pretrained(folder)


def test_loading_it_logs_no_warning_in_a_fresh_process(tmp_path):
    ArtifactSiglipConfig().save_pretrained(tmp_path)
    assert run_fresh(load_config, tmp_path, tmp_path / "errors") == [0]
    assert (tmp_path / "errors").read_text() == ""


def test_global_artifacts_are_those_of_the_given_labels():
    config = ArtifactSiglipConfig(artifact_labels=["Discontinuous surfaces", "Artificial smoothness"])
    assert config.global_artifacts == ["Artificial smoothness"]


def test_fields_that_a_tower_leaves_out_are_not_siglips():
    config = ArtifactSiglipConfig(vision_config={"num_hidden_layers": 1}, text_config={"vocab_size": 99})
    assert config.vision_config.num_hidden_layers == 1 and config.text_config.vocab_size == 99
    assert config.vision_config.hidden_size == ArtifactSiglipConfig().vision_config.hidden_size
    assert config.vision_config.hidden_size != SiglipConfig().vision_config.hidden_size


@pytest.mark.parametrize("config", [ArtifactSiglipConfig, LargePictureConfig, WaveFreqConfig])
def test_configuration_of_another_model_raises(config):
    with pytest.raises(ValueError, match=f"is a model of type siglip, expected {config.model_type}"):
        config.from_dict(SiglipConfig().to_dict())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"detail_config": {}, "vision_config": {"patch_size": 8}}, "total_stride=4 must equal the patch_size=8"),
        ({"vision_config": {"image_size": 30}}, "image_size=30 must be a multiple of patch_size=4"),
        ({"vision_config": {"vision_use_head": False}}, "vision_use_head=False"),
        ({"text_config": {"projection_size": 7}}, "projection_size=7 must equal the hidden_size"),
        ({"artifact_labels": []}, "artifact_labels must hold at least one name"),
        ({"artifact_labels": ["a", "a"]}, "no name twice"),
        ({"trained_artifacts": ["hats"]}, "trained_artifacts: 'hats' is not one of artifact_labels"),
        ({"global_artifacts": ["hats"]}, "global_artifacts: 'hats' is not one of artifact_labels"),
        ({"artifact_temperatures": [1.0]}, "artifact_temperatures must hold one number for each of the 70"),
        ({"artifact_thresholds": [0.5]}, "artifact_thresholds must hold one number for each of the 70"),
        ({"artifact_temperatures": [0.0] * 70}, "artifact_temperatures must be positive"),
        ({"artifact_thresholds": [1.5] * 70}, r"artifact_thresholds must lie in \[0, 1\]"),
        ({"box_threshold": 0.0}, "box_threshold=0.0 must be more than 0"),
        ({"object_labels": ["cat", "cat"]}, "object_labels: a name occurs twice"),
        ({"object_threshold": 1.5}, r"object_threshold=1.5 must lie in \[0, 1\]"),
    ],
)
def test_contradictory_fields_raise_naming_the_field(fields, message):
    with pytest.raises(StrictDataclassClassValidationError, match="(?s)" + message):
        ArtifactSiglipConfig(**fields)
