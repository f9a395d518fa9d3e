"""A latent store in memory, for tests and notebooks, that keeps the contract of any other.

Within a process the same name opens the same store, so that a run can be resumed; an empty name
opens a new, private one. It allows one writer at a time, as a store on disk does.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import attrs
import numpy as np
from attrs import validators
from numpy.typing import NDArray

from ..domain.grade import Grade, check_grade
from ..domain.identity import Identity, check_same, known_together
from ..domain.latents import LatentRecord, Vectors, check_fits
from ..domain.trace import Failure, RecordKey, check_key, check_keys
from ..errors import (
    ArgumentError,
    StatementChangedError,
    StoreClosedError,
    StoreError,
    StoreGoneError,
    StoreLockedError,
    StoreNotFoundError,
)
from ..plugins import StoreAdapter, hookimpl
from ..ports.store import (
    Entry,
    LatentStore,
    Snapshot,
    StoreMode,
    StoreStats,
    check_mode,
    json_entry,
)
from .memory_snapshot import MemorySnapshot, State, entry_of


@attrs.frozen(kw_only=True)
class MemorySettings:
    """Settings of the store in memory.

    Attributes:
        checkpoint_every: commit after this many records and failures; None waits for `commit`.
    """

    checkpoint_every: int | None = attrs.field(
        default=None, validator=validators.optional(validators.ge(1))
    )


@attrs.define
class _Place:
    """The store of one name."""

    state: State = attrs.field(factory=State)
    writer: weakref.ref[MemoryStore] | None = None


_places: dict[str, _Place] = {}


def create(location: str, mode: StoreMode, settings: MemorySettings) -> MemoryStore:
    """Open the store of a name; an empty name opens a new, private one."""
    return MemoryStore(location, mode, settings)


def exists(location: str) -> bool:
    """Return whether this process has a store of a name."""
    return location in _places


def forget(location: str) -> None:
    """Drop the store of a name, if there is one."""
    _places.pop(location, None)


class MemoryStore(LatentStore):
    """A `LatentStore` in memory. Records are copied on writing and reading."""

    def __init__(
        self,
        location: str = "",
        mode: StoreMode = "write",
        settings: MemorySettings | None = None,
    ) -> None:
        check_mode(mode)
        self._settings = settings or MemorySettings()
        self._location = location
        if mode == "read" and location not in _places:
            raise StoreNotFoundError(f"memory:{location}: this process has no store of that name")
        self._place = _places.setdefault(location, _Place()) if location else _Place()
        self._writes = mode == "write"
        self._closed = False
        if self._writes:
            if self._place.writer is not None and self._place.writer() is not None:
                raise StoreLockedError(
                    f"memory:{location}: another handle of this process writes to it; close that"
                )
            self._place.writer = weakref.ref(self)
        self._records: dict[RecordKey, LatentRecord] = {}
        self._failures: dict[RecordKey, Failure] = {}
        self._grades: dict[RecordKey, Grade] = {}
        self._waiting = 0

    @property
    def location(self) -> str:
        return f"memory:{self._location}"

    @property
    def identity(self) -> Identity | None:
        return self._state.identity

    def begin(self, identity: Identity) -> None:
        known = self._state.identity
        if known is not None:
            check_same(identity, known, self.location)
            identity = known_together(known, identity)
            if identity == known:
                return
        self._change(identity=identity)

    def write(self, records: Sequence[LatentRecord], failures: Sequence[Failure] = ()) -> None:
        identity = self._writable().identity
        if identity is None:
            raise StoreError(f"{self.location}: written before begin(identity)")
        new: dict[RecordKey, LatentRecord | Failure] = {}
        for record in records:
            check_fits(record, identity)
            self._same_statement(new, record.key, record.trace.problem.statement_hash)
            new[record.key] = _copy(record)
        for failure in failures:
            check_key(failure.key, "the failure's key")
            self._same_statement(new, failure.key, failure.statement_hash)
            entry = self.entry(failure.key)
            if not isinstance(new.get(failure.key), LatentRecord) and (
                entry is None or entry.failed
            ):
                new[failure.key] = failure
        for key, item in new.items():
            if isinstance(item, LatentRecord):
                self._records[key] = item
                self._failures.pop(key, None)
                self._grades.pop(key, None)
            else:
                self._failures[key] = item
        self._wait(len(records) + len(failures))

    def write_grades(self, grades: Sequence[Grade]) -> None:
        self._writable()
        for grade in grades:
            check_grade(grade)
            entry = self.entry(grade.key)
            if entry is None or entry.failed:
                raise ArgumentError(f"{self.location}: {grade.key} has a grade and no record")
        self._grades.update({grade.key: grade for grade in grades})
        self._wait(len(grades))

    def grade(self, key: RecordKey) -> Grade | None:
        check_key(key)
        committed = self._state.grades
        if key in self._grades or key in self._records:
            return self._grades.get(key)
        return committed.get(key)

    def grades(self) -> Iterator[Grade]:
        return iter(list(self._state.grades.values()))

    def _wait(self, more: int) -> None:
        self._waiting += more
        every = self._settings.checkpoint_every
        if every is not None and self._waiting >= every:
            self.commit()

    def commit(self) -> None:
        state = self._writable()
        self._require_current()
        if self._records or self._failures or self._grades:
            # A record written again moves to the end, as on disk.
            kept = {k: r for k, r in state.records.items() if k not in self._records}
            failures = {k: f for k, f in state.failures.items() if k not in self._records}
            grades = {k: g for k, g in state.grades.items() if k not in self._records}
            self._change(
                records={**kept, **self._records},
                failures={**failures, **self._failures},
                grades={**grades, **self._grades},
            )
        self._records, self._failures, self._grades, self._waiting = {}, {}, {}, 0

    def __len__(self) -> int:
        return len(self._state.records.keys() | self._records.keys())

    def entry(self, key: RecordKey) -> Entry | None:
        check_key(key)
        state = self._state
        if key in self._records:
            return entry_of(self._records[key])
        if key in self._failures:
            return Entry(self._failures[key].statement_hash, failed=True)
        if key in state.records:
            return entry_of(state.records[key])
        if key in state.failures:
            return Entry(state.failures[key].statement_hash, failed=True)
        return None

    def keys(self, after: RecordKey | None = None) -> Iterator[RecordKey]:
        return MemorySnapshot(self._state).keys(after)

    def entries(self) -> Iterator[tuple[RecordKey, Entry]]:
        return MemorySnapshot(self._state).entries()

    def get(self, key: RecordKey) -> LatentRecord:
        return _copy(MemorySnapshot(self._state).get(key))

    def read_latents(
        self, keys: Sequence[RecordKey], latents: Vectors, prompts: Vectors | None = None
    ) -> NDArray[np.int64]:
        return MemorySnapshot(self._state).read_latents(keys, latents, prompts)

    def failures(self) -> Iterator[Failure]:
        return MemorySnapshot(self._state).failures()

    def delete(self, keys: Iterable[RecordKey]) -> int:
        self._writable()
        wanted = set(check_keys(keys))
        self.commit()
        state = self._state
        records = {k: r for k, r in state.records.items() if k not in wanted}
        failures = {k: f for k, f in state.failures.items() if k not in wanted}
        grades = {k: g for k, g in state.grades.items() if k not in wanted}
        self._change(records=records, failures=failures, grades=grades)
        return len(state.records) - len(records) + len(state.failures) - len(failures)

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        snapshot = MemorySnapshot(self._state)
        try:
            yield snapshot
        finally:
            snapshot.close()

    def add_history(self, entry: Mapping[str, Any]) -> None:
        self._writable()
        fields = json_entry(entry)
        self.commit()
        self._change(history=(*self._state.history, fields))

    def history(self) -> list[dict[str, Any]]:
        return copy.deepcopy(list(self._state.history))

    def stats(self) -> StoreStats:
        state = self._state
        return StoreStats(
            len(state.records),
            len({key.problem_id for key in state.records}),
            sum(record.latents.shape[1] for record in state.records.values()),
            sum(len(record.trace.completion_ids) for record in state.records.values()),
            len(state.failures),
        )

    def close(self) -> None:
        if self._closed:
            return
        try:
            if self._writes:
                self.commit()
        finally:
            if self._writes:
                self._place.writer = None
            self._closed = True

    def __enter__(self) -> MemoryStore:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        # Unpickling opens the store of that name for reading, if the process has one.
        return MemoryStore, (self._location, "read", self._settings)

    @property
    def _state(self) -> State:
        if self._closed:
            raise StoreClosedError(f"{self.location}: this handle is closed; open the store again")
        return self._place.state

    def _writable(self) -> State:
        state = self._state
        if not self._writes:
            raise StoreError(f"{self.location}: this handle only reads; open it in mode 'write'")
        return state

    def _change(self, **changes: Any) -> None:
        state = self._writable()
        self._require_current()
        self._place.state = attrs.evolve(state, **changes)

    def _require_current(self) -> None:
        if self._location and _places.get(self._location) is not self._place:
            raise StoreGoneError(
                f"{self.location}: the store is gone: it was forgotten while it was open"
            )

    def _same_statement(
        self, new: Mapping[RecordKey, LatentRecord | Failure], key: RecordKey, digest: str
    ) -> None:
        item = new.get(key)
        if isinstance(item, LatentRecord):
            known: str | None = item.trace.problem.statement_hash
        elif item is not None:
            known = item.statement_hash
        else:
            entry = self.entry(key)
            known = entry.statement_hash if entry is not None else None
        if known is not None and known != digest:
            raise StatementChangedError(
                f"{self.location}: {key} is stored with another statement; use another store, or "
                "give the changed problem another id"
            )


def _copy(record: LatentRecord) -> LatentRecord:
    return attrs.evolve(
        record,
        trace=attrs.evolve(
            record.trace,
            prompt_ids=record.trace.prompt_ids.copy(),
            completion_ids=record.trace.completion_ids.copy(),
        ),
        latents=record.latents.copy(),
        prompt_latent=record.prompt_latent.copy(),
        logprobs=None if record.logprobs is None else record.logprobs.copy(),
    )


@hookimpl
def rjepa_stores() -> Iterable[StoreAdapter]:
    return [
        StoreAdapter(
            name="memory",
            summary="in this process's memory; for tests and notebooks",
            settings=MemorySettings,
            create=create,
            exists=exists,
        )
    ]
