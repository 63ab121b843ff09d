from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageClassification, pipeline

from tellsign import WaveFreqForImageClassification, WaveFreqImageProcessor
from tellsign.modeling.large_branch import WaveFreqLargeHead, moments_of, on_grid
from tests.conftest import TINY_LARGE, run_fresh


CLOSE = {"atol": 1e-3, "rtol": 1e-3}
SIZES = torch.tensor([[64, 80], [63, 200], [300, 64], [32, 32]])
"""Of these the first and the third are large."""


@pytest.fixture
def make_large(make_model):
    """A function that makes a tiny model with both branches, whose head is normalized as after training."""

    def make(**fields) -> WaveFreqForImageClassification:
        model = make_model(**(TINY_LARGE | {"temperature": 2.0, "large_temperature": 0.5} | fields))
        head = model.large.head
        torch.nn.init.normal_(head.classifier.weight)
        with torch.no_grad():
            pictures = torch.randn(6, 3, 64, 64) * torch.linspace(0.2, 2, 6)[:, None, None, None]
            head.fit_normalization(moments_of(model.large.feature_maps(pictures)))
        return model.eval()

    return make


@pytest.fixture
def inputs() -> dict[str, torch.Tensor]:
    """Two large and two small images."""
    large = torch.randn(4, 3, 64, 64) * torch.tensor([0.5, 1.0, 2.0, 1.0])[:, None, None, None]
    return {"pixel_values": torch.randn(4, 3, 32, 32), "large_pixel_values": large, "image_sizes": SIZES}


def some(inputs: dict[str, torch.Tensor], rows) -> dict[str, torch.Tensor]:
    return {name: values[rows] for name, values in inputs.items()}


def large_logits(model: WaveFreqForImageClassification, pictures: torch.Tensor) -> torch.Tensor:
    """What the second branch says of pictures, from its parts."""
    fake = model.large.head(moments_of(model.large.feature_maps(pictures))) / model.config.large_temperature
    return torch.stack([torch.zeros_like(fake), fake], dim=1)


def head_by_hand(head: WaveFreqLargeHead, moments: np.ndarray) -> np.ndarray:
    """Logits of fake, in NumPy."""
    values = {name: value.double().numpy() for name, value in head.state_dict().items()}
    mean, square = np.split(moments, 2, axis=1)
    features = np.concatenate([mean, np.sqrt(np.maximum(square - mean**2, 0) + 1e-6)], axis=1)
    normalized = (features - values["feature_mean"]) / values["feature_std"]
    hidden = np.maximum(normalized @ values["hidden.weight"].T + values["hidden.bias"], 0)
    return (hidden @ values["classifier.weight"].T + values["classifier.bias"])[:, 0]


@torch.no_grad()
@pytest.mark.parametrize("categories", [[], ["cat"]])
def test_each_image_gets_the_logits_of_its_branch(make_large, inputs, categories):
    model = make_large(real_categories=categories)
    expected = model(inputs["pixel_values"]).logits.clone()
    expected[[0, 2]] = large_logits(model, inputs["large_pixel_values"])[[0, 2]]
    assert (expected[:, 1].diff().abs() > 1e-3).all()
    torch.testing.assert_close(model(**inputs).logits, expected, **CLOSE)
    for rows in ([0], [1], [0, 2], [1, 3], [3, 2]):  # alone, and in batches of one branch
        torch.testing.assert_close(model(**some(inputs, rows)).logits, expected[rows], **CLOSE)


@torch.no_grad()
def test_each_branch_has_its_own_temperature(make_large, inputs):
    model = make_large()
    before = model(**inputs).logits
    model.config.large_temperature *= 4
    after = model(**inputs).logits
    torch.testing.assert_close(after[[0, 2]], before[[0, 2]] / 4, **CLOSE)
    assert torch.equal(after[[1, 3]], before[[1, 3]])
    model.config.temperature *= 4
    torch.testing.assert_close(model(**inputs).logits, before / 4, **CLOSE)


@torch.no_grad()
def test_without_large_pictures_the_first_branch_judges_all(make_large, inputs):
    model = make_large()
    model.large.register_forward_pre_hook(lambda *args: pytest.fail("was asked"))
    small = model(inputs["pixel_values"]).logits
    torch.testing.assert_close(model(inputs["pixel_values"], image_sizes=SIZES).logits, small, **CLOSE)


def test_moments_are_means_and_mean_squares_over_space():
    maps = [torch.randn(2, 3, 8, 8), torch.randn(2, 5, 4, 6)]
    arrays = [values.numpy() for values in maps]
    expected = [values.mean((2, 3)) for values in arrays] + [(values**2).mean((2, 3)) for values in arrays]
    np.testing.assert_allclose(moments_of(maps), np.concatenate(expected, axis=1), atol=1e-6)


