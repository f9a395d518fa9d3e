"""Files that are cut off, emptied or full of zeros: told before LMDB meets them, and counted."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import lmdb
import pytest

from rjepa_adapters.lmdb_store.directory import DATA, SIDECAR
from rjepa_adapters.lmdb_store.recovery.integrity import find_cut
from rjepa_adapters.lmdb_store.recovery.repair import repair, verify
from rjepa_adapters.lmdb_store.settings import LmdbSettings
from rjepa_adapters.lmdb_store.store import LmdbStore
from rjepa_core.errors import StoreError, StoreNotFoundError
from rjepa_core.testing.samples import sample_failure, sample_identity, sample_record

IDENTITY = sample_identity(1, 512)
PAGE = 4096
ALL = 72


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Sixty records and twelve failures, written in several commits."""
    place = tmp_path / "a"
    with LmdbStore(str(place), "write", LmdbSettings(checkpoint_every=15)) as store:
        store.begin(IDENTITY)
        for i in range(60):
            record = sample_record(IDENTITY, f"p-{i}", steps=4)
            store.write([record], [sample_failure(f"f-{i}")] if i % 5 == 0 else [])
        store.add_history({"kind": "extract"})
    return place


def cut(path: Path, size: int) -> None:
    os.truncate(path / DATA, size)


def zero(path: Path, first: int, last: int) -> None:
    with open(path / DATA, "r+b") as file:
        file.seek(first * PAGE)
        file.write(bytes((last - first) * PAGE))


def test_what_a_cut_off_file_lost_is_counted(path: Path, tmp_path: Path) -> None:
    cut(path, (path / DATA).stat().st_size // 2)
    report = repair(str(path), str(tmp_path / "b"))
    assert 0 < report.records < 60
    assert report.missing is not None
    assert report.records + report.failures + len(report.lost) + report.missing == ALL
    assert ["cut off" in damage.why for damage in report.damages] == [True]
    assert not report.sound
    assert verify(str(tmp_path / "b")).sound


@pytest.mark.parametrize("page", [0, 1])
def test_the_other_meta_page_tells_that_nothing_is_lost(
    path: Path, tmp_path: Path, page: int
) -> None:
    zero(path, page, page + 1)
    report = repair(str(path), str(tmp_path / "b"))
    assert (report.records, report.failures, report.lost, report.missing) == (60, 12, (), 0)
    assert report.damages, "it is damaged all the same"
    assert not report.sound


def test_zeroed_pages_of_records_are_counted(path: Path, tmp_path: Path) -> None:
    pages = (path / DATA).stat().st_size // PAGE
    zero(path, 0, 1)  # LMDB cannot open the file.
    zero(path, pages // 2, pages // 2 + 20)
    report = repair(str(path), str(tmp_path / "b"))
    assert report.records < 60
    assert report.missing is not None
    assert report.records + report.failures + len(report.lost) + report.missing == ALL
    assert not report.sound


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_what_nobody_can_count_is_unknown(path: Path, tmp_path: Path, kept: int) -> None:
    cut(path, kept * PAGE)
    report = repair(str(path), str(tmp_path / "b"))
    assert (report.records, report.missing) == (0, None)
    assert not report.sound
    assert "tally" in {damage.kind for damage in report.damages}


def test_an_older_count_is_not_taken_for_the_last(path: Path, tmp_path: Path) -> None:
    """Without meta pages and the first pages behind them, only leftovers of commits can be read."""
    zero(path, 0, 20)
    report = repair(str(path), str(tmp_path / "b"))
    assert report.missing is None or report.missing > 0
    assert "only commit" in "".join(damage.why for damage in report.damages)


def test_removed_records_are_not_taken_for_lost(path: Path, tmp_path: Path) -> None:
    """Their heads are left over on pages; as many are named as the counts say are lost."""
    removed = [sample_record(IDENTITY, f"p-{i}").key for i in range(20, 30)]
    with LmdbStore(str(path), "write") as store:
        store.delete(removed)
        store.write([sample_record(IDENTITY, f"q-{i}", steps=4) for i in range(4)])
        vectors = store.get(sample_record(IDENTITY, "p-7").key).latents.tobytes()[100:200]
    content = bytearray((path / DATA).read_bytes())
    content[content.rfind(vectors)] ^= 1
    (path / DATA).write_bytes(content)
    report = repair(str(path), str(tmp_path / "b"))
    assert "p-7" in [damage.name for damage in report.lost]
    with LmdbStore(str(tmp_path / "b")) as store:
        back = sum(store.entry(key) is not None for key in removed)
    assert len(report.lost) <= 1 + back


def test_a_cut_off_file_is_told_before_it_is_read(path: Path) -> None:
    whole = (path / DATA).stat().st_size
    cut(path, whole // 2)
    assert find_cut(path) is not None
    said = rf"cut off: {whole // 2:,} of {whole:,} bytes .*repair the store to save what is left"
    for mode in ("read", "write"):
        with pytest.raises(StoreError, match=said):
            LmdbStore(str(path), mode)  # type: ignore[arg-type]
    assert (path / DATA).stat().st_size == whole // 2
    [damage] = verify(str(path)).damages
    assert "cut off" in damage.why


def test_commands_survive_a_cut_off_store(path: Path) -> None:
    cut(path, PAGE * 20)
    for line in ("show a p-3", "store export a out", "store compact a", "store merge new a"):
        run = subprocess.run(
            [sys.executable, "-m", "rjepa_cli", *shlex.split(line)],
            cwd=path.parent, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert run.returncode == 1, (line, run.stderr)
        assert "a: data.mdb is cut off" in run.stderr
        assert len(run.stderr.splitlines()) == 1
    assert sorted(os.listdir(path.parent)) == ["a"]


def test_a_short_file_can_be_whole(tmp_path: Path) -> None:
    """Pages that a transaction takes and gives back are counted by LMDB and never written."""
    names = [b"key %d" % i for i in range(2000)]
    with lmdb.open(str(tmp_path), map_size=2**28, max_dbs=1) as environment:
        table = environment.open_db(b"table")
        with environment.begin(write=True, db=table) as txn:
            txn.put(b"kept", b"value")
        with environment.begin(write=True, db=table) as txn:
            txn.put(b"block", bytes(100_000))
            txn.delete(b"block")
        with environment.begin(write=True, db=table) as txn:
            for name in names:
                txn.put(name, bytes(100))
            for name in names:
                txn.delete(name)
        known = (environment.info()["last_pgno"] + 1) * PAGE
    assert (tmp_path / DATA).stat().st_size < known
    assert find_cut(tmp_path) is None


def test_an_emptied_file_is_not_begun_anew(path: Path) -> None:
    cut(path, 0)
    for mode in ("read", "write"):
        with pytest.raises(StoreError, match=r"data.mdb is empty.*bring a copy"):
            LmdbStore(str(path), mode)  # type: ignore[arg-type]
    assert (path / DATA).stat().st_size == 0
    assert not verify(str(path)).sound


def test_a_file_that_was_never_written_is_begun(tmp_path: Path) -> None:
    """What is left by a crash between the file's making and LMDB's first write."""
    place = tmp_path / "a"
    place.mkdir()
    (place / DATA).touch()
    with pytest.raises(StoreNotFoundError, match="never written"):
        LmdbStore(str(place))
    assert (place / DATA).stat().st_size == 0, "reading writes nothing"
    with LmdbStore(str(place), "write") as store:
        assert not (place / SIDECAR).exists()
        store.begin(IDENTITY)
        store.write([sample_record(IDENTITY, "p-1")])
    assert verify(str(place)).sound
