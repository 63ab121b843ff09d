"""How many threads a command computes with, so that it does not slow what else the machine does."""

import os
from pathlib import Path


CGROUP = Path("/sys/fs/cgroup")
"""Where Linux states the limits of a container."""


def free_threads() -> int:
    """How many CPUs are free for this process, at least 1.

    It may run on those of its affinity, and use as much time as its cgroup's quota (version 2 or 1) grants. Those that
    others kept busy during the last minute, by the load average, are not free.
    """
    cpus = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cpus
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return max(1, round(min(allowed, _quota(), cpus - load)))


def _quota() -> float:
    """CPUs that the cgroup of a container grants, infinite where it sets no limit."""
    for files in (["cpu.max"], ["cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"]):
        try:
            quota, period = " ".join((CGROUP / file).read_text() for file in files).split()
        except (OSError, ValueError):
            continue
        if quota not in ("max", "-1"):
            return int(quota) / int(period)
    return float("inf")


def use_free_threads() -> None:
    """Has PyTorch compute with [`free_threads`], unless the environment variable OMP_NUM_THREADS says how many."""
    if "OMP_NUM_THREADS" not in os.environ:
        import torch

        torch.set_num_threads(free_threads())