@torch.no_grad()
def test_the_head_is_its_formula(make_large, inputs):
    head = make_large().large.head
    moments = torch.rand(5, 128) + 0.1
    np.testing.assert_allclose(head(moments), head_by_hand(head, moments.double().numpy()), rtol=1e-4, atol=1e-4)


def test_normalization_is_that_of_the_features_it_was_fitted_to(make_large):
    head, moments = make_large().large.head, torch.rand(50, 128)
    head.fit_normalization(moments)
    normalized = (head.features(moments) - head.feature_mean) / head.feature_std
    torch.testing.assert_close(normalized.mean(0), torch.zeros(128), atol=1e-4, rtol=0)
    torch.testing.assert_close(normalized.std(0), torch.ones(128), atol=1e-3, rtol=0)
    torch.testing.assert_close(head.baseline, moments.mean(0))


def test_the_gradient_of_the_head_is_that_of_autograd(make_large):
    head = make_large().large.head.double()
    mean = torch.randn(7, 64, dtype=torch.float64)
    moments = torch.cat([mean, mean.square() + torch.rand(7, 64)], dim=1).requires_grad_()
    (expected,) = torch.autograd.grad(head(moments).sum(), moments)
    torch.testing.assert_close(head.gradient(moments), expected)


@torch.no_grad()
def test_evidence_of_large_pictures_sums_to_their_logit(make_large, inputs):
    model = make_large()
    outputs = model(**some(inputs, [0, 2]))
    baseline = model.large.head(model.large.head.baseline[None]) / 0.5
    assert outputs.evidence.shape == (2, 4, 4)
    torch.testing.assert_close(outputs.evidence.sum((1, 2)), outputs.logits[:, 1] - baseline, **CLOSE)


