"""The pipeline that tells whether an image is generated, by which artifacts one sees it, where, and why."""

import os
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import CommitInfo, ModelCard, ModelCardData
from PIL import Image
from transformers import Pipeline
from transformers.dynamic_module_utils import custom_object_save
from transformers.utils import TRANSFORMERS_DYNAMIC_MODULE_NAME

from tellsign.modeling.image_loading import load_image, read_source
from tellsign.modeling.verdicts import is_large, real_and_fake, verdicts_of

from .evidence import places_of, summary_of
from .explainer import ArtifactExplainer
from .formats import FailedImage, ImageExplanation
from .hub import HUB_OPTIONS, load_part, push_folder, refuse_parts
from .inputs import as_inputs, checked_options, listed
from .localizer import ArtifactLocalizer
from .provenance import Statement, provenance
from .tagger import ArtifactTagger


class ArtifactExplanationPipeline(Pipeline):
    r"""
    Tells whether an image is real or fake, which artifacts are in it, where, and explains each in a sentence.

    The verdict is that of the detector, any classifier of `pixel_values` with the labels real and fake. It is
    "uncertain" between its thresholds, if it has them, see [`WaveFreqConfig`]. The evidence says which places spoke
    for it. The tagger, in `tagger/` beside the detector, names the artifacts of small images and finds their places.
    A CLIP or SigLIP as tagger names those of large pictures too. The explainer, if there is one in `explainer/` or
    given, writes one sentence for each. A localizer, if there is one in `localizer/` or given, finds the places in
    large images, of which the tagger sees less.

    Args:
        model ([`PreTrainedModel`]): The detector.
        image_processor ([`BaseImageProcessor`]): The detector's image processor.
        tagger (`str`, `os.PathLike`, [`ArtifactTagger`] or `False`, *optional*):
            Another tagger than the one beside the detector: a folder, a repository or an object. `False` for none:
            there are verdicts alone. If a detector of another kind than WaveFreq comes from a branch or commit, load
            its tagger from there and pass it as an object. Of such a detector, transformers does not tell the pipeline
            which revision was used.
        explainer (`str`, `os.PathLike`, [`ArtifactExplainer`] or `False`, *optional*):
            Another explainer than the one beside the detector: any checkpoint that `AutoModelForImageTextToText`
            loads, or an object. `False` for none: the artifacts then have no explanations.
        explainer_kwargs (`dict`, *optional*):
            Keyword arguments for [`ArtifactExplainer.from_pretrained`], such as `adapter` and `quantization_config`.
        localizer (`str`, `os.PathLike`, [`ArtifactLocalizer`] or `False`, *optional*):
            What finds the boxes, instead of the tagger: a folder or repository of a PaliGemma or of an adapter for
            one. Or an object, as of `ArtifactLocalizer.from_pretrained(..., quantization_config=...)`. Where it finds
            none, and of artifacts of the whole image, the box is the tagger's. All heat maps are the tagger's.
            `False` for none.
        explain (`str`, *optional*, defaults to `"fake"`):
            Which images to search for artifacts: `"fake"` for those judged so, `"always"` for all, `"never"` for
            verdicts alone. Images that are not searched have no artifacts.
        operating_point (`str`, *optional*, defaults to `"cautious"`):
            `"balanced"` says "uncertain" of fewer large pictures, and errs more; the card says how much.
        threshold (`float`, *optional*):
            Probability from which an artifact is named. Defaults to the tagger's own, one for each.
        top_k (`int`, *optional*): How many artifacts to name at most. Defaults to all that reach the threshold.
        candidate_labels (`list[str]`, *optional*):
            The artifacts to look for, in any spelling that [`find_artifact`] knows. Defaults to all that the tagger
            names; others are never found, of which a warning tells.
        return_heatmap (`bool`, *optional*, defaults to `False`):
            Whether each artifact comes with its `heatmap`, a float32 array of shape `(height, width)` in [0, 1]. The
            answer then also has an `evidence_map`, a float32 array of shape `(rows, columns)`: what each place adds to
            the logit of fake.
        strict (`bool`, *optional*, defaults to `False`):
            Whether an image that cannot be opened raises. Otherwise its answer is `{"error": message}`.
        timeout (`float`, *optional*, defaults to 5): As for [`~tellsign.load_image`].
        kwargs: As for any [`Pipeline`]: `device`, `batch_size`, `num_workers`, ...

    The options from `explain` on may also be given at the call.

    Raises:
        ValueError: If the model has other labels than real and fake, or the machine lacks the `device`. Also if there
            is no tagger and `explain` is not `"never"`, or an option is not as described.

    Example:

    ```python
    >>> import tellsign
    >>> from transformers import pipeline

    >>> explain = pipeline("artifact-explanation", explain="never")
    >>> sorted(explain("examples/photo_cat.jpg"))
    ['artifacts', 'evidence', 'fake_probability', 'height', 'label', 'provenance', 'summary', 'width']
    ```
    """

    _load_processor = False  # type: ignore[assignment]
    _load_image_processor = True  # type: ignore[assignment]
    _load_feature_extractor = False  # type: ignore[assignment]
    _load_video_processor = False  # type: ignore[assignment]
    _load_tokenizer = False  # type: ignore[assignment]
    image_processor: Any

    def __init__(
        self,
        *args,
        tagger: str | os.PathLike | ArtifactTagger | bool | None = None,
        explainer: "str | os.PathLike | ArtifactExplainer | bool | None" = None,
        explainer_kwargs: dict[str, Any] | None = None,
        localizer: "str | os.PathLike | ArtifactLocalizer | bool | None" = None,
        **kwargs,
    ):
        dtype, device = kwargs.get("dtype", "auto"), kwargs.get("device")
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        if isinstance(device, int):  # the number of an accelerator, or -1 for none
            is_there = device < 0 or accelerator is not None
        else:
            is_there = device is None or torch.device(device).type in ("cpu", accelerator and accelerator.type)
        if not is_there:
            raise ValueError(f"device={device}: this machine has no such device, expected {accelerator or 'cpu'}")
        super().__init__(*args, **kwargs)
        self.model.eval()  # one that was just trained would judge by, and change, the statistics of its batches
        _, self.fake_index = real_and_fake(self.model.config)
        load = partial(load_part, self.model, self.device)
        self.tagger = load(ArtifactTagger, tagger, "tagger", dtype=self.dtype)
        self._is_without_tagger = tagger is False
        self.explainer = load(
            ArtifactExplainer, explainer, "explainer", **({"dtype": dtype} | (explainer_kwargs or {}))
        )
        if explainer_kwargs and (self.explainer is None or self.explainer is explainer):
            raise ValueError(f"explainer_kwargs={explainer_kwargs}: there is no explainer to load with them")
        self.localizer = load(ArtifactLocalizer, localizer, "localizer", dtype=dtype)
        if self._forward_params.get("explain") != "never":
            self._require_tagger()
        self._check_labels(self._forward_params.get("candidate_labels"))

    @property
    def parts(self) -> dict[str, ArtifactTagger | ArtifactExplainer | ArtifactLocalizer | None]:
        """What may lie beside the detector, by the names of its folders; `None` where it is lacking."""
        return {"tagger": self.tagger, "explainer": self.explainer, "localizer": self.localizer}

    @property
    def lacking_parts(self) -> list[str]:
        """The names of the parts that it does not have."""
        return [name for name, part in self.parts.items() if part is None]

    def _require_tagger(self) -> None:
        if self.tagger is None:
            lack = f"{self.model.config._name_or_path or 'the model'} has no tagger/ beside the detector"
            raise ValueError(
                f"{'tagger=False: there is none' if self._is_without_tagger else lack}, so artifacts cannot be named: "
                'pass tagger=tellsign.DEFAULT_MODEL / "tagger" or another, or explain="never" for verdicts alone; in '
                "the command, --tagger or --explain never"
            )

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
            `dict` for an image, `list` of them for a list, an iterator for everything else. It is
            `{"error": message}`, or has:

            - `label`: `"real"`, `"fake"` or `"uncertain"`.
            - `fake_probability`, calibrated.
            - `animated`: true, if the image has more frames than the first, which was judged.
            - `width` and `height` of the image in pixels.
            - `evidence`: the places that spoke most for the verdict (of "uncertain", for the likelier of both). Each
              has its `box` and its `share` of all that spoke for it.
            - `artifacts`, by falling score. Each has `label`, `score`, `box` (`xmin`, `ymin`, `xmax`, `ymax` in the
              pixels of the image), and `explanation` if there is an explainer.
            - `provenance`: what the file itself states, see [`~tellsign.provenance`]. It changes no probability.
            - `summary`: a few short sentences.
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
        error, statements = None, list[Statement]()
        try:
            content, name = read_source(source, timeout=timeout)
            image = load_image(content, name)
            statements = provenance(content)
        except ValueError as reason:
            if strict:
                raise
            image, error = Image.new("RGB", (1, 1)), str(reason)  # fills its place in the batch
        features = self.image_processor(images=[image], return_tensors="pt")
        inputs = {name: features[name] for name in self.image_processor.model_input_names if name in features}
        for name in ("pixel_values", "large_pixel_values"):
            if name in inputs:
                inputs[name] = inputs[name].to(self.dtype)
        return inputs | {"image": image, "error": error, "provenance": statements}

    def _forward(  # type: ignore[override]
        self,
        model_inputs: dict[str, Any],
        explain: str = "fake",
        operating_point: str = "cautious",
        return_heatmap: bool = False,
        **tagging,
    ) -> dict[str, Any]:
        inputs = dict(model_inputs)
        images, errors, stated = inputs.pop("image"), inputs.pop("error"), inputs.pop("provenance")
        if one := not isinstance(images, list):  # a batch of one is not collated
            images, errors, stated = [images], [errors], [stated]
        outputs = self.model(**inputs)
        probabilities = outputs.logits.float().softmax(-1)[:, self.fake_index].tolist()
        verdicts = verdicts_of(self.model.config, probabilities, inputs.get("image_sizes"), operating_point)
        maps = outputs.get("evidence")
        answers: list[Any] = []
        for index, (image, error) in enumerate(zip(images, errors, strict=True)):
            answer: dict[str, Any] = {"error": error}
            if error is None:
                answer = {"label": verdicts[index], "fake_probability": probabilities[index]}
                if image.info.get("animated"):
                    answer["animated"] = True
                answer |= {"width": image.width, "height": image.height, "evidence": [], "artifacts": []}
                answer["provenance"] = stated[index]
                if maps is not None:
                    places = maps[index].float().cpu().numpy()
                    toward_fake = places if probabilities[index] > 0.5 else -places
                    answer["evidence"] = places_of(toward_fake, image.height, image.width)
                    if return_heatmap:
                        answer["evidence_map"] = places
            answers.append(answer)
        chosen = [
            index
            for index, answer in enumerate(answers)
            if "error" not in answer and (explain == "always" or explain == answer["label"])
        ]
        if chosen:
            searched = self._searched(inputs, len(answers))
            chosen = [index for index in chosen if searched[index]]
        if chosen:
            self._require_tagger()
            tagged = self.tagger([images[index] for index in chosen], return_heatmap=return_heatmap, **tagging)
            for index, artifacts in zip(chosen, tagged, strict=True):
                answers[index]["artifacts"] = artifacts
            self._explain(answers, images, chosen)
        for index, (answer, image) in enumerate(zip(answers, images, strict=True)):
            if "error" not in answer:
                found = len(answer["artifacts"]) if index in chosen else None
                leaning = ("real", "fake")[probabilities[index] > 0.5] if answer["label"] == "uncertain" else None
                answer["summary"] = summary_of(answer["evidence"], found, image.height, image.width, leaning)
        return {"answer": answers[0] if one else answers}

    def _searched(self, inputs: Mapping[str, Any], count: int) -> list[bool]:
        """Which images are searched for artifacts: small ones, and all if the tagger compares texts."""
        if "image_sizes" not in inputs or (self.tagger is not None and self.tagger.mode != "calibrated"):
            return [True] * count
        return (~is_large(self.model.config, inputs["image_sizes"])).tolist()

    def _explain(self, answers: list[Any], images: list[Image.Image], chosen: list[int]) -> None:
        """Lets localizer and explainer go on with the artifacts of the chosen images."""
        found = [answers[index]["artifacts"] for index in chosen]
        chosen_images = [images[index] for index in chosen]
        if self.localizer is not None:
            self.localizer.relocate(chosen_images, found, self.tagger.global_artifacts)
        if self.explainer is None or not any(found):
            return
        named = [index for index in chosen if answers[index]["artifacts"]]
        shown = dict(zip(named, self.tagger.name_categories([images[i] for i in named]) if named else [], strict=True))
        categories = [shown.get(index) for index in chosen]
        verdicts = [answers[index]["label"] for index in chosen]
        explained = self.explainer(chosen_images, verdicts, found, categories)
        for artifacts, sentences in zip(found, explained, strict=True):
            for artifact in artifacts:
                artifact["explanation"] = sentences[artifact["label"]]

    def postprocess(  # type: ignore[override]
        self, model_outputs: dict[str, Any]
    ) -> ImageExplanation | FailedImage:
        return model_outputs["answer"]

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs) -> None:
        """Saves the detector into a folder, and tagger, explainer and localizer into its `tagger/`, `explainer/` and
        `localizer/`.

        Args:
            save_directory (`str` or `os.PathLike`): The folder, made if it does not exist.
            kwargs:
                Keyword arguments for the detector's `save_pretrained`. With `push_to_hub=True` all parts are sent to
                `repo_id`, or a repository of the folder's name; those of `push_to_hub` may be given then.

        Raises:
            ValueError: If the folder holds a part that this pipeline does not have, and that would be loaded with it.
        """
        names = os.listdir(save_directory) if os.path.isdir(save_directory) else []
        refuse_parts(self.lacking_parts, save_directory, names)
        to_hub = {name: kwargs.pop(name) for name in HUB_OPTIONS & kwargs.keys()}
        # Unlike in the base class, config.json does not name the pipeline, unless its code came from a repository. A
        # model that names one asks for trust_remote_code even where this package has registered the task.
        config: Any = self.model.config
        if self.__module__.startswith(f"{TRANSFORMERS_DYNAMIC_MODULE_NAME}."):
            # As "repository--module.Class"; only a model of this package brings its own code, and so has an auto_map.
            for names in (getattr(config, "auto_map", {}), *config.custom_pipelines.values()):
                names |= {key: name.split("--")[-1] for key, name in names.items() if isinstance(name, str)}
            os.makedirs(save_directory, exist_ok=True)
            custom_object_save(self, save_directory)
        else:
            getattr(config, "custom_pipelines", {}).pop("artifact-explanation", None)
        self.model.save_pretrained(save_directory, **kwargs)
        self.image_processor.save_pretrained(save_directory)
        for name, part in self.parts.items():
            if part is not None:
                part.save_pretrained(Path(save_directory) / name)
        if to_hub.pop("push_to_hub", False):
            self.push_to_hub(to_hub.pop("repo_id", Path(save_directory).name), **to_hub)

    def push_to_hub(  # type: ignore[override]
        self, repo_id: str, *, tags: list[str] | None = None, max_shard_size: int | str = "50GB", **kwargs
    ) -> CommitInfo:
        """Sends the detector with its tagger, explainer and localizer to a repository, as [`push_folder`] does.

        A card on the Hub stays; where there is none, the Hub's form is sent. [`~tellsign.hub_cards.export.push`]
        writes one.

        Args:
            repo_id (`str`): The repository, made if there is none.
            tags (`list[str]`, *optional*): For the card of a new repository.
            max_shard_size (`int` or `str`, *optional*, defaults to `"50GB"`): Of one file of weights.
            kwargs: `private`, `token`, `revision`, `commit_message`, `commit_description` and `create_pr`.

        Raises:
            ValueError: If the repository was to be private and is public. Also if it holds a part that this pipeline
                does not have, and that would be loaded with it.
        """
        form = ModelCard.from_template(ModelCardData(library_name="transformers", tags=tags))
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, max_shard_size=max_shard_size)
            return push_folder(
                folder,
                repo_id,
                card_of=lambda there: str(form) if there is None else None,
                lacking_parts=self.lacking_parts,
                **{"commit_message": "Upload model"} | kwargs,
            )


__all__ = ["ArtifactExplanationPipeline"]
