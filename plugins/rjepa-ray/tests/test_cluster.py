"""What a Ray of one's own leaves behind, in processes and files."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from rjepa_ray import cluster


def orphan(logs: Path) -> subprocess.Popen[bytes]:
    """A process in a session of its own that logs there, and has no other tie to a Ray."""
    logs.mkdir(parents=True)
    with (logs / "worker.out").open("w") as log:
        return subprocess.Popen(["sleep", "600"], stdout=log, start_new_session=True)


def test_workers_without_a_raylet_are_ended_and_no_others(tmp_path: Path) -> None:
    ours = orphan(tmp_path / f"session_2026-01-01_00-00-00_123_{os.getpid()}" / "logs")
    others = [
        orphan(tmp_path / f"session_2026-01-01_00-00-00_123_{os.getpid() + 1}" / "logs"),
        orphan(tmp_path / f"session_2026-01-01_00-00-00_123_1{os.getpid()}" / "logs"),
        orphan(tmp_path / "elsewhere"),
    ]
    try:
        cluster.end_leftovers()
        assert ours.poll() is not None
        assert [process.poll() for process in others] == [None, None, None]
    finally:
        for process in [ours, *others]:
            process.kill()
            process.wait()


def test_logs_of_ones_own_ray_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    ours = tmp_path / "ray" / f"session_2026-01-01_00-00-00_123_{os.getpid()}"
    (ours / "logs").mkdir(parents=True)
    (tmp_path / "ray" / "session_latest").symlink_to(ours)
    other = tmp_path / "ray" / "session_2026-01-01_00-00-00_123_1"
    other.mkdir()
    cluster._remove_sessions()
    assert os.listdir(tmp_path / "ray") == [other.name]
    other.rmdir()
    cluster._remove_sessions()
    assert os.listdir(tmp_path) == []
