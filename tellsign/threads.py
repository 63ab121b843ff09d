"""How many threads a command computes with, so that it does not slow what else the machine does."""

import os
import time
from collections.abc import Collection
from pathlib import Path


CGROUP = Path("/sys/fs/cgroup")
"""Where Linux states the limits of a container."""
STAT = Path("/proc/stat")
"""Where Linux counts for each CPU how long it did what."""
MEASURED = 0.2
"""Seconds for which idle CPUs are counted. A load average would tell of the last minute, and of our last run."""


def allowed_threads() -> int:
    """How many CPUs this process may use, by its affinity and its cgroup's quota (version 2 or 1); at least 1."""
    return max(1, int(min(len(_affinity()), _quota())))


def free_threads() -> int:
    """How many of the CPUs that this process may use nobody keeps busy at the moment, at least 1."""
    return max(1, round(min(_quota(), _idle(_affinity()))))


def _affinity() -> Collection[int]:
    """Numbers of the CPUs on which this process may run."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)


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


def _idle(cpus: Collection[int]) -> float:
    """How many of these CPUs are idle: as Linux counts it, elsewhere by the load average."""
    try:
        before = _ticks(cpus)
        time.sleep(MEASURED)
        idle, total = (now - then for now, then in zip(_ticks(cpus), before, strict=True))
    except OSError:
        return len(cpus) - (os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0)
    return len(cpus) * idle / max(total, 1)


def _ticks(cpus: Collection[int]) -> tuple[int, int]:
    """Time that these CPUs were idle, and all their time, since the machine was started."""
    names, idle, total = {f"cpu{cpu}" for cpu in cpus}, 0, 0
    for line in STAT.read_text().splitlines():
        name, *times = line.split()
        if name in names:
            ticks = list(map(int, times[:8]))  # those of guests are counted twice
            idle, total = idle + ticks[3] + ticks[4], total + sum(ticks)  # what waits for a disk is idle too
    return idle, total


def use_free_threads() -> None:
    """Has PyTorch compute with [`free_threads`], unless the environment variable OMP_NUM_THREADS says how many."""
    if "OMP_NUM_THREADS" not in os.environ:
        import torch

        torch.set_num_threads(free_threads())
