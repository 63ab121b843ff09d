"""Weights stored in half precision."""

import torch
from torch import nn


def half_precision(model: nn.Module) -> dict[str, torch.Tensor]:
    """A model's state with its parameters in float16. Batch statistics exceed that range, and stay as they are.

    Raises:
        ValueError: If a parameter exceeds the range or is not a number, say after a run that diverged.
    """
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    state = {name: value.half() if name in parameters else value for name, value in model.state_dict().items()}
    overflown = sorted(name for name in parameters if not torch.isfinite(state[name]).all())
    if overflown:
        raise ValueError(f"the weights {', '.join(overflown)} are not finite in float16")
    return state
