"""What a store promises about time: commits are whole, reading is never stale, arrays stay."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import numpy as np
import pytest

from ..domain.identity import Identity
from ..domain.latents import LatentRecord, Vectors
from ..ports.store import LatentStore, Snapshot
from .samples import sample_failure, sample_identity, sample_record
from .store_case import Open, StoreCase, assert_same


class LastingContract(StoreCase):
    """Nothing of a commit is lost, nothing old is returned, nothing returned changes."""

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
            # Whatever a store remembers, it remembers it now.
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
        """Not by another reading, by writing, by deleting, or when the store is closed."""
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
