"""Time of calls."""

import timeit
from collections.abc import Callable

import numpy as np
from torch.utils.benchmark import set_torch_threads


def median_milliseconds(call: Callable[[], object], threads: int, repeats: int) -> float:
    """Median time of a call with so many threads of torch, after two calls to warm up."""
    with set_torch_threads(threads):
        times = timeit.repeat(call, number=1, repeat=repeats + 2)
    return 1000 * float(np.median(times[2:]))
