import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageClassification

from tellsign.training.trainer.half_precision import main


def test_float16_weights_give_nearly_equal_logits(checkpoint, tmp_path):
    (checkpoint / "training.json").write_text('{"train_data": ["a.parquet"]}')
    main(str(checkpoint), tmp_path / "small")
    assert (tmp_path / "small" / "training.json").read_text() == '{"train_data": ["a.parquet"]}'
    stored = load_file(tmp_path / "small" / "model.safetensors")
    assert stored["wavefreq.embedder.layer.convolution.weight"].dtype == torch.float16
    assert stored["wavefreq.embedder.layer.normalization.running_var"].dtype == torch.float32
    before = AutoModelForImageClassification.from_pretrained(checkpoint)
    after = AutoModelForImageClassification.from_pretrained(tmp_path / "small")
    assert {parameter.dtype for parameter in after.parameters()} == {torch.float32}
    images = torch.randn(4, 3, 32, 32)
    torch.testing.assert_close(after(images).logits, before(images).logits, atol=2e-2, rtol=0)


def test_a_folder_can_be_stored_in_place(checkpoint):
    (checkpoint / "training.json").write_text('{"train_data": ["a.parquet"]}')
    main(str(checkpoint), checkpoint)
    stored = load_file(checkpoint / "model.safetensors")
    assert stored["wavefreq.embedder.layer.convolution.weight"].dtype == torch.float16
    assert (checkpoint / "training.json").read_text() == '{"train_data": ["a.parquet"]}'


def test_weights_beyond_the_range_of_half_precision_raise(checkpoint, tmp_path):
    model = AutoModelForImageClassification.from_pretrained(checkpoint)
    with torch.no_grad():
        model.classifier.weight[0, 0] = 1e6
    model.save_pretrained(checkpoint)
    with pytest.raises(ValueError, match="classifier.weight are not finite in float16"):
        main(str(checkpoint), tmp_path / "small")
