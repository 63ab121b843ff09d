"""How many threads the commands compute with."""

import os
import time

import pytest
import torch

from tellsign import threads


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A function that makes this a machine of 8 CPUs: this process may run on the first, others keep the last busy."""
    monkeypatch.setattr(threads, "CGROUP", tmp_path)
    monkeypatch.setattr(threads, "STAT", tmp_path / "stat")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)

    def write(seconds: float, busy: int) -> None:
        ticks = round(1000 * seconds)
        lines = [f"cpu{cpu} 7 0 0 {ticks} 0 0 0 0 9 9" for cpu in range(8 - busy)]
        lines += [f"cpu{cpu} {ticks} 0 0 5 0 0 0 0 9 9" for cpu in range(8 - busy, 8)]
        (tmp_path / "stat").write_text("\n".join(["cpu 1 2 3 4 5 6 7 8 9 10", *lines, "intr 5"]))

    def make(affinity: int = 8, busy: int = 0) -> None:
        write(0, busy)
        monkeypatch.setattr(time, "sleep", lambda seconds: write(seconds, busy))
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(affinity)), raising=False)

    return make


@pytest.mark.parametrize(
    ("affinity", "quota", "busy", "allowed", "free"),
    [
        (8, "max 100000", 0, 8, 8),
        (2, "max 100000", 0, 2, 2),
        (8, "300000 100000", 0, 3, 3),
        (8, "max 100000", 5, 8, 3),
        (4, "max 100000", 4, 4, 4),  # those of others
        (4, "max 100000", 6, 4, 2),
        (8, "max 100000", 8, 8, 1),
        (8, "50000 100000", 0, 1, 1),
        (8, "nonsense", 0, 8, 8),
    ],
)
def test_affinity_quota_and_others_leave_free_threads(machine, tmp_path, affinity, quota, busy, allowed, free):
    machine(affinity, busy)
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    assert (threads.allowed_threads(), threads.free_threads()) == (allowed, free)


def test_the_first_version_of_cgroups_counts_too(machine, tmp_path):
    machine()
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("200000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert threads.allowed_threads() == threads.free_threads() == 2


def test_elsewhere_the_load_average_tells_what_is_free(machine, tmp_path, monkeypatch):
    machine()
    (tmp_path / "stat").unlink()
    monkeypatch.setattr(os, "getloadavg", lambda: (5.1, 0.0, 0.0), raising=False)
    assert threads.free_threads() == 3


def test_tests_compute_with_as_many_threads_as_they_are_told():
    assert torch.get_num_threads() == int(os.environ["OMP_NUM_THREADS"])
