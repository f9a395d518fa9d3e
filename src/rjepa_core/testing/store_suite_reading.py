"""A store's promises about reading."""

from __future__ import annotations

import functools
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from ..domain.identity import Identity
from ..domain.trace import RecordKey
from ..errors import StoreClosedError, StoreError
from ..ports.store import LatentStore
from .promises import raises
from .samples import (
    Open,
    StoreCase,
    assert_same,
    record_differences,
    sample_failure,
    sample_identity,
    sample_record,
)

ODD_IDS = (
    "plain",
    "with space/and slash",
    "ünï-世界-\U0001f600",
    "nul\0inside",
    "lone\ud800surrogate",
    "plain#1",
    "x" * 2000,
    "x" * 1999 + "y",
    "\U0010ffff" * 150,
)


class ReadingContract(StoreCase):
    """What is read is what was written."""

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
    @pytest.mark.parametrize(("layers", "logprobs"), [(1, False), (3, True)])
    def test_records_come_back_bit_for_bit(
        self, open_store: Open, dtype: str, layers: int, logprobs: bool
    ) -> None:
        identity = sample_identity(layers, 33, dtype, logprobs)
        store = open_store()
        store.begin(identity)
        records = [sample_record(identity, f"p-{i}", i % 2, steps=i + 1) for i in range(5)]
        store.write(records)
        store.close()
        again = open_store("read")
        for record in records:
            assert_same(again.get(record.key), record, "get() gives the record as it was written")

    def test_steps_of_thinking_are_told_apart(self, store: LatentStore, identity: Identity) -> None:
        record = sample_record(identity, steps=3, thinking=2)
        store.write([record])
        store.commit()
        found = [span.thinking for span in store.get(record.key).trace.spans]
        assert found == [True, True, False], "get() tells which steps are thinking"

    def test_any_problem_id_is_a_key(self, store: LatentStore, identity: Identity) -> None:
        records = [sample_record(identity, i, sample) for i in ODD_IDS for sample in (0, 1, 70_000)]
        failures = [sample_failure(i, 2) for i in ODD_IDS]
        store.write(records, failures)
        store.commit()
        wanted = {record.key for record in records}
        assert set(store.keys()) == wanted, "keys() gives every problem id as it was written"
        for record in records:
            assert_same(store.get(record.key), record, f"{record.key!r:.40} is a key")
        found = {failure.key for failure in store.failures()}
        assert found == {f.key for f in failures}, "failures() gives every id as it was written"

    def test_vectors_of_all_finite_values_are_kept(self, open_store: Open) -> None:
        identity = sample_identity(width=4, dtype="float32")
        store = open_store()
        store.begin(identity)
        record = sample_record(identity, steps=2)
        record.latents[0, 0] = [3.4e38, -3.4e38, -0.0, 1e-45]
        store.write([record])
        store.commit()
        assert_same(store.get(record.key), record, "the store does not change values")

    def test_what_is_written_is_copied(self, store: LatentStore, identity: Identity) -> None:
        record, kept = sample_record(identity), sample_record(identity)
        store.write([record])
        record.latents[:] = 0
        record.trace.completion_ids[:] = 0
        store.commit()
        assert_same(
            store.get(kept.key), kept, "what is written is the store's own, before the commit too"
        )

    def test_get_of_nothing_is_a_key_error(self, store: LatentStore) -> None:
        store.write([], [sample_failure("f")])
        store.commit()
        for problem_id in ("nothing", "f"):
            with raises(KeyError, "get() of nothing is a KeyError"):
                store.get(RecordKey(problem_id))
        assert store.entry(RecordKey("nothing")) is None, "entry() of nothing is None"

    def test_a_snapshot_does_not_change(self, store: LatentStore, identity: Identity) -> None:
        records = [sample_record(identity, f"p-{i}") for i in range(3)]
        store.write(records, [sample_failure("f")])
        store.commit()
        with store.snapshot() as snapshot:
            before = list(snapshot.keys())
            store.write([sample_record(identity, f"new-{i}") for i in range(50)])
            store.write([sample_record(identity, "p-1", seed=7), sample_record(identity, "f")])
            store.delete([records[0].key])
            assert len(snapshot) == 3, "later writing does not show in a snapshot"
            assert list(snapshot.keys()) == before, "later writing does not show in a snapshot"
            assert [key for key, _ in snapshot.entries()] == before, (
                "later writing does not show in a snapshot"
            )
            assert [f.key.problem_id for f in snapshot.failures()] == ["f"], (
                "later writing does not show in a snapshot"
            )
            for record in records:
                assert_same(snapshot.get(record.key), record, "a snapshot keeps its records")
            with raises(KeyError, "get() of what a snapshot has not is a KeyError"):
                snapshot.get(RecordKey("new-1"))
        assert len(store) == 53, "the store itself has changed"

    def test_a_closed_snapshot_says_so(self, store: LatentStore, identity: Identity) -> None:
        record = sample_record(identity)
        store.write([record, sample_record(identity, "q")], [sample_failure("f")])
        store.commit()
        with store.snapshot() as snapshot:
            begun: list[Iterator[object]] = [snapshot.keys(), snapshot.entries()]
            for iterator in begun:
                next(iterator)
            begun.append(snapshot.failures())
        buffer = np.zeros((1, 1, 3, 8), np.float16)
        uses: list[Callable[[], object]] = [
            lambda: len(snapshot),
            lambda: snapshot.keys(),
            lambda: snapshot.entries(),
            lambda: snapshot.failures(),
            lambda: snapshot.get(record.key),
            lambda: snapshot.read_latents([record.key], buffer),
            *(functools.partial(next, iterator) for iterator in begun),
        ]
        for use in uses:
            with raises(
                StoreClosedError, "a closed snapshot says so", match="this snapshot is closed"
            ):
                use()
        assert_same(store.get(record.key), record, "the store itself stays open")

    def test_one_order_everywhere(self, store: LatentStore, identity: Identity) -> None:
        names = [f"p-{i * 37 % 60}" for i in range(60)]
        for name in names:
            store.write([sample_record(identity, name, steps=1 + len(name) % 3)])
        store.commit()
        keys = list(store.keys())
        assert len(set(keys)) == 60, "keys() gives each key once"
        assert list(store.keys()) == keys, "the order of keys() is always the same"
        entries = list(store.entries())
        assert [key for key, _ in entries] == keys, "entries() has the order of keys()"
        for key, entry in entries:
            assert entry == store.entry(key), "entries() gives what entry() gives"
        with store.snapshot() as snapshot:
            assert list(snapshot.keys()) == keys, "a snapshot has the order of its store"

    def test_keys_continue_after_a_record(self, store: LatentStore, identity: Identity) -> None:
        store.write([sample_record(identity, f"p-{i * 7 % 20}", i % 2) for i in range(20)])
        store.write([sample_record(identity, ODD_IDS[0]), sample_record(identity, "x" * 2000)])
        store.write([], [sample_failure("f")])
        store.commit()
        removed = list(store.keys())[3]
        store.delete([removed])
        keys = list(store.keys())
        with store.snapshot() as snapshot:
            for read in (store.keys, snapshot.keys):
                for place, key in enumerate(keys):
                    assert list(read(key)) == keys[place + 1 :], (
                        "keys(after) gives what follows that record"
                    )
                for absent in (removed, RecordKey("nothing"), RecordKey("f")):
                    with raises(KeyError, "keys(after) without such a record is a KeyError"):
                        list(read(absent))

    @pytest.mark.parametrize("dtype", [np.float16, np.float32])
    def test_batches_go_into_the_callers_buffer(self, open_store: Open, dtype: Any) -> None:
        identity = sample_identity(2, 8)
        store = open_store()
        store.begin(identity)
        records = [sample_record(identity, f"p-{i}", steps=1 + i % 4) for i in range(9)]
        store.write(records)
        store.commit()
        wanted = [records[i] for i in (7, 0, 3, 7)]
        latents = np.full((5, 2, 6, 8), 9, dtype)
        prompts = np.full((5, 2, 8), 9, dtype)
        with store.snapshot() as snapshot:
            for read in (store.read_latents, snapshot.read_latents):
                latents[:], prompts[:] = 9, 9
                steps = read([r.key for r in wanted], latents, prompts)
                assert steps.tolist() == [4, 1, 4, 4], "read_latents() returns the steps"
                for row, record in enumerate(wanted):
                    s = int(steps[row])
                    assert (latents[row, :, :s] == record.latents).all(), "row b is keys[b]"
                    assert not latents[row, :, s:].any(), "zeros follow the steps"
                    assert (prompts[row] == record.prompt_latent).all(), "prompts too"
                assert (latents[4] == 9).all(), "rows without a key are left alone"

    def test_batches_that_do_not_fit_are_refused(
        self, store: LatentStore, identity: Identity
    ) -> None:
        record = sample_record(identity, steps=3)
        store.write([record])
        store.commit()
        for shape in ((1, 1, 2, 8), (1, 2, 3, 8), (1, 1, 3, 7), (0, 1, 3, 8)):
            with raises(ValueError, "a buffer into which a record does not fit is refused"):
                store.read_latents([record.key], np.zeros(shape, np.float16))
        with raises(KeyError, "reading nothing into a buffer is a KeyError"):
            store.read_latents([RecordKey("nothing")], np.zeros((1, 1, 3, 8), np.float16))

    def test_stats(self, store: LatentStore, identity: Identity) -> None:
        records = [sample_record(identity, f"p-{i // 2}", i % 2, steps=i + 1) for i in range(6)]
        store.write(records, [sample_failure("f"), sample_failure("p-0", 9)])
        store.commit()
        stats = store.stats()
        assert stats.records == 6, "stats() count records"
        assert stats.problems == 3, "stats() count problems with records"
        assert stats.steps == 21, "stats() count steps"
        assert stats.tokens == sum(len(r.trace.completion_ids) for r in records), (
            "stats() count tokens"
        )
        assert stats.failures == 2, "stats() count failures"

    def test_it_grows_by_itself(self, open_store: Open) -> None:
        identity = sample_identity(1, 4096, "float32")
        store = open_store()
        store.begin(identity)
        for i in range(100):
            store.write([sample_record(identity, f"p-{i}", steps=16)])
        store.commit()
        record = sample_record(identity, "p-50", steps=16)
        assert_same(store.get(record.key), record, "a store grows by itself")

    def test_many_readers_while_a_writer_writes(
        self, store: LatentStore, open_store: Open, identity: Identity
    ) -> None:
        readers = [open_store("read") for _ in range(3)]
        errors: list[str] = []
        done = threading.Event()

        def read(reader: LatentStore) -> None:
            seen = 0
            while not done.is_set():
                keys = list(reader.keys())
                if len(keys) < seen or len(keys) % 5:
                    errors.append(f"{len(keys)} records after {seen}")
                seen = len(keys)
                for key in keys[-5:]:
                    found = reader.get(key)
                    if record_differences(found, sample_record(identity, key.problem_id)):
                        errors.append(f"{key} is torn")

        def read_all(reader: LatentStore) -> None:
            try:
                read(reader)
            except Exception as error:  # A thread's exception would be lost.
                errors.append(f"a reader raised {error!r}")

        threads = [threading.Thread(target=read_all, args=(reader,)) for reader in readers]
        for thread in threads:
            thread.start()
        try:
            for batch in range(30):
                store.write([sample_record(identity, f"p-{batch}-{i}") for i in range(5)])
                store.commit()
        finally:
            done.set()
            for thread in threads:
                thread.join()
        assert not errors, f"readers see whole commits of whole records: {errors[:3]}"

    def test_a_pickled_handle_reads(self, store: LatentStore, identity: Identity) -> None:
        record = sample_record(identity)
        store.write([record])
        store.commit()
        copy = pickle.loads(pickle.dumps(store))
        try:
            assert_same(copy.get(record.key), record, "a pickled handle opens the store again")
            with raises(StoreError, "a pickled handle only reads"):
                copy.write([record])
        finally:
            copy.close()
