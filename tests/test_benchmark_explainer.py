"""The way of users with the weights of a large Idefics2, on a tiny one of the same classes."""

import re

import torch
from safetensors import safe_open
from transformers import Idefics2Config, Idefics2ForConditionalGeneration

from tellsign.pipelines.explainer import SENTENCE
from tellsign.training.benchmark.explainer import idefics2_8b, measure, write_random_model


def tiny() -> Idefics2Config:
    """Shapes that 4 bits can hold, and a vision tower that they cannot."""
    text = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    tower = {"hidden_size": 64, "intermediate_size": 72, "num_hidden_layers": 1, "num_attention_heads": 2}
    resampler = {"resampler_n_latents": 4, "resampler_depth": 1, "resampler_n_heads": 2, "resampler_head_dim": 32}
    return Idefics2Config(
        text_config=text | {"model_type": "mistral", "num_key_value_heads": 1, "vocab_size": 4096},
        vision_config=tower | {"image_size": 980, "patch_size": 98},
        perceiver_config=resampler | {"hidden_size": 64, "num_key_value_heads": 1},
    )


def test_every_stage_is_timed_up_to_an_answer_with_a_sentence(tmp_path):
    rows, answer = measure(tiny(), tmp_path)
    assert [name.split()[0] for name, *_ in rows] == [
        "write",
        "load",
        "save",
        "train_explainer:",
        "of",
        "load",
    ] + 2 * ["answer"]
    assert all(float(memory) > 0 for name, _, memory in rows if memory)
    (artifact,) = answer["artifacts"]
    assert re.fullmatch(SENTENCE, artifact["explanation"])
    with safe_open(tmp_path / "nf4" / "model.safetensors", "pt") as file:
        assert file.get_tensor("model.text_model.layers.0.mlp.up_proj.weight").dtype == torch.uint8
    with safe_open(tmp_path / "adapter" / "adapter_model.safetensors", "pt") as file:
        learned = [file.get_tensor(name).abs().max() for name in file.keys() if "lora_B" in name]  # noqa: SIM118
    assert learned and max(learned) > 0


def test_the_random_model_has_every_weight(tmp_path):
    parameters = write_random_model(tiny(), tmp_path)
    model, report = Idefics2ForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert model.num_parameters() == parameters and model.dtype == torch.bfloat16


def test_the_full_size_is_that_of_idefics2_8b():
    with torch.device("meta"):
        model = Idefics2ForConditionalGeneration(idefics2_8b())
    assert round(model.num_parameters() / 1e9, 2) == 8.4