def test_evidence_of_large_pictures_is_integrated_gradients(make_large, inputs):
    model = make_large()
    head, pictures = model.large.head, inputs["large_pixel_values"][[0, 2]]
    maps = [values.detach() for values in model.large.feature_maps(pictures)]
    steps = (torch.arange(2000) + 0.5) / 2000
    path = head.baseline + steps[:, None, None] * (moments_of(maps) - head.baseline)
    path.requires_grad_()
    (gradient,) = torch.autograd.grad(head(path.flatten(0, 1)).sum(), path)
    by_mean, by_square = gradient.mean(0).chunk(2, dim=1)
    mean, square = head.baseline.chunk(2)
    expected, start = np.zeros((2, 4, 4)), 0
    for values in maps:
        rows = slice(start, start := start + values.shape[1])
        of_mean = (values - mean[rows, None, None]) * by_mean[:, rows, None, None]
        of_square = (values**2 - square[rows, None, None]) * by_square[:, rows, None, None]
        places = (of_mean + of_square).sum(1).numpy()
        cells = places.reshape(2, 4, places.shape[1] // 4, 4, places.shape[2] // 4).sum((2, 4))
        expected += cells / (places.shape[1] * places.shape[2])
    evidence = head.evidence(maps, moments_of(maps), 4).detach().numpy()
    np.testing.assert_allclose(evidence, expected, atol=0.03 * np.abs(expected).max())


@torch.no_grad()
@pytest.mark.parametrize("average_flips", [False, True])
@pytest.mark.parametrize("categories", [[], ["cat", "dog"]])
def test_evidence_of_small_images_sums_to_their_logit(make_model, categories, average_flips):
    model = make_model(real_categories=categories, average_flips=average_flips, temperature=2.0)
    torch.nn.init.normal_(model.classifier.bias)
    if categories:
        torch.nn.init.normal_(model.category_classifier.weight)
        torch.nn.init.normal_(model.category_classifier.bias)
    outputs = model(torch.randn(3, 3, 32, 32))
    of_nothing = float(model.classifier.bias)
    if categories:
        of_nothing -= float(np.logaddexp.reduce([0, *model.category_classifier.bias.tolist()]))
    expected = outputs.logits[:, 1] - outputs.logits[:, 0] - of_nothing / 2
    assert expected.abs().min() > 1e-3
    torch.testing.assert_close(outputs.evidence.sum((1, 2)), expected, **CLOSE)


@pytest.mark.parametrize("side", [2, 4, 8, 16])
def test_a_grid_holds_the_mean_of_its_cells(side):
    places = torch.randn(3, side, side)
    grid = on_grid(places, 4)
    torch.testing.assert_close(grid.sum((1, 2)), places.mean((1, 2)))
    row, column = (np.arange(4) * side // 4 for _ in range(2))
    if side <= 4:
        torch.testing.assert_close(grid, places[:, row][:, :, column] / 16)
    else:
        torch.testing.assert_close(grid, places.unflatten(1, (4, -1)).unflatten(3, (4, -1)).mean((2, 4)) / 16)


@torch.no_grad()
def test_a_batch_of_both_holds_the_evidence_of_each(make_large, inputs):
    model = make_large()
    both = model(**inputs).evidence
    torch.testing.assert_close(both[[0, 2]], model(**some(inputs, [0, 2])).evidence, **CLOSE)
    torch.testing.assert_close(both[[1, 3]], model(inputs["pixel_values"]).evidence[[1, 3]], **CLOSE)
    model.large = None
    small = model(inputs["pixel_values"]).evidence
    assert small.shape == (4, 8, 8)
    cells = small.unflatten(1, (4, -1)).unflatten(3, (4, -1)).sum((2, 4))
    torch.testing.assert_close(both[[1, 3]], cells[[1, 3]], **CLOSE)


def quadrants(evidence: torch.Tensor) -> np.ndarray:
    """The sums of absolute values over the quarters of a map."""
    return evidence.abs().unflatten(0, (2, -1)).unflatten(2, (2, -1)).sum((1, 3)).flatten().numpy()


@torch.no_grad()
@pytest.mark.parametrize("corner", range(4))
def test_a_local_change_moves_the_evidence_there(make_large, corner):
    model = make_large(frequency_stage=None)
    small, large = 0.1 * torch.randn(1, 3, 32, 32), 0.1 * torch.randn(1, 3, 64, 64)
    row, column = divmod(corner, 2)
    changed_small, changed_large = small.clone(), large.clone()
    changed_small[:, :, 16 * row :, 16 * column :][:, :, 4:12, 4:12] += 2 * torch.randn(8, 8)
    changed_large[:, :, 32 * row :, 32 * column :][:, :, 8:24, 8:24] += 2 * torch.randn(16, 16)
    moved = model(changed_small).evidence - model(small).evidence
    assert quadrants(moved[0]).argmax() == corner
    sizes = torch.tensor([[64, 64]])
    before, after = (
        model(small, large_pixel_values=pictures, image_sizes=sizes).evidence for pictures in (large, changed_large)
    )
    assert quadrants((after - before)[0]).argmax() == corner


def test_the_backbone_is_frozen_and_the_head_learns(make_large, inputs):
    model = make_large().train()
    backbone = [*model.large.stem.modules(), *model.large.stages.modules()]
    assert not any(module.training for module in backbone) and model.large.head.training and model.training
    before = {name: value.clone() for name, value in model.large.state_dict().items()}
    model(**inputs, labels=torch.tensor([0, 1, 1, 0])).loss.backward()
    learning = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    frozen = {name for name, _ in model.named_parameters() if name.startswith(("large.stem.", "large.stages."))}
    assert learning == dict(model.named_parameters()).keys() - frozen and frozen
    assert all(torch.equal(before[name], value) for name, value in model.large.state_dict().items())


def test_in_training_there_is_no_evidence(make_large, inputs):
    assert make_large().train()(**inputs).evidence is None


def test_a_loaded_backbone_is_frozen_too(make_large, tmp_path):
    make_large().save_pretrained(tmp_path)
    loaded = WaveFreqForImageClassification.from_pretrained(tmp_path)
    assert not any(parameter.requires_grad for parameter in loaded.large.stages.parameters())
    assert all(parameter.requires_grad for parameter in loaded.large.head.parameters())


@pytest.mark.parametrize(
    "shape", [(4, 3, 32, 32), (3, 3, 64, 64), (4, 1, 64, 64), (4, 64, 64)], ids=["size", "count", "grey", "flat"]
)
def test_large_pictures_of_another_shape_are_named(make_large, inputs, shape):
    inputs["large_pixel_values"] = torch.zeros(shape)
    with pytest.raises(ValueError, match=r"large_pixel_values: expected the shape \(4, 3, 64, 64\), got"):
        make_large()(**inputs)


@pytest.mark.parametrize("sizes", [None, SIZES[:1], SIZES[0], SIZES.repeat(2, 1)], ids=["none", "1", "flat", "more"])
def test_sizes_of_another_shape_are_named(make_large, inputs, sizes):
    with pytest.raises(ValueError, match="image_sizes: expected height and width of 4 images"):
        make_large()(**inputs | {"image_sizes": sizes})


@torch.no_grad()
def judge_saved(folder: Path) -> None:
    outputs = AutoModelForImageClassification.from_pretrained(folder)(**load_file(folder / "inputs.safetensors"))
    save_file({"logits": outputs.logits, "evidence": outputs.evidence}, folder / "outputs.safetensors")


@torch.no_grad()
def test_a_saved_model_says_the_same_in_a_fresh_process(make_large, inputs, tmp_path):
    model = make_large()
    model.save_pretrained(tmp_path)
    save_file(inputs, tmp_path / "inputs.safetensors")
    assert run_fresh(judge_saved, tmp_path) == [0]
    said, expected = load_file(tmp_path / "outputs.safetensors"), model(**inputs)
    torch.testing.assert_close(said["logits"], expected.logits, **CLOSE)
    torch.testing.assert_close(said["evidence"], expected.evidence, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 0.02), (torch.bfloat16, 0.15)])
