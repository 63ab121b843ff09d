"""Draws that are new in each epoch, and the same in all processes and in resumed runs."""

from typing import Protocol

from transformers import TrainerCallback


class HasEpoch(Protocol):
    epoch: int


class EpochCallback(TrainerCallback):
    """Tells images or a sampler the epoch: in a resumed run of several processes the Trainer does not."""

    def __init__(self, drawn: HasEpoch):
        self.drawn = drawn

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.drawn.epoch = int(state.epoch or 0)
