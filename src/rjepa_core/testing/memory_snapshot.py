"""The committed state of a store in memory, and snapshots of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import dropwhile, islice
from typing import Any, TypeVar

import attrs
import numpy as np
from numpy.typing import NDArray

from ..domain.grade import Grade
from ..domain.identity import Identity
from ..domain.latents import LatentRecord, Vectors, check_buffers
from ..domain.trace import Failure, RecordKey, check_key, check_keys, list_keys
from ..errors import ArgumentError, StoreClosedError
from ..ports.store import Entry

T = TypeVar("T")


@attrs.frozen
class State:
    """A committed state. Commits replace it without changing it; a snapshot just refers to it."""

    identity: Identity | None = None
    records: Mapping[RecordKey, LatentRecord] = attrs.field(factory=dict)
    failures: Mapping[RecordKey, Failure] = attrs.field(factory=dict)
    history: tuple[dict[str, Any], ...] = ()
    grades: Mapping[RecordKey, Grade] = attrs.field(factory=dict)


class MemorySnapshot:
    """A snapshot of a store in memory; its arrays are the store's own and must not be changed."""

    def __init__(self, state: State) -> None:
        self._kept: State | None = state

    def close(self) -> None:
        """Release the state, so that its records can be freed."""
        self._kept = None

    def __len__(self) -> int:
        return len(self._state.records)

    def keys(self, after: RecordKey | None = None) -> Iterator[RecordKey]:
        keys = iter(self._state.records)
        if after is not None:
            self.get(after)
            keys = islice(dropwhile(lambda key: key != after, keys), 1, None)
        return self._while_open(keys)

    def entries(self) -> Iterator[tuple[RecordKey, Entry]]:
        items = self._state.records.items()
        return self._while_open((key, entry_of(record)) for key, record in items)

    def get(self, key: RecordKey) -> LatentRecord:
        check_key(key)
        if key not in self._state.records:
            raise KeyError(f"no record {key}")
        return self._state.records[key]

    def read_latents(
        self, keys: Sequence[RecordKey], latents: Vectors, prompts: Vectors | None = None
    ) -> NDArray[np.int64]:
        keys = list_keys(keys)
        check_buffers(len(keys), latents, prompts)
        records = [self.get(key) for key in check_keys(keys)]
        steps = np.zeros(len(keys), np.int64)
        room = latents.shape[1:]
        for row, record in enumerate(records):
            layers, steps[row], width = record.latents.shape
            if (layers, width) != (room[0], room[2]) or steps[row] > room[1]:
                raise ArgumentError(
                    f"latents: got rows {list(room)}, expected room for {record.key}, which is "
                    f"{list(record.latents.shape)}"
                )
            latents[row, :, : steps[row]] = record.latents
            latents[row, :, steps[row] :] = 0
            if prompts is not None:
                prompts[row] = record.prompt_latent
        return steps

    def failures(self) -> Iterator[Failure]:
        return self._while_open(iter(self._state.failures.values()))

    @property
    def _state(self) -> State:
        if self._kept is None:
            raise StoreClosedError("this snapshot is closed; read inside its `with` block")
        return self._kept

    def _while_open(self, items: Iterator[T]) -> Iterator[T]:
        _ = self._state
        for item in items:
            yield item
            _ = self._state


def entry_of(record: LatentRecord) -> Entry:
    """Return the entry of a record."""
    trace = record.trace
    return Entry(
        trace.problem.statement_hash,
        steps=record.latents.shape[1],
        tokens=len(trace.completion_ids),
    )
