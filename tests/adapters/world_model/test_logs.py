"""What a run writes down, and what is left of it after a kill."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from training_logs import read_rows

from rjepa_adapters.world_model.logs import NO_TENSORBOARD, MetricsLog


@pytest.fixture(autouse=True)
def no_tensorboard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)


def fill(log: MetricsLog, first: int, last: int) -> None:
    for step in range(first, last + 1):
        log.step(step, 1 / (3 * step), 1e-3 / step)
        if step % 5 == 0:
            row: dict[str, Any] = {"epoch": step // 5 - 1, "step": step, "loss": 0.1 / step}
            if step % 10 == 0:
                row["top1"] = step / 30
            log.epoch(row)


def test_rows_come_back_to_the_last_digit(tmp_path: Path) -> None:
    with MetricsLog(tmp_path / "run") as log:
        fill(log, 1, 20)
        curve = log.curve
    steps = read_rows(tmp_path / "run" / "steps.csv")
    assert steps == [{"step": i, "loss": 1 / (3 * i), "lr": 1e-3 / i} for i in range(1, 21)]
    assert tuple(read_rows(tmp_path / "run" / "metrics.csv")) == curve
    assert "top1" not in curve[0]
    assert curve[1]["top1"] == 1 / 3


@pytest.mark.parametrize("at", [5, 12, 20])
def test_resumed_equals_uninterrupted(tmp_path: Path, at: int) -> None:
    with MetricsLog(tmp_path / "whole") as log:
        fill(log, 1, 30)
        whole = log.curve
    log = MetricsLog(tmp_path / "run")
    fill(log, 1, 23)
    log.flush()
    # Killed in the middle of a line; the checkpoint is older than what was logged.
    for name in ("metrics.csv", "steps.csv"):
        with (tmp_path / "run" / name).open("a") as file:
            file.write("24,0.12")
    with MetricsLog(tmp_path / "run", after=at) as again:
        fill(again, at + 1, 30)
        assert again.curve == whole
    for name in ("metrics.csv", "steps.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_begun_anew(tmp_path: Path) -> None:
    with MetricsLog(tmp_path) as log:
        fill(log, 1, 7)
    with MetricsLog(tmp_path, after=0) as log:
        assert log.curve == ()
    assert read_rows(tmp_path / "steps.csv") == []
    assert not (tmp_path / "metrics.csv").exists()


def test_odd_values(tmp_path: Path) -> None:
    with MetricsLog(tmp_path) as log:
        log.epoch({"epoch": 0, "step": 1, "a": np.float64(0.1), "b": float("inf"), "c": "x,\ny"})
        with pytest.raises(ValueError, match="tells its step"):
            log.epoch({"epoch": 1})
    row = read_rows(tmp_path / "metrics.csv")[0]
    assert row == {"epoch": 0, "step": 1, "a": 0.1, "b": float("inf"), "c": "x,\ny"}


def test_a_missing_tensorboard_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    with MetricsLog(tmp_path, say=said.append) as log:
        fill(log, 1, 5)
    [line] = said
    assert line.startswith(NO_TENSORBOARD)
    assert "[train]" in line


def test_event_files_where_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []

    class Writer:
        def __init__(self, folder: str, purge_step: int | None = None) -> None:
            calls.append(("made", Path(folder).name, purge_step))

        def add_scalar(self, name: str, value: float, step: int) -> None:
            calls.append((name, value, step))

        def flush(self) -> None: ...

        def close(self) -> None: ...

    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    with MetricsLog(tmp_path, after=4) as log:
        fill(log, 5, 5)
    assert calls[0] == ("made", "tensorboard", 5)
    assert ("step/loss", 1 / 15, 5) in calls
    assert ("epoch/loss", 0.02, 5) in calls


def test_real_event_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard")
    pytest.importorskip("tensorboard", reason="the extra `train` is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with MetricsLog(tmp_path) as log:
        fill(log, 1, 20)
    # Files of one second are read by name, in which the tenth of a process precedes the ninth.
    time.sleep(1.0)
    with MetricsLog(tmp_path, after=10) as log:
        fill(log, 11, 30)
    found = EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    assert [e.step for e in found.Scalars("step/loss")] == list(range(1, 31))
    assert [e.step for e in found.Scalars("epoch/top1")] == [10, 20, 30]
