"""Time of a call."""

import time
from collections.abc import Callable

import numpy as np
import torch


def median_milliseconds(call: Callable[[], object], threads: int, repeats: int) -> float:
    """Median time of a call with so many threads of torch, after two calls to warm up."""
    before, times = torch.get_num_threads(), []
    torch.set_num_threads(threads)
    try:
        for _ in range(repeats + 2):
            start = time.perf_counter()
            call()
            times.append(1000 * (time.perf_counter() - start))
    finally:
        torch.set_num_threads(before)
    return float(np.median(times[2:]))
