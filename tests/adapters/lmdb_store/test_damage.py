"""Flipped bytes: never returned as data, named by verify, and mended by repair."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from rjepa_adapters.lmdb_store.directory import DATA
from rjepa_adapters.lmdb_store.format.record import encode_key, encode_record
from rjepa_adapters.lmdb_store.recovery.repair import repair, verify
from rjepa_adapters.lmdb_store.settings import LmdbSettings
from rjepa_adapters.lmdb_store.store import LmdbStore
from rjepa_core.domain.latents import LatentRecord
from rjepa_core.domain.trace import Failure
from rjepa_core.errors import DamagedRecordError, StoreError
from rjepa_core.testing.samples import (
    record_differences,
    sample_failure,
    sample_identity,
    sample_record,
)

IDENTITY = sample_identity(1, 512)


@pytest.fixture
def records() -> list[LatentRecord]:
    return [sample_record(IDENTITY, f"p-{i}", steps=4) for i in range(60)]


@pytest.fixture
def path(tmp_path: Path, records: list[LatentRecord]) -> Path:
    """A store that was written in several commits."""
    place = tmp_path / "a"
    with LmdbStore(str(place), "write", LmdbSettings(checkpoint_every=15)) as store:
        store.begin(IDENTITY)
        for i, record in enumerate(records):
            store.write([record], [sample_failure(f"f-{i}")] if i % 5 == 0 else [])
        store.add_history({"kind": "extract"})
    return place


def flip(path: Path, offset: int, mask: int) -> None:
    """Flip bits of one byte of the data file."""
    with open(path / DATA, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ mask]))


def find(path: Path, content: bytes) -> int:
    """Where the content stands last in the data file."""
    place = (path / DATA).read_bytes().rfind(content)
    assert place > 0
    return place


def find_all(path: Path, content: bytes) -> list[int]:
    """Everywhere that the content stands in the data file."""
    return [found.start() for found in re.finditer(re.escape(content), (path / DATA).read_bytes())]


@pytest.mark.parametrize("part", ["latents", "token ids", "statement"])
def test_a_damaged_record_is_an_error_with_its_id(
    path: Path, records: list[LatentRecord], part: str
) -> None:
    record = records[7]
    content = {
        "latents": record.latents.tobytes()[100:200],
        "token ids": record.trace.completion_ids.tobytes(),
        "statement": record.trace.problem.statement.encode(),
    }[part]
    flip(path, find(path, content) + 3, 0x10)
    with LmdbStore(str(path)) as store:
        with pytest.raises(DamagedRecordError, match=r"p-7 is damaged.*repair"):
            store.get(record.key)
        assert not record_differences(store.get(records[8].key), records[8])
    report = verify(str(path))
    assert [(d.kind, d.name) for d in report.damages] == [("record", "p-7")]
    assert report.records == 59


def delete(store: LmdbStore, record: LatentRecord, failure: Failure) -> None:
    store.delete([record.key, failure.key])


def write_over(store: LmdbStore, record: LatentRecord, failure: Failure) -> None:
    store.write([record], [failure])


def copy_over(store: LmdbStore, record: LatentRecord, failure: Failure) -> None:
    store.write_encoded([encode_record(record)], [failure])
    store.commit()


@pytest.mark.parametrize("part", ["record", "failure"])
@pytest.mark.parametrize("change", [delete, write_over, copy_over])
def test_changes_name_what_is_damaged(
    path: Path,
    records: list[LatentRecord],
    change: Callable[[LmdbStore, LatentRecord, Failure], None],
    part: str,
) -> None:
    record, failure = records[7], sample_failure("f-5")
    raw_key = encode_key(record.key if part == "record" else failure.key)
    # A key stands before its value: in the index, and among the failures.
    for place in find_all(path, raw_key):
        flip(path, place + len(raw_key) + 9, 0x20)
    name = "p-7" if part == "record" else "failure f-5"
    with (
        pytest.raises(DamagedRecordError, match=f"{name} is damaged.*repair the store"),
        LmdbStore(str(path), "write") as store,
    ):
        change(store, record, failure)
    with LmdbStore(str(path)) as store:
        assert len(store) == 60, "nothing is changed"


def test_reads_that_are_not_verified_are_the_users_choice(
    path: Path, records: list[LatentRecord]
) -> None:
    flip(path, find(path, records[7].latents.tobytes()[100:200]), 0x10)
    with LmdbStore(str(path), settings=LmdbSettings(verify_reads=False)) as store:
        assert record_differences(store.get(records[7].key), records[7]) == ["latents"]


def test_repair_saves_the_rest_and_names_what_is_lost(
    path: Path, tmp_path: Path, records: list[LatentRecord]
) -> None:
    flip(path, find(path, records[7].latents.tobytes()[100:200]), 0x10)
    report = repair(str(path), str(tmp_path / "b"))
    assert [damage.name for damage in report.lost] == ["p-7"]
    assert (report.records, report.failures, report.missing) == (59, 12, 0)
    assert verify(str(tmp_path / "b")).sound
    with LmdbStore(str(tmp_path / "b")) as mended:
        assert mended.identity == IDENTITY
        assert mended.entry(records[7].key) is None, "a resumed run computes it again"
        for record in records:
            if record is not records[7]:
                assert not record_differences(mended.get(record.key), record)


@pytest.mark.parametrize("page", [0, 1])
def test_a_destroyed_meta_page_does_not_cost_the_store(
    path: Path, tmp_path: Path, page: int, records: list[LatentRecord]
) -> None:
    """Without its meta pages LMDB cannot open the file; the pages are searched instead."""
    with open(path / DATA, "r+b") as file:
        file.seek(page * 4096)
        file.write(b"\xaa" * 4096)
    report = verify(str(path))
    assert not report.sound
    assert report.damages[0].kind == "pages"
    mended = repair(str(path), str(tmp_path / "b"))
    assert mended.records == len(records)
    with LmdbStore(str(tmp_path / "b")) as store:
        for record in records:
            assert not record_differences(store.get(record.key), record)


def test_a_damaged_identity_is_taken_from_its_copy(path: Path, tmp_path: Path) -> None:
    content = b'"generation":{'
    data = (path / DATA).read_bytes()
    places = [i for i in range(len(data)) if data.startswith(content, i)]
    for place in places:
        flip(path, place + 3, 0x01)
    with pytest.raises(DamagedRecordError, match="identity is damaged"):
        LmdbStore(str(path))
    assert "identity" in {damage.kind for damage in verify(str(path)).damages}
    assert repair(str(path), str(tmp_path / "b")).records == 60
    (path / "identity.json").unlink()
    with pytest.raises(StoreError, match="identity"):
        repair(str(path), str(tmp_path / "c"))


def test_a_truncated_file_is_damage(path: Path, tmp_path: Path) -> None:
    size = (path / DATA).stat().st_size
    with open(path / DATA, "r+b") as file:
        file.truncate(size // 2)
    assert not verify(str(path), silence=10).sound
    mended = repair(str(path), str(tmp_path / "b"), silence=10)
    assert 0 < mended.records < 60
    assert verify(str(tmp_path / "b")).sound


def test_flips_are_never_returned_as_data(
    path: Path, tmp_path: Path, records: list[LatentRecord]
) -> None:
    """What verify passes reads as it was written; what repair saves is as it was written."""
    dice = random.Random(3)
    size = (path / DATA).stat().st_size
    with LmdbStore(str(path)) as store:
        digest = store.digest()
    found = 0
    for number in range(12):
        offset, mask = dice.randrange(size), 1 << dice.randrange(8)
        flip(path, offset, mask)
        report = verify(str(path), silence=10)
        if report.sound:
            with LmdbStore(str(path)) as store:
                assert store.digest() == digest
                for record in records:
                    assert not record_differences(store.get(record.key), record), (offset, mask)
        else:
            found += 1
            target = tmp_path / f"r{number}"
            repair(str(path), str(target), silence=10)
            with LmdbStore(str(target)) as store:
                wanted = {record.key: record for record in records}
                for key in store.keys():  # noqa: SIM118
                    assert not record_differences(store.get(key), wanted[key]), (offset, mask)
        flip(path, offset, mask)
    assert found > 2, "many bytes of a store are read"


def test_a_trapped_or_crashed_reader_is_damage(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that reads is watched: silence and signals are reported, not waited for."""
    from rjepa_adapters.lmdb_store.recovery import subprocess as watching

    script = path.parent / "fake.py"
    monkeypatch.setattr(watching.sys, "executable", str(script))
    for body, why in (
        ("exec sleep 60", "no progress for 1 s"),
        ("kill -SEGV $$", "crashed (SIGSEGV)"),
    ):
        script.write_text(f"#!/bin/sh\n{body}\n")
        script.chmod(0o755)
        report = verify(str(path), silence=1.0)
        assert [damage.kind for damage in report.damages] == ["pages"]
        assert why in report.damages[0].why
