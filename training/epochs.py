"""What is drawn anew in each epoch, the same again in the same epoch, whatever process or resumed run it is."""

from abc import ABC, abstractmethod
from typing import Protocol

import torch
from transformers import TrainerCallback


class HasEpoch(Protocol):
    epoch: int


class DrawnAnew(torch.utils.data.Dataset, ABC):
    """Images that are others in each epoch, handed out in whole batches.

    Attributes:
        epoch (`int`): The epoch whose images are handed out, see [`EpochCallback`].
    """

    def __init__(self) -> None:
        self._epoch = torch.zeros((), dtype=torch.long).share_memory_()  # workers that stay must see it change

    @property
    def epoch(self) -> int:
        return int(self._epoch)

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._epoch.fill_(epoch)

    @abstractmethod
    def __getitems__(self, indices: list[int]) -> dict[str, torch.Tensor]:
        """The images of these numbers, as a batch."""


class EpochCallback(TrainerCallback):
    """Tells images or a sampler which epoch it is: in a resumed run of several processes nobody else does."""

    def __init__(self, drawn: HasEpoch):
        self.drawn = drawn

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.drawn.epoch = int(state.epoch or 0)
