"""Stores that break one promise each. Not collected: `test_mutants.py` runs this file."""

from __future__ import annotations

from contextlib import contextmanager

import attrs
import numpy as np

from rjepa_core.plugins.hooks import StoreAdapter
from rjepa_core.testing import memory_store
from rjepa_core.testing.memory_snapshot import MemorySnapshot
from rjepa_core.testing.memory_store import MemorySettings, MemoryStore, exists, forget
from rjepa_core.testing.store_suite import StoreContract


class Suite(StoreContract):
    def where(self, tmp_path, name):
        return f"{tmp_path.name}-{name}"

    def vanish(self, tmp_path, name):
        forget(self.where(tmp_path, name))


def adapter(store: type[MemoryStore]) -> StoreAdapter:
    return StoreAdapter(name="mutant", settings=MemorySettings, create=store, exists=exists)


class TestSound(Suite):
    """No mutant: the suite must pass."""

    adapter = adapter(MemoryStore)


class LosesHalf(MemoryStore):
    """Of the records of a commit only every other one is kept."""

    def commit(self):
        if len(self._records) > 1:
            self._records = dict(list(self._records.items())[::2])
        super().commit()


class TestLosesHalfACommit(Suite):
    adapter = adapter(LosesHalf)


class LosesFailures(MemoryStore):
    """A commit that holds records forgets its failures."""

    def commit(self):
        if self._records:
            self._failures = {}
        super().commit()


class TestLosesTheFailuresOfACommit(Suite):
    adapter = adapter(LosesFailures)


class TornInTwo(MemoryStore):
    """A commit shows in two parts: first its failures, then its records."""

    def write(self, records, failures=()):
        super().write((), failures)
        if failures:
            self.commit()
        super().write(records)


class TestCommitsInTwo(Suite):
    adapter = adapter(TornInTwo)


class Unchecked(MemoryStore):
    """Takes whatever it is given."""

    def write(self, records, failures=()):
        checked, memory_store.check_fits = memory_store.check_fits, lambda record, identity: None
        try:
            super().write(records, failures)
        finally:
            memory_store.check_fits = checked


class TestForgetsToCheckRecords(Suite):
    adapter = adapter(Unchecked)


class AnyStatement(MemoryStore):
    def _same_statement(self, new, key, digest):
        pass


class TestForgetsToCheckStatements(Suite):
    adapter = adapter(AnyStatement)


class AnyIdentity(MemoryStore):
    def begin(self, identity):
        if self.identity is None:
            super().begin(identity)


class TestForgetsToCheckTheIdentity(Suite):
    adapter = adapter(AnyIdentity)


class LearnsNothing(MemoryStore):
    def begin(self, identity):
        known = self.identity
        super().begin(identity)
        if known is not None:
            self._change(identity=known)


class TestForgetsWhatItLearned(Suite):
    adapter = adapter(LearnsNothing)


class Stale(MemoryStore):
    """Remembers what it has read, and never looks again."""

    def get(self, key):
        memory = self.__dict__.setdefault("_memory", {})
        if key not in memory:
            memory[key] = super().get(key)
        return memory_store._copy(memory[key])


class TestReturnsStaleRecords(Suite):
    adapter = adapter(Stale)


class StaleCounts(MemoryStore):
    """Counts once."""

    def stats(self):
        counted = super().stats()
        return self.__dict__.setdefault("_counted", counted) if counted.records else counted


class TestReturnsStaleCounts(Suite):
    adapter = adapter(StaleCounts)


class StaleReader(MemoryStore):
    """A reader sees the store as it was when it was opened, and never again."""

    @property
    def _state(self):
        now = super()._state
        return now if self._writes else self.__dict__.setdefault("_first", now)


class TestReaderIsStale(Suite):
    adapter = adapter(StaleReader)


class OwnArrays(MemoryStore):
    """Gives its own arrays away."""

    def get(self, key):
        return MemorySnapshot(self._state).get(key)


class TestHandsOutItsOwnArrays(Suite):
    adapter = adapter(OwnArrays)


class OneBuffer(MemoryStore):
    """Reads every record into the same buffer, and hands out views of it."""

    def get(self, key):
        record = super().get(key)
        buffer = self.__dict__.setdefault("_buffer", np.zeros(1 << 20, np.uint8))
        view = buffer[: record.latents.nbytes].view(record.latents.dtype)
        view = view.reshape(record.latents.shape)
        view[...] = record.latents
        return attrs.evolve(record, latents=view)


class TestHandsOutAViewThatChanges(Suite):
    adapter = adapter(OneBuffer)


class ReadOnly(MemoryStore):
    """Hands out views that cannot be written."""

    def get(self, key):
        record = super().get(key)
        record.latents.flags.writeable = False
        return record


class TestHandsOutAReadOnlyView(Suite):
    adapter = adapter(ReadOnly)


class LivingSnapshot(MemoryStore):
    """A snapshot that is the store itself."""

    @contextmanager
    def snapshot(self):
        yield self


class TestSnapshotsMove(Suite):
    adapter = adapter(LivingSnapshot)


class ManyWriters(MemoryStore):
    def __init__(self, location="", mode="write", settings=None):
        if location in memory_store._places:
            memory_store._places[location].writer = None
        super().__init__(location, mode, settings)


class TestLetsTwoWrite(Suite):
    adapter = adapter(ManyWriters)


class GoesOnAtTheRecord(MemoryStore):
    """What follows a record begins with the record itself."""

    def keys(self, after=None):
        if after is not None:
            yield self.get(after).key
        yield from super().keys(after)


class TestGoesOnAtTheRecord(Suite):
    adapter = adapter(GoesOnAtTheRecord)
