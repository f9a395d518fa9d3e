"""A store's promises about durability and freshness, and about maintenance if it is offered."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import numpy as np
import pytest

from ..domain.identity import Identity
from ..domain.latents import LatentRecord, Vectors
from ..domain.trace import TOO_LONG
from ..errors import UsageError
from ..ports.maintenance import Maintenance, ToolProgress
from ..ports.store import KeepsGrades, LatentStore, Snapshot
from .promises import raises
from .samples import (
    Open,
    StoreCase,
    TmpPath,
    assert_same,
    sample_failure,
    sample_grade,
    sample_identity,
    sample_record,
)


class LastingContract(StoreCase):
    """Commits are complete, reads are current, and returned values do not change."""

    @pytest.mark.parametrize("ended", ["commit", "close", "delete", "add_history"])
    def test_a_commit_is_whole(self, open_store: Open, identity: Identity, ended: str) -> None:
        records = [sample_record(identity, f"p-{i}", steps=1 + i % 3) for i in range(7)]
        failures = [sample_failure(f"f-{i}") for i in range(5)]
        store = open_store()
        store.begin(identity)
        store.write(records[:3], failures[:2])
        store.write(records[3:], failures[2:])
        if ended == "commit":
            store.commit()
        elif ended == "close":
            store.close()
        elif ended == "delete":
            store.delete([])
        else:
            store.add_history({"a": 1})
        reader = open_store("read")
        lost = {r.key for r in records} - set(reader.keys())
        assert not lost, f"a commit ({ended}) is whole: records were lost: {sorted(lost)}"
        lost = {f.key for f in failures} - {f.key for f in reader.failures()}
        assert not lost, f"a commit ({ended}) is whole: failures were lost: {sorted(lost)}"
        for record in records:
            assert_same(reader.get(record.key), record, f"a commit ({ended}) is whole")
        counted = (reader.stats().records, reader.stats().failures, len(reader))
        assert counted == (7, 5, 7), f"a commit ({ended}) is counted whole: {counted}"

    def test_reading_is_never_stale(
        self, store: LatentStore, open_store: Open, identity: Identity
    ) -> None:
        old = sample_record(identity, "p", seed=1)
        store.write([old], [sample_failure("f")])
        store.commit()
        reader = open_store("read")
        for handle in (store, reader):
            # Fill any cache of the store.
            assert_same(handle.get(old.key), old, "get() gives what was committed")
            _ = (len(handle), handle.entry(old.key), list(handle.keys()), handle.stats())
            _ = (list(handle.entries()), list(handle.failures()), handle.history())
            handle.read_latents([old.key], np.zeros((1, 1, 9, 8), np.float16))
        new, more = sample_record(identity, "p", steps=5, seed=2), sample_record(identity, "q")
        store.write([new, more, sample_record(identity, "f")])
        store.add_history({"second": True})
        for name, handle in (("its own", store), ("another", reader)):
            stale = f"reading is never stale, through {name} handle"
            assert_same(handle.get(new.key), new, f"{stale}: get()")
            entry = handle.entry(new.key)
            assert entry is not None, f"{stale}: entry()"
            assert entry.steps == 5, f"{stale}: entry()"
            assert {more.key, new.key} < set(handle.keys()), f"{stale}: keys()"
            assert dict(handle.entries())[new.key].steps == 5, f"{stale}: entries()"
            assert not list(handle.failures()), f"{stale}: failures()"
            assert (len(handle), handle.stats().records) == (3, 3), f"{stale}: len() and stats()"
            assert handle.history() == [{"second": True}], f"{stale}: history()"
            buffer = np.zeros((1, 1, 9, 8), np.float16)
            steps = handle.read_latents([new.key], buffer)
            assert steps.tolist() == [5], f"{stale}: read_latents()"
            assert (buffer[0, :, :5] == new.latents).all(), f"{stale}: read_latents()"
        store.delete([new.key])
        for name, handle in (("its own", store), ("another", reader)):
            gone = handle.entry(new.key) is None and new.key not in set(handle.keys())
            assert gone, f"reading is never stale, through {name} handle: after delete()"

    def test_what_get_returns_does_not_change(self, open_store: Open) -> None:
        """Not by another read, a write, a deletion, or closing the store."""
        identity = sample_identity(logprobs=True)
        store = open_store()
        store.begin(identity)
        records = [sample_record(identity, f"p-{i}") for i in range(3)]
        store.write(records)
        store.commit()
        found = store.get(records[0].key)
        kept = _copy(found)
        for record in records[1:]:
            store.get(record.key)
        self._same(found, kept, "another get()")
        store.write([sample_record(identity, "p-0", seed=9)])
        store.commit()
        self._same(found, kept, "a later commit")
        store.delete([record.key for record in records])
        store.write([sample_record(identity, f"new-{i}", seed=i) for i in range(20)])
        store.commit()
        self._same(found, kept, "delete()")
        store.close()
        self._same(found, kept, "close()")

    def _same(self, found: LatentRecord, kept: LatentRecord, after: str) -> None:
        assert_same(found, kept, f"what get() returned is the caller's own; {after} changed it")

    def test_what_get_returns_can_be_written(self, store: LatentStore, identity: Identity) -> None:
        record = sample_record(identity)
        store.write([record])
        store.commit()
        found = store.get(record.key)
        for array in _arrays(found):
            assert array.flags.writeable, "what get() returns is the caller's own, to be written"
            array[...] = 0
        assert_same(store.get(record.key), record, "what get() returned is the caller's own")

    def test_arrays_of_a_snapshot_stay_while_it_is_open(
        self, store: LatentStore, identity: Identity
    ) -> None:
        records = [sample_record(identity, f"p-{i}") for i in range(3)]
        store.write(records)
        store.commit()
        with store.snapshot() as snapshot:
            found = [snapshot.get(record.key) for record in records]
            self._disturb(store, snapshot, identity)
            for one, record in zip(found, records, strict=True):
                assert_same(one, record, "what a snapshot's get() returned stays while it is open")

    def _disturb(self, store: LatentStore, snapshot: Snapshot, identity: Identity) -> None:
        for key in snapshot.keys():  # noqa: SIM118
            snapshot.get(key)
        store.write([sample_record(identity, f"p-{i}", seed=5) for i in range(30)])
        store.commit()
        store.delete(list(store.keys()))


def _arrays(record: LatentRecord) -> Iterator[Vectors]:
    yield from (record.latents, record.prompt_latent)
    yield from (record.trace.prompt_ids, record.trace.completion_ids)
    if record.logprobs is not None:
        yield record.logprobs


def _copy(record: LatentRecord) -> LatentRecord:
    trace = attrs.evolve(
        record.trace,
        prompt_ids=record.trace.prompt_ids.copy(),
        completion_ids=record.trace.completion_ids.copy(),
    )
    return attrs.evolve(
        record,
        trace=trace,
        latents=record.latents.copy(),
        prompt_latent=record.prompt_latent.copy(),
        logprobs=None if record.logprobs is None else record.logprobs.copy(),
    )


class MaintenanceContract(StoreCase):
    """Whole stores are verified, repaired and compacted without changing any record."""

    @pytest.fixture
    def maintenance(self) -> Maintenance:
        assert self.adapter.maintenance is not None, "the descriptor offers maintenance"
        return self.adapter.maintenance()

    def fill(self, store: LatentStore, numbers: range, failures: bool = True) -> None:
        """Write the records with these numbers, which are the same for every store."""
        identity = sample_identity(2, 16, "bfloat16", logprobs=True)
        store.begin(identity)
        for i in numbers:
            failed = [sample_failure(f"f-{i}", reason=TOO_LONG)] if failures and i % 4 == 0 else []
            store.write([sample_record(identity, f"p-{i // 2}", i % 2, steps=1 + i % 5)], failed)
        if isinstance(store, KeepsGrades):
            store.write_grades([sample_grade(f"p-{i // 2}", i % 2) for i in numbers if i % 3])
        store.add_history({"kind": "extract", "records": len(numbers)})
        store.commit()

    def _fail(self, store: LatentStore) -> None:
        self.fill(store, range(4))
        raise RuntimeError

    def assert_equal(self, found: LatentStore, wanted: LatentStore, promise: str) -> None:
        """Fail unless two stores hold equal records and failures."""
        assert found.identity == wanted.identity, f"{promise}: the identity"
        assert set(found.keys()) == set(wanted.keys()), f"{promise}: the keys"
        for key in wanted.keys():  # noqa: SIM118
            assert_same(found.get(key), wanted.get(key), f"{promise}: record {key}")
        failures = {f.key: f for f in wanted.failures()}
        assert {f.key: f for f in found.failures()} == failures, f"{promise}: the failures"
        if isinstance(found, KeepsGrades) and isinstance(wanted, KeepsGrades):
            grades = {grade.key: grade for grade in wanted.grades()}
            assert {g.key: g for g in found.grades()} == grades, f"{promise}: the grades"

    def test_verify_finds_nothing(
        self, open_store: Open, maintenance: Maintenance, tmp_path: TmpPath
    ) -> None:
        store = open_store()
        self.fill(store, range(20))
        store.close()
        seen: list[ToolProgress] = []
        report = maintenance.verify(self.where(tmp_path, "a"), seen.append)
        assert report.sound, f"a store that was written whole is sound: {report.damages}"
        assert (report.records, report.failures) == (20, 5), "verify() counts what is sound"

    def test_verify_beside_a_writer(
        self, open_store: Open, maintenance: Maintenance, tmp_path: TmpPath
    ) -> None:
        self.fill(open_store(), range(20))
        report = maintenance.verify(self.where(tmp_path, "a"))
        assert report.sound, f"a store can be verified while a run writes: {report.damages}"

    def test_repair_of_a_sound_store(
        self, open_store: Open, maintenance: Maintenance, tmp_path: TmpPath
    ) -> None:
        store = open_store()
        self.fill(store, range(20))
        target = self.where(tmp_path, "b")
        report = maintenance.repair(self.where(tmp_path, "a"), target)
        assert (report.records, report.failures, report.lost, report.missing) == (20, 5, (), 0), (
            "repair() of a sound store loses nothing"
        )
        repaired = open_store("read", "b")
        self.assert_equal(repaired, store, "repair() saves everything readable")
        assert repaired.history() == store.history(), "repair() saves the run history"
        with raises(UsageError, "repair() overwrites no store"):
            maintenance.repair(self.where(tmp_path, "a"), target)

    def test_build(self, open_store: Open, maintenance: Maintenance, tmp_path: TmpPath) -> None:
        place = self.where(tmp_path, "a")
        with (
            raises(RuntimeError, "an error in build() reaches the caller"),
            maintenance.build(place) as refused,
        ):
            self._fail(refused)
        assert not self.adapter.exists(place), "build() leaves nothing behind after an error"
        with maintenance.build(place) as store:
            self.fill(store, range(4))
            assert not self.adapter.exists(place), "build() puts a store there when it is whole"
        assert len(open_store("read")) == 4, "build() makes a store"
        with raises(UsageError, "build() overwrites no store"), maintenance.build(place):
            pass

    def test_compact(self, open_store: Open, maintenance: Maintenance, tmp_path: TmpPath) -> None:
        whole, store = open_store(name="whole"), open_store()
        self.fill(whole, range(0, 40, 2))
        self.fill(store, range(40), failures=False)
        store.delete([k for k in store.keys() if k.sample])  # noqa: SIM118
        store.write([], list(whole.failures()))
        store.close()
        maintenance.compact(self.where(tmp_path, "a"))
        compacted = open_store("read")
        self.assert_equal(compacted, whole, "compact() changes no record")
        assert len(compacted.history()) == 1, "compact() keeps the run history"
        assert maintenance.verify(self.where(tmp_path, "a")).sound, "a compacted store is sound"

    def test_room(self, open_store: Open, maintenance: Maintenance, tmp_path: TmpPath) -> None:
        identity = sample_identity(1, 1024)
        store = open_store()
        store.begin(identity)
        store.write([sample_record(identity, f"p-{i}", steps=8) for i in range(200)])
        store.commit()
        needed = maintenance.room_needed(identity, 200, 8.0)
        taken = store.stats().bytes_on_disk
        assert 0.7 * taken < needed < 2 * taken, "room_needed() is about what is taken"
        assert maintenance.room_free(self.where(tmp_path, "new/er")) > 0, (
            "room_free() works for a store that does not exist yet"
        )
