"""Paths that cannot be a store, each refused with one line that says what to do."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import lmdb
import pytest

from rjepa_adapters.lmdb_store.directory import DATA
from rjepa_adapters.lmdb_store.maintenance import LmdbMaintenance
from rjepa_adapters.lmdb_store.metadata import VERSION
from rjepa_adapters.lmdb_store.plugin import rjepa_stores
from rjepa_adapters.lmdb_store.recovery.repair import verify
from rjepa_adapters.lmdb_store.settings import LmdbSettings
from rjepa_adapters.lmdb_store.store import LmdbStore
from rjepa_core import open_store
from rjepa_core.errors import (
    ArgumentError,
    DamagedRecordError,
    SettingsError,
    StoreError,
    StoreGoneError,
    StoreLockedError,
    StoreNotFoundError,
    UsageError,
)
from rjepa_core.testing.samples import sample_identity, sample_record

NOT_ROOT = os.geteuid() != 0


def make(path: Path, count: int = 3) -> None:
    identity = sample_identity()
    with LmdbStore(str(path), "write") as store:
        store.begin(identity)
        store.write([sample_record(identity, f"p-{i}") for i in range(count)])


def test_a_file_is_no_store(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("text")
    for place in (file, file / "below"):
        with pytest.raises(UsageError, match=r"file|cannot be made"):
            LmdbStore(str(place), "write")
        with pytest.raises(StoreNotFoundError):
            LmdbStore(str(place))
    assert file.read_text() == "text"


def test_a_directory_of_other_things_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"other things \(notes.txt\)"):
        LmdbStore(str(tmp_path), "write")
    with pytest.raises(StoreNotFoundError, match="no store"):
        LmdbStore(str(tmp_path))
    assert os.listdir(tmp_path) == ["notes.txt"]


def test_a_place_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be made"):
        LmdbStore("/proc/nowhere/store", "write")


def test_a_link_to_nothing_is_no_place(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("unmounted")
    with pytest.raises(UsageError, match=r"symbolic link to unmounted, which is not there; mount"):
        LmdbStore(str(tmp_path / "link"), "write")
    with pytest.raises(StoreNotFoundError, match="symbolic link to unmounted"):
        LmdbStore(str(tmp_path / "link"))
    assert os.listdir(tmp_path) == ["link"]


def test_a_read_only_disk(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if NOT_ROOT or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount a disk")
    try:
        make(disk / "a")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        said = r"\(read-only file system\); name another place, or copy the store"
        with pytest.raises(UsageError, match=said):
            LmdbStore(str(disk / "a"), "write")
        with pytest.raises(UsageError, match=r"\(Read-only file system\); name another place"):
            LmdbStore(str(disk / "b"), "write")
        with pytest.raises(UsageError, match=r"\(Read-only file system\); name another place"):
            LmdbMaintenance().compact(str(disk / "a"))
        with LmdbStore(str(disk / "a")) as store:
            assert len(store) == 3
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_another_lmdb_file_is_no_store(tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path)) as environment, environment.begin(write=True) as txn:
        txn.put(b"key", b"value")
    before = (tmp_path / DATA).read_bytes()
    for mode in ("read", "write"):
        with pytest.raises(StoreError, match="not a store"):
            LmdbStore(str(tmp_path), mode)  # type: ignore[arg-type]
    assert (tmp_path / DATA).read_bytes() == before


def test_a_file_that_is_not_lmdb_is_no_store(tmp_path: Path) -> None:
    (tmp_path / DATA).write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreError):
        LmdbStore(str(tmp_path))


def test_a_begun_store_without_a_header_is_made_whole(tmp_path: Path) -> None:
    """What is left if the process dies between the directory and the first transaction."""
    lmdb.open(str(tmp_path / "a")).close()
    with pytest.raises(StoreNotFoundError, match="never written"):
        LmdbStore(str(tmp_path / "a"))
    make(tmp_path / "a")
    assert verify(str(tmp_path / "a")).sound


def test_a_newer_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rjepa_adapters.lmdb_store.metadata.VERSION", VERSION + 1)
    make(tmp_path / "a")
    monkeypatch.undo()
    with pytest.raises(StoreError, match=f"format version {VERSION + 1}.*update rjepa"):
        LmdbStore(str(tmp_path / "a"))


def test_settings_are_checked() -> None:
    adapter = next(iter(rjepa_stores()))
    made = adapter.configure({"checkpoint_every": "5", "sync": "data"}, "store")
    assert made == LmdbSettings(checkpoint_every=5, sync="data")
    for options in ({"checkpoint_every": 0}, {"sync": "perhaps"}, {"checkpoint": 1}):
        with pytest.raises(SettingsError, match="store"):
            adapter.configure(options, "store")


@pytest.mark.parametrize("sync", ["full", "data", "none"])
def test_every_sync_setting_writes(tmp_path: Path, sync: str) -> None:
    identity = sample_identity()
    settings = LmdbSettings(sync=sync)  # type: ignore[arg-type]
    with LmdbStore(str(tmp_path / "a"), "write", settings) as store:
        store.begin(identity)
        store.write([sample_record(identity)])
    assert verify(str(tmp_path / "a")).records == 1


def test_the_plugin_loads_no_lmdb() -> None:
    code = (
        "import sys, rjepa_adapters.lmdb_store.plugin as p; p.rjepa_stores(); p.exists('/'); "
        "sys.exit(any(name in sys.modules for name in ('lmdb', 'torch', 'pyarrow')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_deleted_and_remade_directory_is_another_store(tmp_path: Path) -> None:
    make(tmp_path / "a")
    forgotten = LmdbStore(str(tmp_path / "a"))
    shutil.rmtree(tmp_path / "a")
    make(tmp_path / "a", count=5)
    with LmdbStore(str(tmp_path / "a")) as store:
        assert len(store) == 5
    forgotten.close()


def test_compact_wants_the_store_for_itself(tmp_path: Path) -> None:
    make(tmp_path / "a", 50)
    maintenance = LmdbMaintenance()
    with LmdbStore(str(tmp_path / "a")), pytest.raises(StoreLockedError, match="open"):
        maintenance.compact(str(tmp_path / "a"))
    with LmdbStore(str(tmp_path / "a"), "write"), pytest.raises(StoreLockedError):
        maintenance.compact(str(tmp_path / "a"))
    child = os.fork()
    if child == 0:
        with LmdbStore(str(tmp_path / "a")), open(tmp_path / "ready", "w"):
            time.sleep(60)
    while not (tmp_path / "ready").exists():
        pass
    try:
        with pytest.raises(StoreLockedError, match="other processes"):
            maintenance.compact(str(tmp_path / "a"))
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    maintenance.compact(str(tmp_path / "a"))
    assert verify(str(tmp_path / "a")).records == 50


def test_compact_changes_nothing_of_a_damaged_store(tmp_path: Path) -> None:
    make(tmp_path / "a", 50)
    data = tmp_path / "a" / DATA
    content = bytearray(data.read_bytes())
    place = content.rfind(sample_record(sample_identity(), "p-7").latents.tobytes())
    content[place] ^= 1
    data.write_bytes(content)
    with pytest.raises(DamagedRecordError, match="p-7"):
        LmdbMaintenance().compact(str(tmp_path / "a"))
    assert data.read_bytes() == content
    assert not (tmp_path / "a" / ".compacting").exists()


def test_a_path_of_pathlib_is_a_place(tmp_path: Path) -> None:
    make(tmp_path / "a")
    for path in (tmp_path / "a", str(tmp_path / "a")):
        with open_store(path) as store:  # type: ignore[attr-defined]
            assert len(store) == 3
            assert store.location == str(path)
    with LmdbStore(tmp_path / "b", "write") as store:
        assert store.location == str(tmp_path / "b")
    wrong: Any
    for wrong in (os.fsencode(tmp_path / "a"), None, 7):
        with pytest.raises(ArgumentError, match=r"^path: got .*, expected a string or a path"):
            open_store(wrong)
        with pytest.raises(ArgumentError, match=r"^location: got .*, expected a string or a path"):
            LmdbStore(wrong)


def test_a_handle_outlasts_its_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "a")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with LmdbStore("a") as store:
        before = pickle.dumps(store)
        monkeypatch.chdir(tmp_path / "elsewhere")
        for pickled in (before, pickle.dumps(store)):
            with pickle.loads(pickled) as copy:
                assert len(copy) == 3
        assert store.stats().records == 3
        assert store.location == "a"


@pytest.mark.parametrize("what", ["deleted", "file", "moved", "copied", "replaced"])
def test_a_store_that_goes_while_it_is_open(tmp_path: Path, what: str) -> None:
    make(tmp_path / "a")
    make(tmp_path / "other", count=5)
    reader = LmdbStore(tmp_path / "a")
    store = LmdbStore(tmp_path / "a", "write")
    store.write([sample_record(sample_identity(), "new")])
    if what == "deleted":
        shutil.rmtree(tmp_path / "a")
    elif what == "file":
        (tmp_path / "a" / DATA).unlink()
    elif what == "moved":
        (tmp_path / "a").rename(tmp_path / "b")
    elif what == "replaced":
        shutil.rmtree(tmp_path / "a")
        (tmp_path / "other").rename(tmp_path / "a")
    else:
        # As a tool does that writes beside it and renames.
        shutil.copy(tmp_path / "a" / DATA, tmp_path / "copy")
        (tmp_path / "copy").rename(tmp_path / "a" / DATA)
    for use in (store.commit, store.stats, reader.stats):
        with pytest.raises(StoreGoneError, match=rf"{tmp_path}/a: the store is gone"):
            use()
    assert len(list(reader.keys())) == 3
    if what == "moved":
        (tmp_path / "b").rename(tmp_path / "a")
        store.close()
        reader.close()
        with LmdbStore(tmp_path / "a") as again:
            assert len(again) == 4
        return
    with pytest.raises(StoreGoneError):
        store.close()
    store.close()
    reader.close()
    if what == "replaced":
        with LmdbStore(tmp_path / "a") as other:
            assert len(other) == 5
        assert verify(str(tmp_path / "a")).sound


def test_a_timer_that_misses_the_store_is_heard_of(tmp_path: Path) -> None:
    identity = sample_identity()
    store = LmdbStore(tmp_path / "a", "write", LmdbSettings(checkpoint_seconds=0.05))
    store.begin(identity)
    shutil.rmtree(tmp_path / "a")
    store.write([sample_record(identity)])
    time.sleep(0.2)
    with pytest.raises(StoreGoneError):
        store.write([sample_record(identity, "next")])
    with pytest.raises(StoreGoneError):
        store.close()


def test_a_store_that_was_never_begun_is_taken_away(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path / "new", "write")
    store.discard()
    store.discard()
    assert os.listdir(tmp_path) == []
    (tmp_path / "empty").mkdir()
    LmdbStore(tmp_path / "empty", "write").discard()
    assert os.listdir(tmp_path / "empty") == []


def test_a_store_that_was_begun_or_was_there_stays(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path / "begun", "write")
    store.begin(sample_identity())
    store.discard()
    assert LmdbStore(tmp_path / "begun").identity == sample_identity()
    LmdbStore(tmp_path / "old", "write").close()
    LmdbStore(tmp_path / "old", "write").discard()
    LmdbStore(tmp_path / "old").close()
    with LmdbStore(tmp_path / "old") as reader:
        reader.discard()
    assert (tmp_path / "old" / DATA).is_file()
