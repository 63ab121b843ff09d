import pickle

import numpy as np
import pytest
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError
from PIL import Image
from transformers import (
    AutoModel,
    AutoModelForZeroShotImageClassification,
    Idefics2VisionConfig,
    SiglipModel,
    SiglipVisionModel,
    Trainer,
    TrainingArguments,
    pipeline,
)
from transformers.models.idefics2.modeling_idefics2 import Idefics2VisionTransformer

from tellsign import ArtifactSiglipConfig, ArtifactSiglipModel
from tests.models import make_processor, make_tagger_model


# Independent references in NumPy, written from the definitions.


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


def cross_entropy_by_hand(logits: torch.Tensor, targets: torch.Tensor) -> float:
    """Mean over pairs other than those of target -100."""
    known = targets.numpy() != -100
    shares, targets = sigmoid(logits.detach().numpy())[known], targets.numpy()[known].astype(np.float64)
    return -np.mean(targets * np.log(shares) + (1 - targets) * np.log(1 - shares))


def details_of(model: ArtifactSiglipModel, pixel_values: torch.Tensor) -> np.ndarray:
    """Shape `(num_images, num_patches, channels)`."""
    features = model.detail_network(pixel_values).last_hidden_state.detach().numpy()
    return features.reshape(*features.shape[:2], -1).transpose(0, 2, 1)


@pytest.fixture
def inputs() -> dict[str, torch.Tensor]:
    """Three images, five texts, and labels of all kinds, some of them not known."""
    generator = torch.Generator().manual_seed(0)
    known = torch.tensor([[1, 0, 0, 1], [0, -100, 1, 0], [-100, -100, -100, -100]])
    return {
        "pixel_values": torch.randn(3, 3, 32, 32, generator=generator),
        "input_ids": torch.randint(0, 2048, (5, 64), generator=generator),
        "labels": torch.tensor([0, -100, 1]),
        "artifact_labels": known,
        "artifact_masks": torch.rand(3, 4, 32, 32, generator=generator).masked_fill(known[..., None, None] == 0, 0),
        "text_labels": torch.tensor([[1, 0, 0, 1, -100], [0, 1, 0, 0, 0], [0, 0, 1, 0, 1]]),
    }


@pytest.mark.parametrize("has_detail", [True, False])
def test_scores_add_the_whole_and_the_patches_log_mean_exp(inputs, has_detail):
    model = make_tagger_model() if has_detail else make_tagger_model(detail_config=None)
    outputs = model(pixel_values=inputs["pixel_values"])
    vision = model.vision_model(inputs["pixel_values"])
    patches, whole = vision.last_hidden_state.detach().numpy(), vision.pooler_output.detach().numpy()
    if has_detail:
        details = details_of(model, inputs["pixel_values"])
        patches, whole = np.concatenate([patches, details], 2), np.concatenate([whole, details.mean(1)], 1)
    patches = patches @ model.patch_classifier.weight.detach().numpy().T
    np.testing.assert_allclose(
        outputs.patch_logits.detach().numpy(), patches.reshape(3, 8, 8, 4).transpose(0, 3, 1, 2), atol=1e-5
    )
    whole = whole @ model.artifact_classifier.weight.detach().numpy().T
    expected = whole + np.log(np.exp(patches.astype(np.float64)).mean(axis=1))
    np.testing.assert_allclose(outputs.artifact_logits.detach().numpy(), expected, atol=1e-5)
    assert has_detail or torch.equal(outputs.map_logits, outputs.patch_logits)


