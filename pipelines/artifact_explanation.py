"""The pipeline: is an image generated, which artifacts show it, where and how."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tellsign.modeling.image_files import contrast_of, in_rgb, stored_image
from tellsign.modeling.image_loading import read_source
from tellsign.modeling.verdicts import is_large, real_and_fake, verdicts_of

from .answer import (
    UNTOLD,
    Evidence,
    ExplainedArtifact,
    FailedImage,
    ImageExplanation,
    Statement,
    Trace,
    doubt_of,
    summary_of,
)
from .evidence import places_of
from .inputs import as_inputs, checked_options, listed
from .parts import PipelineOfParts
from .statements import statements_in
from .tracing import find_traces, signatures_of


NO_IMAGE = Image.new("RGB", (1, 1))
"""Fills the place of an image that could not be opened, or that nobody looks at again."""


@dataclass
class Picture:
    """An image of a batch, and what each step finds out about it."""

    image: Image.Image
    provenance: list[Statement] = field(default_factory=list)
    traces: list[Trace] = field(default_factory=list)
    traces_note: str = ""
    error: str = ""
    label: str = ""
    fake_probability: float = 0.5
    operating_point: str = ""
    verdict_note: str = ""
    is_large: bool = False
    evidence_map: NDArray[np.float32] | None = None
    evidence: list[Evidence] = field(default_factory=list)
    artifacts: list[ExplainedArtifact] = field(default_factory=list)
    artifacts_note: str = ""

    def __post_init__(self):
        self.width, self.height = self.image.size
        self.contrast = contrast_of(self.image)
        self.is_animated = bool(self.image.info.get("animated"))

    def summarize(self, return_heatmap: bool) -> ImageExplanation | FailedImage:
        """The answer."""
        if self.error:
            return {"error": self.error}
        answer: ImageExplanation = {
            "label": self.label,
            "fake_probability": self.fake_probability,
            "operating_point": self.operating_point,
            "verdict_note": self.verdict_note,
            "width": self.width,
            "height": self.height,
            "evidence": self.evidence,
            "artifacts": self.artifacts,
            "artifacts_note": self.artifacts_note,
            "traces": self.traces,
            "traces_note": self.traces_note,
            "provenance": self.provenance,
            "summary": "",
        }
        if self.is_animated:
            answer["animated"] = True
        if return_heatmap and self.evidence_map is not None:
            answer["evidence_map"] = self.evidence_map
        answer["summary"] = summary_of(answer)
        return answer


class ArtifactExplanationPipeline(PipelineOfParts):
    r"""
    Tells whether an image is real or fake, which artifacts are in it, where, and explains each in a sentence.

    The detector gives the verdict. It is any classifier of `pixel_values` with the labels real and fake. The verdict
    is "uncertain" between its thresholds, if it has them, see [`WaveFreqConfig`]. The evidence says which places spoke
    for it. The tagger, in `tagger/` beside the detector, names the artifacts of small images and finds their places.
    A CLIP or SigLIP as tagger names those of large pictures too. The explainer, in `explainer/` or given, writes one
    sentence for each. A localizer, in `localizer/` or given, finds the places in large images, of which the tagger
    sees less. A detector without a tagger gets the packaged tagger and explainer.

    Args:
        model ([`PreTrainedModel`]): The detector.
        image_processor ([`BaseImageProcessor`]): The detector's image processor.
        tagger (`str`, `os.PathLike`, [`ArtifactTagger`] or `False`, *optional*):
            Another tagger than the one beside the detector: a folder, a repository or an object. Defaults to that one
            or, unless `explain` is `"never"`, to the packaged one. `False` for none: there are verdicts alone. If a
            detector of another kind than WaveFreq comes from a branch or commit, load its tagger from there and pass
            it as an object. Of such a detector, transformers does not tell the pipeline which revision was used.
        explainer (`str`, `os.PathLike`, [`ArtifactExplainer`] or `False`, *optional*):
            Another explainer than the one beside the detector: any checkpoint that `AutoModelForImageTextToText`
            loads, or an object. Defaults to that one, or beside the packaged tagger to the packaged one. `False` for
            none: the artifacts then have no explanations.
        explainer_kwargs (`dict`, *optional*):
            Keyword arguments for [`ArtifactExplainer.from_pretrained`], such as `adapter` and `quantization_config`.
        localizer (`str`, `os.PathLike`, [`ArtifactLocalizer`] or `False`, *optional*):
            What finds the boxes, instead of the tagger: a folder or repository of a PaliGemma or of an adapter for
            one. Or an object, as of `ArtifactLocalizer.from_pretrained(..., quantization_config=...)`. Where it finds
            none, and of artifacts of the whole image, the box is the tagger's. All heat maps are the tagger's.
            `False` for none.
        explain (`str`, *optional*, defaults to `"fake"`):
            Which images to search for artifacts: `"fake"` for those judged so, `"always"` for all but those with a
            `verdict_note`, `"never"` for verdicts alone. Images that are not searched have no artifacts, and
            `artifacts_note` says why.
        operating_point (`str`, *optional*, defaults to `"cautious"`):
            `"balanced"` says "uncertain" of fewer large pictures, and errs more; the card says how much.
        threshold (`float`, *optional*):
            Probability from which an artifact is named. Defaults to the tagger's own, one for each.
        top_k (`int`, *optional*): How many artifacts to name at most. Defaults to all that reach the threshold.
        candidate_labels (`list[str]`, *optional*):
            The artifacts to look for, in any spelling that [`find_artifact`] knows. Defaults to all that the tagger
            names. A warning lists those that it never names.
        return_heatmap (`bool`, *optional*, defaults to `False`):
            Whether each artifact that the tagger names comes with its `heatmap`, a float32 array of shape
            `(height, width)` in [0, 1]. An answer without a `verdict_note` then also has an `evidence_map`, a float32
            array of shape `(rows, columns)`: what each place adds to the logit of fake.
        strict (`bool`, *optional*, defaults to `False`):
            Whether an image that cannot be opened raises. Otherwise its answer is `{"error": message}`.
        timeout (`float`, *optional*, defaults to 5): As for [`~tellsign.load_image`].
        kwargs: As for any [`Pipeline`]: `device`, `batch_size`, `num_workers`, ...

    The options from `explain` on may also be given at the call.

    Raises:
        ValueError: If the model has other labels than real and fake, or the machine lacks the `device`. Also if
            `tagger` is `False` and `explain` is not `"never"`, or an option is not as described.

    Example:

    ```python
    >>> import tellsign
    >>> from transformers import pipeline

    >>> explain = pipeline("artifact-explanation", explain="never")
    >>> explain("examples/photo_cat.jpg")["summary"]
    'It leans to "real". Artifacts are not looked for in pictures of this size.'
    ```
    """

    _load_processor = False  # type: ignore[assignment]
    _load_image_processor = True  # type: ignore[assignment]
    _load_feature_extractor = False  # type: ignore[assignment]
    _load_video_processor = False  # type: ignore[assignment]
    _load_tokenizer = False  # type: ignore[assignment]

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.model.eval()  # one that was just trained would judge by, and change, the statistics of its batches
        _, self.fake_index = real_and_fake(self.model.config)
        self._check_labels(self._forward_params.get("candidate_labels"))

    def _check_labels(self, labels: list[str] | None) -> None:
        """Raises a `ValueError` at once, not at the first image that is searched."""
        if labels is not None and self.tagger is not None:
            self.tagger.checked_labels(labels)

    def _sanitize_parameters(  # type: ignore[override]
        self,
        explain: str | None = None,
        operating_point: str | None = None,
        threshold: float | None = None,
        top_k: int | None = None,
        candidate_labels: list[str] | None = None,
        return_heatmap: bool | None = None,
        strict: bool | None = None,
        timeout: float | None = None,
    ):
        given = checked_options(explain, operating_point, threshold, top_k)
        given |= {"candidate_labels": listed(candidate_labels), "return_heatmap": return_heatmap}
        forward_params = {name: value for name, value in given.items() if value is not None}
        given_to_preprocess = {"strict": strict, "timeout": timeout}
        preprocess_params = {name: value for name, value in given_to_preprocess.items() if value is not None}
        return preprocess_params, forward_params, {}

    def __call__(self, inputs: Any, **kwargs) -> Any:  # type: ignore[override]
        r"""
        Explains one or many images.

        Args:
            inputs: An image as [`~tellsign.load_image`] takes it, or a list, a `datasets` column, a torch dataset or
                an iterator of images.
            kwargs: The options of the class from `explain` on, `batch_size` and `num_workers`.

        Returns:
            An [`ImageExplanation`] for an image, a list of them for a list, an iterator for everything else. In place
            of one that cannot be opened there is `{"error": message}`.
        """
        if "candidate_labels" in kwargs:
            kwargs["candidate_labels"] = listed(kwargs["candidate_labels"])
            self._check_labels(kwargs["candidate_labels"])
        inputs = as_inputs(inputs)
        if isinstance(inputs, list) and not inputs:
            return []
        return super().__call__(inputs, **kwargs)

    def preprocess(  # type: ignore[override]
        self, source: Any, strict: bool = False, timeout: float | None = 5.0
    ) -> dict[str, Any]:
        try:
            picture = _opened(source, timeout)
        except ValueError as reason:
            if strict:
                raise
            picture = Picture(NO_IMAGE, error=str(reason))
        features = self.image_processor(images=[picture.image], return_tensors="pt")
        if not self._knows_large and "image_sizes" in features:
            if is_large(self.model.config, features["image_sizes"]).item():
                picture.image = NO_IMAGE  # a batch of large ones may not fit into memory
        inputs = {name: features[name] for name in self.image_processor.model_input_names if name in features}
        for name, values in inputs.items():
            if values.is_floating_point():
                inputs[name] = values.to(self.dtype)
        return inputs | {"picture": picture}

    def _forward(  # type: ignore[override]
        self,
        model_inputs: dict[str, Any],
        explain: str = "fake",
        operating_point: str = "cautious",
        return_heatmap: bool = False,
        **tagging,
    ) -> dict[str, Any]:
        inputs = dict(model_inputs)
        given = inputs.pop("picture")
        pictures = given if isinstance(given, list) else [given]  # a batch of one is not collated
        self._judge(pictures, inputs, operating_point)
        self._show_evidence(pictures)
        if searched := self._choose(pictures, explain, tagging):
            self._name(searched, return_heatmap=return_heatmap, **tagging)
            self._place(searched)
            self._explain(searched)
        answers = [picture.summarize(return_heatmap) for picture in pictures]
        return {"answer": answers if isinstance(given, list) else answers[0]}

    def _judge(self, pictures: list[Picture], inputs: dict[str, Any], operating_point: str) -> None:
        """The detector's verdicts, probabilities and maps."""
        config, sizes = self.model.config, inputs.get("image_sizes")
        outputs = self.model(**inputs)
        probabilities = outputs.logits.float().softmax(-1)[:, self.fake_index].tolist()
        verdicts = verdicts_of(config, probabilities, sizes, operating_point)
        large = [False] * len(pictures) if sizes is None else is_large(config, sizes).tolist()
        maps = outputs.get("evidence")
        for row, picture in enumerate(pictures):
            picture.is_large, picture.operating_point = large[row], operating_point
            # A network for large pictures sees them at their own pixels too.
            side = None if large[row] else getattr(config, "image_size", None)
            seen = side if isinstance(side, int) else None
            picture.verdict_note = doubt_of(picture.width, picture.height, picture.contrast, seen)
            if picture.verdict_note:
                picture.label, picture.fake_probability = UNTOLD
            else:
                picture.label, picture.fake_probability = verdicts[row], probabilities[row]
                picture.evidence_map = None if maps is None else maps[row].float().cpu().numpy()

    def _show_evidence(self, pictures: list[Picture]) -> None:
        """The places that speak for the likelier verdict."""
        for picture in pictures:
            if picture.evidence_map is not None:
                toward = picture.evidence_map if picture.fake_probability > 0.5 else -picture.evidence_map
                picture.evidence = places_of(toward, picture.height, picture.width)

    @property
    def _knows_large(self) -> bool:
        """Whether the tagger knows large images too. A calibrated one learned from small ones alone."""
        return self.tagger is not None and self.tagger.mode != "calibrated"

    def _choose(self, pictures: list[Picture], explain: str, tagging: dict[str, Any]) -> list[Picture]:
        """The pictures to search for artifacts; the others get a note that says why not."""
        naming = {name: tagging.get(name) for name in ("candidate_labels", "threshold")}
        for picture in pictures:
            if picture.is_large and not self._knows_large:
                if not picture.verdict_note and (explain == "always" or explain == picture.label):
                    picture.artifacts = signatures_of(picture.traces, picture.height, picture.width, **naming)
                others = "Other artifacts" if picture.artifacts else "Artifacts"
                picture.artifacts_note = f"{others} are not looked for in pictures of this size."
            elif explain == "never" or picture.verdict_note:
                picture.artifacts_note = "Artifacts were not looked for."
            elif explain == "fake" and picture.label != "fake":
                picture.artifacts_note = "Artifacts are looked for only in images judged fake."
        return [picture for picture in pictures if not picture.error and not picture.artifacts_note]

    def _name(self, pictures: list[Picture], **tagging) -> None:
        """The tagger's artifacts, with their places."""
        self._require_tagger()
        found = self.tagger([picture.image for picture in pictures], **tagging)
        for picture, artifacts in zip(pictures, found, strict=True):
            picture.artifacts = artifacts

    def _place(self, pictures: list[Picture]) -> None:
        """The localizer's boxes, in place of the tagger's."""
        if self.localizer is not None:
            images, found = [picture.image for picture in pictures], [picture.artifacts for picture in pictures]
            self.localizer.relocate(images, found, self.tagger.global_artifacts)

    def _explain(self, pictures: list[Picture]) -> None:
        """The explainer's sentence for each artifact."""
        pictures = [picture for picture in pictures if picture.artifacts]
        if self.explainer is None or not pictures:
            return
        images = [picture.image for picture in pictures]
        labels, found = [picture.label for picture in pictures], [picture.artifacts for picture in pictures]
        sentences = self.explainer(images, labels, found, self.tagger.name_categories(images))
        for artifacts, sentence_of in zip(found, sentences, strict=True):
            for artifact in artifacts:
                artifact["explanation"] = sentence_of[artifact["label"]]

    def postprocess(  # type: ignore[override]
        self, model_outputs: dict[str, Any]
    ) -> ImageExplanation | FailedImage:
        return model_outputs["answer"]


def _opened(source: Any, timeout: float | None) -> Picture:
    """An image with what its file states and shows."""
    content, name = read_source(source, timeout=timeout)
    stored = stored_image(content, name)
    return Picture(in_rgb(stored, name), statements_in(content, name), *find_traces(stored))


__all__ = ["ArtifactExplanationPipeline"]
