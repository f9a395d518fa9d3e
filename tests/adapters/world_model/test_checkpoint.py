"""Checkpoints: whole or absent, and told apart."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rjepa_adapters.world_model import checkpoint
from rjepa_adapters.world_model.checkpoint import DamagedCheckpointError
from rjepa_core.errors import DiskFullError

MODEL = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor(1.5)}
TRAINING = {"generator": torch.arange(9, dtype=torch.uint8)}


def write(run: Path, step: int) -> Path:
    return checkpoint.write(run, step, MODEL, TRAINING, {"epoch": step, "curve": [{"loss": 0.1}]})


def test_what_was_written_is_read(tmp_path: Path) -> None:
    found = checkpoint.read(write(tmp_path, 3))
    assert found.state["epoch"] == 3
    assert found.state["step"] == 3
    assert found.state["curve"] == [{"loss": 0.1}]
    assert torch.equal(found.model["a"], MODEL["a"])
    assert found.model["b"].shape == ()
    assert torch.equal(found.training()["generator"], TRAINING["generator"])


def test_no_pickle_anywhere(tmp_path: Path) -> None:
    names = sorted(one.name for one in write(tmp_path, 1).iterdir())
    assert names == ["model.safetensors", "state.json", "training.safetensors"]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.booleans())
@pytest.mark.parametrize("name", ["model.safetensors", "training.safetensors", "state.json"])
def test_every_change_is_noticed(
    tmp_path: Path, name: str, share: float, bit: int, cut: bool
) -> None:
    place = write(tmp_path, 1)
    before = checkpoint.read(place).state
    content = bytearray((place / name).read_bytes())
    at = int(share * len(content))
    if cut:
        content = content[:at]
    else:
        content[at] ^= 1 << bit
    (place / name).write_bytes(content)
    try:
        found = checkpoint.read(place)
        found.training()
    except DamagedCheckpointError:
        return
    # White space between JSON's words, which says nothing.
    assert name == "state.json"
    assert found.state == before


def test_an_unfinished_one_is_none(tmp_path: Path) -> None:
    write(tmp_path, 1)
    (tmp_path / "checkpoints" / "step-00000002.unfinished").mkdir()
    assert [step for step, _ in checkpoint.steps(tmp_path)] == [1]
    checkpoint.tidy(tmp_path, 1)
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1


def test_the_last_and_the_best_are_kept(tmp_path: Path) -> None:
    for step in range(1, 6):
        place = write(tmp_path, step)
        if step == 2:
            checkpoint.name_best(tmp_path, place, {"loss": 0.5})
        checkpoint.tidy(tmp_path, 2)
    assert [step for step, _ in checkpoint.steps(tmp_path)] == [2, 4, 5]
    best = checkpoint.best(tmp_path)
    assert best is not None
    assert best.name == "step-00000002"


def test_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "VERSION", 99)
    place = write(tmp_path, 1)
    monkeypatch.undo()
    with pytest.raises(
        DamagedCheckpointError, match=f"is of format 99, this version reads {checkpoint.VERSION}"
    ):
        checkpoint.read(place)


def test_no_room_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, 1)

    def full(path: Path) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(checkpoint, "sync", full)
    with pytest.raises(DiskFullError, match="could not be written: No space left on device"):
        write(tmp_path, 2)
    monkeypatch.undo()
    assert [one.name for one in (tmp_path / "checkpoints").iterdir()] == ["step-00000001"]
    checkpoint.read(tmp_path / "checkpoints" / "step-00000001")


def test_a_checkpoint_stays_until_its_successor_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = write(tmp_path, 1)
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self.name == "step-00000001.unfinished":
            raise OSError(13, os.strerror(13))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(DiskFullError, match="Permission denied; mend that and resume the run"):
        write(tmp_path, 1)
    monkeypatch.undo()
    assert [one.name for one in (tmp_path / "checkpoints").iterdir()] == ["step-00000001"]
    checkpoint.read(place)
