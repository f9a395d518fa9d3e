"""Several processes train what one trains, batch for batch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from latent_stores import make_store
from safetensors.torch import load_file
from training_logs import read_rows

from rjepa_adapters.world_model import checkpoint
from rjepa_adapters.world_model.batches import LengthBatches, shares
from rjepa_adapters.world_model.distributed import joined
from rjepa_core.errors import UsageError

# Of unequal numbers: batches that two processes share unevenly, and some of a single trace.
STEPS = [2 + i % 3 for i in range(100)] + [6]
SETTINGS = {
    "model": {"width": 16, "heads": 2, "depth": 1, "predictor_width": 16, "predictor_heads": 2},
    "training": {
        "max_epochs": 3,
        "batch_size": 7,
        "device": "cpu",
        "lr": 3e-3,
        "warmup_epochs": 0.5,
    },
}


@given(rows=st.integers(1, 200), world=st.integers(1, 9))
def test_shares_are_all_rows_once(rows: int, world: int) -> None:
    found = shares(rows, world)
    assert [i for one in found for i in range(one.start, one.stop)] == list(range(rows))
    sizes = [one.stop - one.start for one in found]
    assert max(sizes) - min(sizes) <= 1
    for one in found:
        assert len(range(rows)[one.taken]) == max(1, one.stop - one.start)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=60), st.integers(1, 9), st.integers(1, 4))
def test_the_parts_of_all_processes_are_the_batches_of_one(
    steps: list[int], batch: int, world: int
) -> None:
    whole = list(LengthBatches(steps, batch, 3))
    each = [list(LengthBatches(steps, batch, 3, rank=i, world=world)) for i in range(world)]
    assert len({len(one) for one in each}) == 1
    for number, rows in enumerate(whole):
        together = []
        for one in each:
            part = one[number]
            together += part[: part.share.stop - part.share.start]
        assert together == rows


def run(
    processes: int, config: Path, out: Path, *more: str, stop_after: str = ""
) -> subprocess.CompletedProcess[str]:
    """Train as a user would, with `torchrun` where there are several; `stop_after` sends SIGTERM
    when a line with that text has come."""
    words = ["-m", "rjepa_cli", "train", "--config", str(config), "--out", str(out), *more]
    if processes > 1:
        several = ["--standalone", f"--nproc-per-node={processes}"]
        words = ["-m", "torch.distributed.run", *several, *words]
    lines = []
    with subprocess.Popen(
        [sys.executable, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        for line in process.stderr:
            lines.append(line)
            if stop_after and stop_after in line:
                process.send_signal(signal.SIGTERM)
                stop_after = ""
        out_text = process.stdout.read()
    return subprocess.CompletedProcess(words, process.returncode, out_text, "".join(lines))


def config_of(tmp_path: Path, store: str, **changes: Any) -> Path:
    model = {**SETTINGS["model"], **changes}
    place = tmp_path / "train.yaml"
    place.write_text(yaml.safe_dump({**SETTINGS, "model": model, "data": {"stores": [store]}}))
    return place


_LONG = [pytest.param(name, marks=pytest.mark.slow) for name in ("ema", "sigreg")]


@pytest.mark.parametrize("objective", ["frozen", *_LONG])
def test_two_processes_give_the_loss_curve_of_one(tmp_path: Path, objective: str) -> None:
    """Dropout, masks, negatives and regularisers are those of the whole batch."""
    store = make_store(tmp_path / "s", STEPS)
    config = config_of(tmp_path, store, objective=objective)
    for processes in (1, 2):
        done = run(processes, config, tmp_path / str(processes))
        assert done.returncode == 0, done.stderr
    one, two = (read_rows(tmp_path / str(n) / "steps.csv") for n in (1, 2))
    assert [row["step"] for row in one] == [row["step"] for row in two]
    assert len(one) >= 39
    for a, b in zip(one, two, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=2e-4), a["step"]
    ends = [read_rows(tmp_path / str(n) / "metrics.csv")[-1] for n in (1, 2)]
    assert ends[0]["val_loss"] == pytest.approx(ends[1]["val_loss"], rel=2e-4)
    models = [
        load_file(checkpoint.steps(tmp_path / str(n))[-1][1] / "model.safetensors") for n in (1, 2)
    ]
    for name, value in models[0].items():
        assert (value - models[1][name]).abs().max() < 2e-3, name


def test_what_several_processes_say_is_said_once(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s", STEPS)
    done = run(2, config_of(tmp_path, store), tmp_path / "r", "--epochs", "1")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("epoch 1: step") == 1
    assert done.stdout.count("all epochs done") == 1


@pytest.mark.slow
def test_a_run_of_two_goes_on_with_one(tmp_path: Path) -> None:
    """And the other way round: how many there are is no part of the run."""
    store = make_store(tmp_path / "s", STEPS)
    config = config_of(tmp_path, store)
    out = tmp_path / "r"
    stopped = run(2, config, out, stop_after="epoch 1: step")
    assert stopped.returncode != 0
    rows = read_rows(out / "steps.csv")
    assert 13 <= len(rows) < 39
    again = run(1, config, out, "--resume")
    assert again.returncode == 0, again.stderr
    whole = run(1, config, tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    one, two = (read_rows(place / "steps.csv") for place in (tmp_path / "whole", out))
    assert [row["step"] for row in one] == [row["step"] for row in two]
    for a, b in zip(one, two, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=2e-4), a["step"]


def test_what_cannot_be_shared_out_is_refused(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s", STEPS)
    done = run(2, config_of(tmp_path, store), tmp_path / "r", "--set", "masker.swap=0.2")
    assert done.returncode != 0
    assert "masker.swap 0.2: works with one process only; there are 2" in done.stderr
    assert not (tmp_path / "r").exists()


def test_half_a_torchrun_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(UsageError, match="RANK is not set: start it by torchrun"), joined("cpu"):
        pass
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(UsageError, match="WORLD_SIZE is 'two', which is no number"), joined("cpu"):
        pass
