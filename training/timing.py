"""Time of calls."""

import time
from collections.abc import Callable

import numpy as np
import torch


def seconds(call: Callable[[], object]) -> float:
    """Time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def median_milliseconds(call: Callable[[], object], threads: int, repeats: int) -> float:
    """Median time of a call with so many threads of torch, after two calls to warm up."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        times = [seconds(call) for _ in range(repeats + 2)]
    finally:
        torch.set_num_threads(before)
    return 1000 * float(np.median(times[2:]))
