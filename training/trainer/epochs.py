"""What is drawn anew in each epoch, the same again in the same epoch, whatever process or resumed run it is."""

from typing import Protocol

from transformers import TrainerCallback


class HasEpoch(Protocol):
    epoch: int


class EpochCallback(TrainerCallback):
    """Tells images or a sampler which epoch it is: in a resumed run of several processes nobody else does."""

    def __init__(self, drawn: HasEpoch):
        self.drawn = drawn

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.drawn.epoch = int(state.epoch or 0)
