"""Small changes to how transformers' Trainer goes through data."""

from typing import Protocol

from transformers import Trainer, TrainerCallback


class HasEpoch(Protocol):
    epoch: int


class EpochCallback(TrainerCallback):
    """Tells images or a sampler the epoch: in a resumed run of several processes the Trainer does not."""

    def __init__(self, drawn: HasEpoch):
        self.drawn = drawn

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.drawn.epoch = int(state.epoch or 0)


class WholeValidationTrainer(Trainer):
    """A Trainer whose `dataloader_drop_last` affects training images alone."""

    def get_eval_dataloader(self, eval_dataset=None):
        drop_last, self.args.dataloader_drop_last = self.args.dataloader_drop_last, False
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.args.dataloader_drop_last = drop_last