@pytest.mark.parametrize("size", [(32, 32), (64, 40)])
def test_a_map_adds_patch_scores_and_those_of_finer_stages(size):
    model, images = make_tagger_model(), torch.randn(2, 3, *size)
    outputs = model(pixel_values=images, interpolate_pos_encoding=True)
    enlarged = outputs.patch_logits
    for scale in (2, 4):
        finer_size = [side * scale // 4 for side in size]
        enlarged = torch.nn.functional.interpolate(enlarged, size=finer_size, mode="bilinear")
    torch.testing.assert_close(outputs.map_logits, enlarged)  # the stages add nothing at first
    for classifier in model.skip_classifiers:
        torch.nn.init.normal_(classifier.weight)
    finer = model(pixel_values=images, interpolate_pos_encoding=True)
    stages = model.detail_network(images, output_hidden_states=True).hidden_states[1:]
    coarse_scores, fine_scores = (
        np.einsum("bchw,kc->bkhw", stage.detach().numpy(), classifier.weight[:, :, 0, 0].detach().numpy())
        for stage, classifier in zip(stages[-2::-1], model.skip_classifiers, strict=True)
    )
    enlarged_scores = torch.nn.functional.interpolate(torch.from_numpy(coarse_scores), size=size, mode="bilinear")
    added = (finer.map_logits - outputs.map_logits).detach().numpy()
    np.testing.assert_allclose(added, enlarged_scores.numpy() + fine_scores, atol=2e-3)
    torch.testing.assert_close(finer.artifact_logits, outputs.artifact_logits)


def test_a_model_that_was_used_can_be_pickled():
    model, images = make_tagger_model(), torch.randn(2, 3, 32, 32)
    expected = model(pixel_values=images).map_logits
    torch.testing.assert_close(pickle.loads(pickle.dumps(model))(pixel_values=images).map_logits, expected)


def test_details_add_a_projection_that_starts_at_zero(inputs):
    model, images = make_tagger_model(), inputs["pixel_values"]
    pooled = model.vision_model(images).pooler_output
    assert torch.equal(model.get_image_features(images).pooler_output, pooled)
    projection = model.detail_projection
    torch.nn.init.normal_(projection.weight)
    expected = pooled.detach().numpy() + details_of(model, images).mean(1) @ projection.weight.detach().numpy().T
    embeds = model.get_image_features(images).pooler_output.detach().numpy()
    np.testing.assert_allclose(embeds, expected, atol=1e-4)
    unit = embeds / np.linalg.norm(embeds, axis=1, keepdims=True)
    np.testing.assert_allclose(model(pixel_values=images).image_embeds.detach().numpy(), unit, atol=1e-5)


def test_scores_average_an_image_and_its_mirror_image(inputs):
    model, images = make_tagger_model(), inputs["pixel_values"]
    torch.nn.init.normal_(model.skip_classifiers[1].weight)
    with torch.no_grad():
        one, other = (model(pixel_values=view, output_hidden_states=True) for view in (images, images.flip(-1)))
        model.config.average_flips = True
        both = model(pixel_values=images, output_hidden_states=True)
        in_training = model.train()(pixel_values=images)
        model.config.average_flips = False
        without = model(pixel_values=images)
    for name in ("logits", "artifact_logits"):
        torch.testing.assert_close(both[name], (one[name] + other[name]) / 2)
    for name in ("patch_logits", "map_logits"):
        torch.testing.assert_close(both[name], (one[name] + other[name].flip(-1)) / 2)
    torch.testing.assert_close(both.image_embeds, one.image_embeds)
    torch.testing.assert_close(both.vision_model_output, one.vision_model_output)
    torch.testing.assert_close(in_training.artifact_logits, without.artifact_logits)


def test_masks_without_unknown_values_give_the_same_loss(inputs):
    model, masks = make_tagger_model(), inputs.pop("artifact_masks") > 0.5
    losses = [model(**inputs, artifact_masks=masks.to(kind)).loss for kind in (torch.bool, torch.uint8, torch.float32)]
    assert losses[0] == losses[1] == losses[2]


def test_the_loss_is_the_weighted_sum_of_defined_losses(inputs):
    model = make_tagger_model(
        patch_loss_coefficient=2.0, label_loss_coefficient=0.5, contrastive_loss_coefficient=0.25
    )
    shares = inputs["artifact_masks"].unflatten(3, (8, 4)).unflatten(2, (8, 4)).mean((3, 5), dtype=torch.float64)
    shares[0, 3, 2, 5] = inputs["artifact_masks"][0, 3, 8:12, 20:24] = -100  # as what is not known of the others
    inputs["artifact_masks"][1, 2, 17, 30] = shares[1, 2, 4, 7] = -100  # a pixel leaves its patch unknown
    masks, shares = (
        torch.where(inputs["artifact_labels"][..., None, None] == -100, -100.0, values.double())
        for values in (inputs["artifact_masks"], shares)
    )
    outputs = model(**inputs)
    label = torch.log_softmax(outputs.logits.detach().double(), -1)
    expected = {
        "label": -float(label[0, 0] + label[2, 1]) / 2,
        "artifact": cross_entropy_by_hand(outputs.artifact_logits, inputs["artifact_labels"]),
        "patch": cross_entropy_by_hand(outputs.patch_logits, shares),
        "map": cross_entropy_by_hand(outputs.map_logits, masks),
        "contrastive": 5 * cross_entropy_by_hand(outputs.logits_per_image, inputs["text_labels"]),
    }
    assert {name: loss.item() for name, loss in outputs.loss_dict.items()} == pytest.approx(expected, rel=1e-5)
    places = 2 * (expected["patch"] + expected["map"])
    total = expected["artifact"] + places + expected["label"] / 2 + expected["contrastive"] / 4
    assert outputs.loss.item() == pytest.approx(total, rel=1e-5)


def test_images_of_which_nothing_is_known_give_no_loss(inputs):
    model = make_tagger_model()
    labels = ("labels", "artifact_labels", "artifact_masks", "text_labels")
    loss = model(**inputs | {name: torch.full_like(inputs[name], -100) for name in labels}).loss
    loss.backward()
    assert loss == 0
    assert not model.vision_model.embeddings.patch_embedding.weight.grad.any()


def test_losses_are_only_those_of_the_labels_that_are_given(inputs):
    model = make_tagger_model()
    assert model(pixel_values=inputs["pixel_values"]).loss is None
    outputs = model(pixel_values=inputs["pixel_values"], artifact_labels=inputs["artifact_labels"])
    assert list(outputs.loss_dict) == ["artifact"] and outputs.logits_per_image is None


def test_with_siglips_weights_pairs_have_its_logits_and_loss(inputs):
    model = make_tagger_model()
    siglip = SiglipModel(model.config).eval()
    missing, unexpected = siglip.load_state_dict(model.state_dict(), strict=False)
    assert not missing and all("classifier" in name or name.startswith("detail_") for name in unexpected)
    pairs = {"pixel_values": inputs["pixel_values"], "input_ids": inputs["input_ids"][:3], "return_loss": True}
    ours, theirs = model(**pairs), siglip(**pairs)
    torch.testing.assert_close(ours.logits_per_image, theirs.logits_per_image)
    torch.testing.assert_close(ours.loss, theirs.loss)


def test_a_new_model_starts_with_siglips_scale_and_bias():
    model = make_tagger_model()
    assert model.logit_scale.exp().item() == pytest.approx(10) and model.logit_bias.item() == -10


def test_calibration_abstains_on_untrained_artifacts():
    model = make_tagger_model(
        trained_artifacts=["noise", "ghosts"],
        artifact_temperatures=[2.0, 1.0, 0.5, 1.0],
        artifact_thresholds=[0.6, 0.0, 0.5, 0.0],
    )
    logits = np.array([[1.0, 9.0, 0.1, 9.0], [0.5, 9.0, -0.1, 9.0]])
    probabilities, present = model.post_process_artifacts(torch.from_numpy(logits))
    expected = sigmoid(logits / np.array([2.0, 1.0, 0.5, 1.0])) * [1, 0, 1, 0]
    np.testing.assert_allclose(probabilities.numpy(), expected, rtol=1e-6)
    assert present.tolist() == [[True, False, True, False], [False, False, False, False]]


def test_a_saved_folder_keeps_every_output_by_the_auto_classes(inputs, tmp_path):
    model = make_tagger_model(trained_artifacts=["blur"])
    model.save_pretrained(tmp_path)
    for auto_class in (AutoModel, AutoModelForZeroShotImageClassification):
        loaded = auto_class.from_pretrained(tmp_path).eval()
        assert isinstance(loaded, ArtifactSiglipModel) and loaded.config.trained_artifacts == ["blur"]
        ours, theirs = model(**inputs), loaded(**inputs)
        for name in ("logits", "artifact_logits", "patch_logits", "map_logits", "logits_per_image", "loss"):
            torch.testing.assert_close(ours[name], theirs[name], atol=0, rtol=0)


def test_the_vision_tower_saved_alone_is_idefics2s(inputs, tmp_path):
    model = make_tagger_model()
    model.vision_model.save_pretrained(tmp_path)
    expected = model.vision_model(inputs["pixel_values"]).last_hidden_state
    alone = SiglipVisionModel.from_pretrained(tmp_path).eval()
    assert torch.equal(alone(inputs["pixel_values"]).last_hidden_state, expected)
    names = Idefics2VisionConfig().to_dict().keys() & alone.config.to_dict().keys()
    config = Idefics2VisionConfig(**{name: getattr(alone.config, name) for name in names})
    tower, loading = Idefics2VisionTransformer.from_pretrained(tmp_path, config=config, output_loading_info=True)
    assert not loading["missing_keys"] and all(name.startswith("head.") for name in loading["unexpected_keys"])
    outputs = tower.eval()(inputs["pixel_values"], patch_attention_mask=torch.ones(3, 8, 8, dtype=torch.bool))
    assert torch.equal(outputs.last_hidden_state, expected)


def test_a_model_loaded_for_other_artifacts_is_not_calibrated(tmp_path):
    labels = ArtifactSiglipConfig().artifact_labels
    fitted = {"trained_artifacts": labels[:3], "artifact_thresholds": [0.9] * 70, "artifact_temperatures": [2.0] * 70}
    make_tagger_model(artifact_labels=labels, **fitted).save_pretrained(tmp_path / "old")
    model = AutoModel.from_pretrained(tmp_path / "old", artifact_labels=["scratch"], ignore_mismatched_sizes=True)
    assert model(pixel_values=torch.zeros(1, 3, 32, 32)).artifact_logits.shape == (1, 1)
    model.save_pretrained(tmp_path / "new")
    config = ArtifactSiglipConfig.from_pretrained(tmp_path / "new")
    assert config.artifact_labels == ["scratch"] and config.trained_artifacts == config.global_artifacts == []
    assert config.artifact_thresholds == [0.5] and config.artifact_temperatures == [1.0]
    kept = ArtifactSiglipConfig.from_pretrained(tmp_path / "old", artifact_labels=labels)
    assert kept.trained_artifacts == labels[:3]
    with pytest.raises(StrictDataclassClassValidationError, match="trained_artifacts: 'dust' is not one of"):
        ArtifactSiglipConfig.from_pretrained(tmp_path / "old", artifact_labels=["a"], trained_artifacts=["dust"])


def test_the_zero_shot_pipeline_scores_any_candidate_labels(tmp_path):
    model, processor = make_tagger_model(), make_processor()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8))
    classify = pipeline("zero-shot-image-classification", model=str(tmp_path))
    names = ["a frog", "ghosts", "noise"]
    answers = classify(image, candidate_labels=names, hypothesis_template="a photo with {}")

    ids = processor.tokenizer([f"a photo with {name}" for name in names], padding="max_length", return_tensors="pt")
    pixels = processor.image_processor(image, return_tensors="pt")["pixel_values"]
    logits = model(pixel_values=pixels, input_ids=ids["input_ids"]).logits_per_image[0]
    expected = dict(zip(names, sigmoid(logits.detach().numpy()), strict=True))
    assert {answer["label"]: answer["score"] for answer in answers} == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pixel_values": None}, "pixel_values is missing"),
        ({"pixel_values": torch.zeros(3, 1, 32, 32)}, r"shape \(3, 1, 32, 32\), expected \(batch_size, 3"),
        ({"pixel_values": torch.zeros(3, 3, 64, 64)}, "image size 64x64: expected 32x32"),
        (
            {"pixel_values": torch.zeros(3, 3, 33, 32), "interpolate_pos_encoding": True},
            "image size 33x32: height and width must be multiples of 4",
        ),
        ({"artifact_labels": torch.zeros(3, 70)}, r"artifact_labels has shape \(3, 70\), expected \(3, 4\)"),
        ({"artifact_masks": torch.zeros(3, 4, 8, 8)}, r"artifact_masks has shape .* expected \(3, 4, 32, 32\)"),
        ({"text_labels": torch.zeros(3, 3)}, r"text_labels has shape \(3, 3\), expected \(3, 5\)"),
        ({"input_ids": None}, "input_ids is missing"),
    ],
)
def test_inputs_that_do_not_fit_raise(inputs, change, message):
    with pytest.raises(ValueError, match=message):
        make_tagger_model()(**(inputs | change))


def test_gradient_accumulation_leaves_the_losses_means_over_a_batch(tmp_path):
    arguments = TrainingArguments(str(tmp_path), report_to="none", use_cpu=True)
    assert not Trainer(make_tagger_model(), arguments).model_accepts_loss_kwargs
