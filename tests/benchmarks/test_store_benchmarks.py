"""The store's benchmarks, in short: what they promise is checked by the scripts themselves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def run(script: str, *args: str) -> str:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), "--no-report", *args],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_flipped_bytes_are_never_returned_as_data() -> None:
    assert "No flip was returned as data" in run("store_damage.py", "--flips", "22")


def test_readers_beside_a_writer() -> None:
    pytest.importorskip("torch")
    assert "No error; every record was what its key says" in run(
        "store_readers.py", "--seconds", "8"
    )


@pytest.mark.slow
def test_tools_in_little_memory() -> None:
    assert "`store compact`" in run("store_memory.py", "--records", "20000")


@pytest.mark.slow
def test_reading_is_as_it_was_written() -> None:
    sizes = ["--records", "2000", "--rounds", "1", "--singles", "50", "--batches", "10"]
    assert "one `.npy` a record" in run("store.py", *sizes)


@pytest.mark.slow
def test_what_problems_cost() -> None:
    words = ["--problems", "700", "--only", "start", "resume", "again", "appended", "keys"]
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "scale.py"), *words], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "| appended: s |" in done.stdout
