"""What repair, export and new stores leave when they are killed, refused or out of room."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rjepa_adapters.lmdb_store.directory import DATA
from rjepa_adapters.lmdb_store.maintenance import LmdbMaintenance
from rjepa_adapters.lmdb_store.store import LmdbStore
from rjepa_adapters.paths import MARK, unfinished
from rjepa_adapters.shards import export_dataset, export_shards
from rjepa_core.errors import DiskFullError, StoreError, UsageError
from rjepa_core.ports.maintenance import ToolProgress
from rjepa_core.testing.samples import sample_identity, sample_record

IDENTITY = sample_identity(1, 64)
MAINTENANCE = LmdbMaintenance()
Job = Callable[[Path, str, Callable[[ToolProgress], None]], Any]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "a"
    with LmdbStore(str(place), "write") as store:
        store.begin(IDENTITY)
        store.write([sample_record(IDENTITY, f"p-{i}") for i in range(400)])
    return place


def repair(path: Path, target: str, report: Callable[[ToolProgress], None]) -> Any:
    return MAINTENANCE.repair(str(path), target, report)


def export(path: Path, target: str, report: Callable[[ToolProgress], None]) -> Any:
    with LmdbStore(str(path)) as store:
        return export_shards(store, target, 50, report)


def dataset(path: Path, target: str, report: Callable[[ToolProgress], None]) -> Any:
    with LmdbStore(str(path)) as store:
        return export_dataset(store, target, 50, report)


JOBS = [(repair, DATA), (export, "identity.json"), (dataset, "state.json")]
each_job = pytest.mark.parametrize(("job", "last"), JOBS, ids=["repair", "export", "dataset"])


@each_job
@pytest.mark.parametrize("made", [False, True], ids=["new", "empty"])
def test_killed_half_way(path: Path, job: Job, last: str, made: bool) -> None:
    """Nothing is there that looks finished, and the next try is not blocked."""
    target = path.parent / "out"
    if made:
        target.mkdir()
    child = os.fork()
    if child == 0:
        job(path, str(target), lambda progress: os._exit(9))
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    left = target / MARK if made else target.with_name(f".out{MARK}")
    assert left.is_dir()
    assert not (target / last).exists()
    assert target.exists() == made
    assert job(path, str(target), lambda progress: None).records == 400
    assert (target / last).exists()
    assert not left.exists()


@each_job
def test_an_error_half_way(path: Path, job: Job, last: str) -> None:
    def stop(progress: ToolProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job(path, str(path.parent / "out"), stop)
    assert os.listdir(path.parent) == ["a"]


@each_job
def test_a_target_that_cannot_be_written(path: Path, job: Job, last: str) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        job(path, "/proc/nowhere", lambda progress: None)
    (path.parent / "file").write_text("mine")
    with pytest.raises(UsageError, match="is a file"):
        job(path, str(path.parent / "file"), lambda progress: None)
    (path.parent / "link").symlink_to("nowhere")
    with pytest.raises(UsageError, match="symbolic link to nowhere, which is not there"):
        job(path, str(path.parent / "link"), lambda progress: None)


def test_a_link_to_a_directory_stays_a_link(path: Path) -> None:
    (path.parent / "big-disk").mkdir()
    (path.parent / "link").symlink_to("big-disk")
    assert repair(path, str(path.parent / "link"), lambda progress: None).records == 400
    assert (path.parent / "link").is_symlink()
    assert (path.parent / "big-disk" / DATA).exists()


def test_two_at_once(tmp_path: Path) -> None:
    target = str(tmp_path / "out")
    with unfinished(target, "x") as part:
        (part / "x").touch()
        with (
            pytest.raises(UsageError, match="another process is making it"),
            unfinished(target, ""),
        ):
            pass
    assert os.listdir(target) == ["x"]


def test_no_room(tmp_path: Path) -> None:
    for error in (OSError(errno.ENOSPC, "full"), DiskFullError("inside")):
        with pytest.raises(DiskFullError, match=r"out: no room is left.*try again"):  # noqa: SIM117
            with unfinished(str(tmp_path / "out"), ""):
                raise error
    assert os.listdir(tmp_path) == []


def test_errors_name_the_target(tmp_path: Path) -> None:
    target = str(tmp_path / "out")
    with pytest.raises(StoreError) as caught, MAINTENANCE.build(target) as store:
        store.write([sample_record(IDENTITY)])
    assert str(caught.value).startswith(f"{target}: written before begin")
    with pytest.raises(OSError, match="elsewhere"), unfinished(target, ""):
        raise OSError(errno.EIO, "bad disk", "elsewhere")
