"""The benchmarks of extraction: measured in parts, resumed, and run in short."""

from __future__ import annotations

import importlib.util
import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def resumable() -> Any:
    found = importlib.util.spec_from_file_location("resumable", BENCHMARKS / "resumable.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_parts_are_measured_once_and_in_order(resumable: Any, tmp_path: Path) -> None:
    state, ran = tmp_path / "state.json", itertools.count()
    parts = [(name, lambda: {"value": next(ran)}) for name in ("a@0", "b@0", "a@1")]

    def broken() -> dict[str, Any]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        resumable.run_parts(state, 0, [*parts[:2], ("a@1", broken)], {"model": "m"})
    found = resumable.run_parts(state, 0, parts, {"model": "m"})
    assert [found[name]["value"] for name, _ in parts] == [0, 1, 2]
    assert next(ran) == 3


def test_a_part_that_would_end_too_late_is_left_for_the_next_time(
    resumable: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(resumable.time, "monotonic", lambda: now[0])

    def slow() -> dict[str, Any]:
        now[0] += 40
        return {}

    parts = [(f"a@{i}", slow) for i in range(3)]
    state = tmp_path / "state.json"
    assert resumable.run_parts(state, 1.0, parts, {}) is None
    assert now[0] == 40, "a second one of 40 seconds does not fit into the minute"
    assert resumable.run_parts(state, 1.5, parts, {}) is not None


def test_measurements_of_something_else_are_refused(resumable: Any, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    resumable.run_parts(state, 0, [("a", dict)], {"rows": 8})
    with pytest.raises(SystemExit, match="rows"):
        resumable.run_parts(state, 0, [("a", dict)], {"rows": 16})


@pytest.mark.slow
@pytest.mark.smollm2
def test_both_sides_in_short(tmp_path: Path) -> None:
    sizes = "--problems 16 --share 8 --ladder-problems 8 --rows 8 --rounds 1 --max-new-tokens 12"
    done = subprocess.run(
        [
            sys.executable,
            str(BENCHMARKS / "extraction_throughput.py"),
            *sizes.split(),
            *("--state", str(tmp_path / "state.json"), "--no-report"),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "What each measure contributed" in done.stdout
    assert "Peak resident set" in done.stdout