def test_half_precision_says_nearly_the_same(make_large, inputs, dtype, tolerance):
    model = make_large()
    expected = model(**inputs)
    model.to(dtype)
    halves = {name: values if name == "image_sizes" else values.to(dtype) for name, values in inputs.items()}
    outputs = model(**halves)
    assert outputs.logits.dtype == dtype
    for said, wanted in ((outputs.logits, expected.logits), (outputs.evidence, expected.evidence)):
        assert (said.float() - wanted).abs().max() < tolerance * wanted.abs().max()


@torch.no_grad()
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_model_is_one_graph_and_agrees(make_large, inputs):
    model = make_large()
    compiled, expected = torch.compile(model, fullgraph=True, backend="eager")(**inputs), model(**inputs)
    torch.testing.assert_close(compiled.logits, expected.logits, **CLOSE)
    torch.testing.assert_close(compiled.evidence, expected.evidence, **CLOSE)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore")
def test_an_exported_program_agrees_for_any_batch(make_large, inputs):
    model = make_large()
    shapes = {name: {0: torch.export.Dim("batch")} for name in inputs}
    program = torch.export.export(model, (), kwargs=inputs, dynamic_shapes=shapes, strict=False).module()
    for rows in (slice(4), slice(1), slice(1, 4)):
        said, expected = program(**some(inputs, rows)), model(**some(inputs, rows))
        torch.testing.assert_close(said.logits, expected.logits, **CLOSE)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore")
def test_torchscript_agrees_as_onnx_on_small_and_large_images(make_large, inputs, tmp_path):
    # The last map has fewer cells than the evidence.
    stages = {"large_stages": [2, 5], "large_hidden_sizes": [40, 192]}
    model = make_large(average_flips=True, **stages)
    names = ["logits", "evidence"]
    torch.onnx.export(
        model,
        (),
        tmp_path / "model.onnx",
        kwargs=inputs | {"image_sizes": torch.full_like(SIZES, 32)},  # none large
        input_names=list(inputs),
        output_names=names,
        dynamo=False,
        opset_version=18,
        dynamic_axes={name: {0: "batch"} for name in (*inputs, *names)},
    )
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for rows in (slice(4), slice(2), slice(2, 3)):
        part = some(inputs, rows)
        logits, evidence = session.run(names, {name: values.numpy() for name, values in part.items()})
        expected = model(**part)
        np.testing.assert_allclose(logits, expected.logits, atol=1e-3)
        large = (part["image_sizes"].amin(1) >= 64).numpy()
        np.testing.assert_allclose(evidence[large], expected.evidence[large], atol=1e-3)


@torch.no_grad()
def test_image_classification_judges_each_by_its_branch(make_large):
    model = make_large()
    processor = WaveFreqImageProcessor(large_size={"height": 64, "width": 64})
    images = [Image.effect_noise((side, side + 9), 60).convert("RGB") for side in (80, 32, 63, 64)]
    classify = pipeline("image-classification", model=model, image_processor=processor)
    for batch_size in (1, 3):
        for image, answer in zip(images, classify(images, batch_size=batch_size), strict=True):
            inputs = processor(image, return_tensors="pt")
            expected = model(inputs["pixel_values"]).logits
            if min(image.size) >= 64:
                expected = large_logits(model, inputs["large_pixel_values"])
            scores = {item["label"]: item["score"] for item in answer}
            assert scores["fake"] == pytest.approx(float(expected.softmax(1)[0, 1]), abs=1e-3)


@torch.no_grad()
def test_verdicts_of_large_pictures_have_their_thresholds(make_large):
    model = make_large(verdict_thresholds=[0.3, 0.6], large_verdict_thresholds=[0.1, 0.9])
    logits = torch.tensor([[0.0, -1.5], [0.0, 1.5]]).repeat_interleave(2, 0)  # probabilities 0.18 and 0.82
    sizes = torch.tensor([[64, 64], [63, 64]]).repeat(2, 1)
    assert model.post_process_verdicts(logits, sizes) == ["uncertain", "real", "uncertain", "fake"]
    assert model.post_process_verdicts(logits) == ["real", "real", "fake", "fake"]
