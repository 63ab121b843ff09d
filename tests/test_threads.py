"""How many threads the commands compute with."""

import os

import pytest

from tellsign import threads


@pytest.mark.parametrize(
    ("affinity", "quota", "load", "expected"),
    [
        (8, "max 100000", 0.2, 8),
        (2, "max 100000", 0.2, 2),
        (8, "300000 100000", 0.2, 3),
        (8, "max 100000", 5.1, 3),
        (8, "max 100000", 30.0, 1),
        (8, "50000 100000", 0.0, 1),
        (8, "nonsense", 0.0, 8),
    ],
)
def test_affinity_quota_and_load_leave_free_threads(tmp_path, monkeypatch, affinity, quota, load, expected):
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    monkeypatch.setattr(threads, "CGROUP", tmp_path)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(affinity)), raising=False)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    assert threads.free_threads() == expected


def test_the_first_version_of_cgroups_counts_too(tmp_path, monkeypatch):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("200000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    monkeypatch.setattr(threads, "CGROUP", tmp_path)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    assert threads.free_threads() == 2
