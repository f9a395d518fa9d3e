"""Any order of writing, committing, reopening, copying and mending agrees with a plain dict."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from rjepa_adapters.lmdb_store.maintenance import LmdbMaintenance
from rjepa_adapters.lmdb_store.settings import LmdbSettings
from rjepa_adapters.lmdb_store.store import LmdbStore
from rjepa_adapters.shards import export_shards, import_shards
from rjepa_core.domain.latents import LatentRecord
from rjepa_core.domain.trace import Failure, RecordKey
from rjepa_core.errors import UsageError
from rjepa_core.ports.store import Snapshot
from rjepa_core.stores import Winner, merge, select
from rjepa_core.testing.samples import (
    record_differences,
    sample_failure,
    sample_identity,
    sample_record,
)

IDENTITY = sample_identity(1, 64)
MAINTENANCE = LmdbMaintenance()
ids = st.sampled_from(["a", "b", "b#1", "nul\0", "é" * 300, "z"])
samples = st.integers(0, 1)


class StoreMachine(RuleBasedStateMachine):
    """A store beside two dicts, one of what is written and one of what is committed."""

    @initialize()
    def make(self) -> None:
        self.stack = ExitStack()
        self.root = Path(tempfile.mkdtemp())
        self.names: Iterator[str] = (str(self.root / f"s{i}") for i in range(10_000))
        self.path = next(self.names)
        self.store = self.open()
        self.store.begin(IDENTITY)
        self.records: dict[RecordKey, LatentRecord] = {}
        self.failures: dict[RecordKey, Failure] = {}
        self.save()
        self.snapshot: Snapshot | None = None
        self.seen: dict[RecordKey, LatentRecord] = {}
        self.seen_failures: dict[RecordKey, Failure] = {}

    def open(self, path: str | None = None) -> LmdbStore:
        # A small map, so that it has to grow; commits only when the machine says so.
        settings = LmdbSettings(checkpoint_seconds=3600.0, map_bytes=2**17)
        return LmdbStore(path or self.path, "write", settings)

    def save(self) -> None:
        self.committed = dict(self.records)
        self.committed_failures = dict(self.failures)

    @rule(problem=ids, sample=samples, steps=st.integers(1, 6), seed=st.integers(0, 3))
    def write_record(self, problem: str, sample: int, steps: int, seed: int) -> None:
        record = sample_record(IDENTITY, problem, sample, steps, seed)
        self.store.write([record])
        self.records[record.key] = record
        self.failures.pop(record.key, None)

    @rule(problem=ids, sample=samples, reason=st.sampled_from(["one", "two"]))
    def write_failure(self, problem: str, sample: int, reason: str) -> None:
        failure = sample_failure(problem, sample, reason)
        self.store.write([], [failure])
        if failure.key not in self.records:
            self.failures[failure.key] = failure

    @rule(problem=ids)
    def write_many(self, problem: str) -> None:
        batch = [sample_record(IDENTITY, f"{problem}-{i}", 0, 4) for i in range(40)]
        self.store.write(batch)
        for record in batch:
            self.records[record.key] = record

    @rule()
    def commit(self) -> None:
        self.store.commit()
        self.save()

    @rule()
    def reopen(self) -> None:
        self.end_snapshot()
        self.store.close()
        self.save()
        self.store = self.open()

    @rule()
    def lose_the_process(self) -> None:
        """What a killed process leaves: everything committed, nothing else."""
        self.end_snapshot()
        self.store._commits._pending.records.clear()
        self.store._commits._pending.failures.clear()
        self.store.close()
        self.records = dict(self.committed)
        self.failures = dict(self.committed_failures)
        self.store = self.open()

    @rule(problem=ids, sample=samples)
    def delete(self, problem: str, sample: int) -> None:
        key = RecordKey(problem, sample)
        had = (key in self.records) + (key in self.failures)
        assert self.store.delete([key]) == had
        self.records.pop(key, None)
        self.failures.pop(key, None)
        self.save()

    @rule(problem=ids)
    def remove(self, problem: str) -> None:
        self.commit()
        doomed = [k for k in {**self.records, **self.failures} if k.problem_id == problem]
        # `b#1` is also how sample 1 of `b` is named.
        keys = {**self.records, **self.failures}
        samples = [k for k in keys if str(k) == problem and k.problem_id != problem]
        if doomed and samples:
            with pytest.raises(UsageError, match="for the problem, or b#01 for the sample"):
                select(self.store, [problem])
            return
        doomed += samples
        if not doomed:
            return
        chosen = select(self.store, [problem])
        assert self.store.delete(chosen.keys) == len(set(doomed))
        for key in doomed:
            self.records.pop(key, None)
            self.failures.pop(key, None)
        self.save()

    @precondition(lambda self: self.snapshot is None)
    @rule()
    def begin_snapshot(self) -> None:
        self.snapshot = self.stack.enter_context(self.store.snapshot())
        self.seen, self.seen_failures = dict(self.committed), dict(self.committed_failures)

    @precondition(lambda self: self.snapshot is not None)
    @rule()
    def read_snapshot(self) -> None:
        assert self.snapshot is not None
        assert set(self.snapshot.keys()) == set(self.seen)
        assert len(self.snapshot) == len(self.seen)
        for key, record in self.seen.items():
            assert not record_differences(self.snapshot.get(key), record)
        assert {f.key: f for f in self.snapshot.failures()} == self.seen_failures

    @precondition(lambda self: self.snapshot is not None)
    @rule()
    def end_snapshot(self) -> None:
        self.stack.close()
        self.snapshot = None

    @rule(problem=ids, seed=st.integers(0, 3), winner=st.sampled_from(["target", "source"]))
    def merge(self, problem: str, seed: int, winner: Winner) -> None:
        with self.open(next(self.names)) as other:
            other.begin(IDENTITY)
            theirs = [sample_record(IDENTITY, problem, s, 2, seed) for s in (0, 1)]
            other.write(theirs, [sample_failure("z", 1, "theirs")])
            other.commit()
            merge(self.store, [other], winner)
        for record in theirs:
            if winner == "source" or record.key not in self.records:
                self.records[record.key] = record
                self.failures.pop(record.key, None)
        failure = sample_failure("z", 1, "theirs")
        if failure.key not in self.records and failure.key not in self.failures:
            self.failures[failure.key] = failure
        self.save()

    @rule(per_shard=st.sampled_from([3, 1000]))
    def export_and_import(self, per_shard: int) -> None:
        self.end_snapshot()
        shards = next(self.names)
        export_shards(self.store, shards, per_shard)
        self.store.close()
        self.path = next(self.names)
        self.store = self.open()
        import_shards(shards, self.store)
        # What was not committed is not exported.
        self.records, self.failures = dict(self.committed), dict(self.committed_failures)

    @rule()
    def compact(self) -> None:
        self.end_snapshot()
        self.store.close()
        self.save()
        MAINTENANCE.compact(self.path)
        self.store = self.open()

    @invariant()
    def agrees(self) -> None:
        store = self.store
        assert len(store) == len(self.records)
        assert set(store.keys()) == set(self.committed)
        assert {f.key: f for f in store.failures()} == self.committed_failures
        for key in self.committed:
            found = record_differences(store.get(key), self.committed[key])
            assert not found, found
        for key in {**self.records, **self.failures}:
            entry = store.entry(key)
            assert entry is not None
            assert entry.failed == (key not in self.records)
        stats = store.stats()
        assert stats.records == len(self.committed)
        assert stats.problems == len({key.problem_id for key in self.committed})
        assert stats.steps == sum(r.latents.shape[1] for r in self.committed.values())
        assert stats.failures == len(self.committed_failures)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.end_snapshot()
            path = self.path
            self.store.close()
            report = MAINTENANCE.verify(path)
            assert report.sound, report.damages
            shutil.rmtree(self.root)


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
