"""Muon for the matrices and kernels of a network's layers beside AdamW for everything else."""

from typing import Any

import torch
from torch import nn
from transformers import TrainingArguments
from transformers.training_args import OptimizerNames


def _outputs_first(values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Values shaped as a weight, their dimensions in the order in which it lies in memory."""
    return values if weight.is_contiguous() else values.movedim(1, -1)


class MuonWithAdamW(torch.optim.Optimizer):
    """Muon (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon) for some weights, AdamW for the rest.

    Args:
        weights (`list[nn.Parameter]`): Matrices and kernels of convolutions, which become matrices for Muon.
        learning_rate, weight_decay (`float`): Muon's, for updates as large as AdamW's.
        adamw (`torch.optim.AdamW`): Optimizer of the rest.
    """

    def __init__(
        self, weights: list[nn.Parameter], learning_rate: float, weight_decay: float, adamw: torch.optim.AdamW
    ):
        self.weights = weights
        self.matrices = [nn.Parameter(torch.empty(0, 0)) for _ in weights]
        self._take_weights()
        muon = torch.optim.Muon(
            self.matrices, lr=learning_rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
        )
        super().__init__([*muon.param_groups, *adamw.param_groups], {})
        self.parts = (muon, adamw)
        self._share_groups()

    def _share_groups(self) -> None:
        """Whoever sets a learning rate sets that of the part."""
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    def _take_weights(self) -> None:
        """Each matrix is a view of its weight, which a model that moves to a device replaces."""
        for weight, matrix in zip(self.weights, self.matrices, strict=True):
            matrix.data = _outputs_first(weight.data, weight).view(len(weight), -1)

    def step(self, closure=None):
        self._take_weights()
        for weight, matrix in zip(self.weights, self.matrices, strict=True):
            if weight.grad is not None:
                matrix.grad = _outputs_first(weight.grad, weight).reshape(matrix.shape)
        for part in self.parts:
            part.step()
        for matrix in self.matrices:
            matrix.grad = None

    def zero_grad(self, set_to_none: bool = True) -> None:
        super().zero_grad(set_to_none)
        for weight in self.weights:
            weight.grad = None

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._take_weights()
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._share_groups()


def refuse_other_optimizers(training_args: TrainingArguments) -> None:
    """Raises a `ValueError` if a Trainer is to take another optimizer, which it would not, or to scale its gradients,
    which would not reach all of this one's."""
    if training_args.fp16:
        raise ValueError("--fp16: this optimizer's gradients cannot be scaled, expected --bf16 or neither")
    asked = OptimizerNames(training_args.optim)
    if asked != OptimizerNames(TrainingArguments.optim):
        raise ValueError(f"--optim={asked.value}: the optimizer is Muon for the matrices and AdamW for the rest")


def muon_with_adamw(model: nn.Module, args: TrainingArguments, muon_learning_rate: float) -> MuonWithAdamW:
    """The optimizer of a transformer or a convolutional network.

    Args:
        model (`nn.Module`):
            The matrices and kernels below a module called `layers` are Muon's. Frozen weights are left out.
        args (`TrainingArguments`): Learning rate and betas of AdamW, and the weight decay of all that is no vector.
        muon_learning_rate (`float`): Learning rate of Muon, relative to updates as large as AdamW's.
    """
    layers: list[nn.Parameter] = []
    decayed: list[nn.Parameter] = []
    vectors: list[nn.Parameter] = []
    for name, weight in model.named_parameters():
        if not weight.requires_grad:
            continue
        if ".layers." in name and weight.ndim > 1:
            layers.append(weight)
        else:
            (decayed if weight.ndim > 1 else vectors).append(weight)
    adamw = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": args.weight_decay}, {"params": vectors, "weight_decay": 0.0}],
        lr=args.learning_rate,
        betas=(args.adam_beta1, args.adam_beta2),
        eps=args.adam_epsilon,
        fused=True,
    )
    return MuonWithAdamW(layers, muon_learning_rate, args.weight_decay, adamw)
