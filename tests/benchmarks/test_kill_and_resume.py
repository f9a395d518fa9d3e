"""A real extraction survives SIGKILL: the benchmark's script, in short."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "kill_and_resume.py"


def run(*args: str) -> str:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--no-report", *args], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_nothing_is_lost_or_changed() -> None:
    said = run("--problems", "1500", "--kills", "4")
    assert "every problem is there exactly once" in said
    assert "bit for bit" in said
    assert "`verify` exits 0" in said


@pytest.mark.slow
@pytest.mark.smollm2
@pytest.mark.parametrize("way", ["fused", "double-pass"])
def test_with_a_real_model(way: str) -> None:
    assert "Token ids equal" in run("--backend", "smollm2", "--kills", "2", "--extraction", way)
