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
from scipy.special import softmax
from torch import nn
from transformers import AutoImageProcessor, EvalPrediction, HfArgumentParser, Trainer, TrainingArguments, set_seed

from tellsign import WaveFreqConfig, WaveFreqForImageClassification, WaveFreqImageProcessor
from tellsign.training.averaging import WeightAveraging, last_complete_checkpoint
from tellsign.training.calibration import fit_temperature
from tellsign.training.data import Augmentation, DecodedImages, drop_duplicates, hold_out, load_sources, whole_batch
from tellsign.training.metrics import detection_scores


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
    return model_args, data_args, training_args


def create_model(arguments: ModelArguments) -> tuple[WaveFreqForImageClassification, WaveFreqImageProcessor]:
    """A new network, or the checkpoint that the arguments name, with its image processor."""
    if arguments.model_name_or_path:
        model = WaveFreqForImageClassification.from_pretrained(arguments.model_name_or_path)
        return model, AutoImageProcessor.from_pretrained(arguments.model_name_or_path)
    overrides = arguments.config_overrides or {}
    if isinstance(overrides, str):
        overrides = json.loads(overrides)
    config = (WaveFreqConfig.seed if arguments.architecture == "seed" else WaveFreqConfig)(**overrides)
    size = {"height": config.image_size, "width": config.image_size}
    return WaveFreqForImageClassification(config), WaveFreqImageProcessor(size=size)


def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """All scores of [`tellsign.training.metrics`] from logits and labels."""
    return detection_scores(
        np.asarray(prediction.label_ids), softmax(np.asarray(prediction.predictions, np.float64), axis=1)[:, 1]
    )


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
    model.to(memory_format=torch.channels_last)
    with training_args.main_process_first(desc="loading the data"):
        images = drop_duplicates(load_sources(data_args.train_data, revision=data_args.data_revision))
    train, validation = hold_out(images, data_args.validation_per_class)
    validation_images = DecodedImages(validation, image_processor)
    trainer = DetectorTrainer(
        Augmentation(data_args.flip, data_args.shift, data_args.cutout),
        model=model,
        args=training_args,
        train_dataset=DecodedImages(train, image_processor),
        eval_dataset=validation_images,
        data_collator=whole_batch,
        processing_class=image_processor,
        compute_metrics=compute_metrics,
        callbacks=[WeightAveraging(model_args.ema_decay)],
    )
    checkpoint = training_args.resume_from_checkpoint or last_complete_checkpoint(training_args.output_dir)
    result = trainer.train(resume_from_checkpoint=checkpoint)
    trainer.log_metrics("train", result.metrics)
    trainer.save_metrics("train", result.metrics)

    prediction = trainer.predict(validation_images, metric_key_prefix="eval")
    model.config.temperature = fit_temperature(prediction.predictions, prediction.label_ids)
    trainer.log_metrics("eval", prediction.metrics)
    trainer.save_metrics("eval", prediction.metrics)
    trainer.save_model()
    trainer.save_state()


if __name__ == "__main__":
    main()
