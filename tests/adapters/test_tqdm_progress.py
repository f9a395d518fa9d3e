"""`progress=True`: one bar with the phase as its label, and one line if tqdm is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from latent_stores import make_store

from rjepa_adapters.tqdm_progress import TqdmBar
from rjepa_core import ExtractionSettings, run_extraction, train_world_model
from rjepa_core.errors import UsageError


def test_one_bar_for_all_phases(capsys: pytest.CaptureFixture[str]) -> None:
    bar = TqdmBar()
    bar.show("reading", 3, 10)
    bar.show("reading", 10, 10)
    bar.show("fitting", 1, 0, "loss 2")
    bar.close()
    bar.close()
    told = capsys.readouterr().err
    assert "reading: 100%" in told
    assert "10/10" in told
    assert "fitting: 1it" in told
    assert "loss 2" in told
    # What is left on the screen: the last line, with its end.
    assert told.count("\n") == 1
    assert "100%" not in told.rstrip().rpartition("\r")[2]


def test_many_phases_leave_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    bar = TqdmBar()
    for phase in range(25):
        for done in (0, 4):
            bar.show(f"phase {phase}", done, 4, "note" if phase == 3 else "")
    bar.close()
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert all(f"phase {phase}: 100%" in told for phase in range(25))
    last = told.rstrip().rpartition("\r")[2]
    assert last.startswith("phase 24: 100%")
    assert "4/4" in last
    assert "note" not in last


def test_an_extraction_shows_how_far_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ExtractionSettings(
        model="m", store=tmp_path / "s", problems="demo", backend="seeded", scheduler="fixed"
    )
    seen: list[int] = []
    run_extraction(settings, report=lambda progress: seen.append(progress.records), progress=True)
    assert "extracting: 100%" in capsys.readouterr().err
    assert seen[-1] == 24


def test_a_training_shows_how_far_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = make_store(tmp_path / "s", [3] * 40)
    model = {"width": 8, "heads": 1, "depth": 1, "predictor_width": 8, "predictor_heads": 1}
    training = {"max_epochs": 1, "device": "cpu"}
    values = {"data": store, "model": model, "training": training}
    train_world_model(tmp_path / "run", values, progress="tqdm")
    told = capsys.readouterr().err
    assert "training: 100%" in told
    assert "epoch 1/1, loss" in told


def test_without_tqdm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(UsageError, match="progress: needs tqdm, which is not installed"):
        TqdmBar()
