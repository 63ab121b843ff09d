"""Trains a detector.

python -m tellsign.training.train_detector RECIPE.json --train_data train.parquet --output_dir DIR
python -m tellsign.training.train_detector --help
"""

import json
import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import AutoImageProcessor, EvalPrediction, HfArgumentParser, Trainer, TrainingArguments, set_seed

from tellsign import WaveFreqConfig, WaveFreqForImageClassification, WaveFreqImageProcessor
from tellsign.training.averaging import WeightAveraging, last_complete_checkpoint, refresh_statistics
from tellsign.training.calibration import fit_temperature
from tellsign.training.data import (
    LABELS,
    Augmentation,
    DecodedImages,
    drop_duplicates,
    hold_out,
    load_sources,
    whole_batch,
)
from tellsign.training.metrics import detection_scores
from tellsign.training.prediction import fake_probability, predict_logits


@dataclass
class ModelArguments:
    model_name_or_path: str | None = field(
        default=None, metadata={"help": "Checkpoint to fine-tune. Without it a new network is trained."}
    )
    architecture: str = field(
        default="default",
        metadata={"help": "Configuration of a new network: default or seed.", "choices": ["default", "seed"]},
    )
    config_overrides: dict[str, Any] | str | None = field(
        default=None, metadata={"help": "Fields of WaveFreqConfig for a new network, as JSON."}
    )
    ema_decay: float = field(default=0.999, metadata={"help": "Decay of the average of the weights, in [0, 1)."})


@dataclass
class DataArguments:
    train_data: list[str] = field(
        default_factory=list,
        metadata={"help": "Parquet files, image folders or data sets on the Hub, with real and fake images."},
    )
    data_split: str = field(default="train", metadata={"help": "Split of a data set on the Hub."})
    data_revision: str | None = field(default=None, metadata={"help": "Commit of a data set on the Hub."})
    validation_per_class: int = field(
        default=5000, metadata={"help": "Images of each class held out, to watch the run and fit the temperature."}
    )
    flip: bool = field(default=True, metadata={"help": "Mirror half of the images."})
    shift: int = field(default=2, metadata={"help": "Largest shift along each axis, in pixels."})
    cutout: int = field(default=0, metadata={"help": "Side of a square to hide, in pixels."})


def parse_arguments(arguments: list[str]) -> tuple[ModelArguments, DataArguments, TrainingArguments]:
    """Parses a command line. If it begins with a JSON file, that gives the defaults of what follows.

    Raises:
        ValueError: If the file has a field that no argument has, or no training data are given.
    """
    argument_types: Any = (ModelArguments, DataArguments, TrainingArguments)
    parser = HfArgumentParser(argument_types)
    if arguments and arguments[0].endswith(".json"):
        with open(arguments[0], encoding="utf-8") as file:
            recipe = json.load(file)
        unknown = set(recipe) - {action.dest for action in parser._actions}
        if unknown:
            raise ValueError(f"{arguments[0]}: no argument is called {', '.join(sorted(unknown))}")
        parser.set_defaults(**recipe)
        arguments = arguments[1:]
    model_args, data_args, training_args = parser.parse_args_into_dataclasses(arguments, look_for_args_file=False)
    if not data_args.train_data:
        raise ValueError("--train_data: name at least one parquet file, folder or data set")
    if training_args.load_best_model_at_end:
        raise ValueError("--load_best_model_at_end: the run ends with the average of its weights instead")
    if training_args.save_total_limit == 1:
        raise ValueError("--save_total_limit: a run can only resume safely if at least 2 checkpoints are kept")
    return model_args, data_args, training_args


def create_model(arguments: ModelArguments) -> tuple[WaveFreqForImageClassification, WaveFreqImageProcessor]:
    """A new network, or the checkpoint that the arguments name, with its image processor.

    Raises:
        ValueError: If the checkpoint is of another model, or its labels are not 0 for real and 1 for fake.
    """
    if arguments.model_name_or_path:
        model = WaveFreqForImageClassification.from_pretrained(arguments.model_name_or_path)
        if model.config.id2label != dict(enumerate(LABELS)):
            raise ValueError(
                f"{arguments.model_name_or_path}: has the labels {model.config.id2label}, expected {LABELS}"
            )
        return model, AutoImageProcessor.from_pretrained(arguments.model_name_or_path)
    overrides = arguments.config_overrides or {}
    if isinstance(overrides, str):
        overrides = json.loads(overrides)
    config = (WaveFreqConfig.seed if arguments.architecture == "seed" else WaveFreqConfig)(**overrides)
    size = {"height": config.image_size, "width": config.image_size}
    return WaveFreqForImageClassification(config), WaveFreqImageProcessor(size=size)


def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """All scores of [`tellsign.training.metrics`] from logits and labels."""
    logits = np.asarray(prediction.predictions, np.float64)
    return detection_scores(np.asarray(prediction.label_ids), fake_probability(logits, temperature=1.0))


class DetectorTrainer(Trainer):
    """A Trainer that augments each batch on its device, right before its step.

    The random numbers are then those of the step, whatever the loader fetched ahead, so that a resumed run draws the
    same ones.
    """

    def __init__(self, augmentation: Augmentation, **kwargs):
        super().__init__(**kwargs)
        self.augmentation = augmentation

    def training_step(self, model: nn.Module, inputs: dict[str, torch.Tensor], *args, **kwargs) -> torch.Tensor:
        inputs = inputs | {"pixel_values": self.augmentation(inputs["pixel_values"])}
        return super().training_step(model, inputs, *args, **kwargs)


def main(arguments: list[str] | None = None) -> None:
    model_args, data_args, training_args = parse_arguments(sys.argv[1:] if arguments is None else arguments)
    training_args.remove_unused_columns = False  # the batches come ready
    set_seed(training_args.seed)

    model, image_processor = create_model(model_args)
    model.config.temperature = 1.0
    model.to(memory_format=torch.channels_last)  # type: ignore[call-arg]
    with training_args.main_process_first(desc="loading the data"):
        images = drop_duplicates(load_sources(data_args.train_data, data_args.data_split, data_args.data_revision))
    train, validation = hold_out(images, data_args.validation_per_class)
    image_size = model.config.image_size
    validation_images = DecodedImages(validation, image_processor, image_size)
    checkpoint = training_args.resume_from_checkpoint or last_complete_checkpoint(str(training_args.output_dir))
    augmentation = Augmentation(data_args.flip, data_args.shift, data_args.cutout)
    train_images = DecodedImages(train, image_processor, image_size)
    trainer = DetectorTrainer(
        augmentation,
        model=model,
        args=training_args,
        train_dataset=train_images,
        eval_dataset=validation_images,
        data_collator=whole_batch,
        processing_class=image_processor,
        compute_metrics=compute_metrics,
        callbacks=[WeightAveraging(model_args.ema_decay, checkpoint)],
    )
    result = trainer.train(resume_from_checkpoint=checkpoint)
    trainer.log_metrics("train", result.metrics)
    trainer.save_metrics("train", result.metrics)

    # The averaged weights in float32, as they are loaded: the Trainer's own prediction would run under autocast.
    model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    refresh_statistics(model, train_images, augmentation)
    logits, labels = predict_logits(model, validation_images), validation_images.labels.numpy()
    model.config.temperature = fit_temperature(logits, labels)
    scores = detection_scores(labels, fake_probability(logits, model.config.temperature))
    scores = {f"eval_{name}": value for name, value in scores.items()}
    trainer.log_metrics("eval", scores)
    trainer.save_metrics("eval", scores)
    trainer.save_model()
    trainer.save_state()


if __name__ == "__main__":
    main()
