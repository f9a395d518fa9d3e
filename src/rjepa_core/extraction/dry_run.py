"""For a trial of a run: a sink that weighs records and keeps none, a store that isn't there yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NoReturn

import attrs
import numpy as np
from numpy.typing import NDArray

from ..domain.identity import Identity
from ..domain.latents import LatentRecord, Vectors
from ..domain.trace import Failure, RecordKey
from ..errors import StoreError
from ..ports.executor import Progress
from ..ports.store import Entry, Snapshot, StoreStats


@attrs.frozen
class Trial:
    """What one batch told of the whole run.

    Attributes:
        problems: rows tried.
        seconds: they took.
        seconds_per_problem, bytes_per_record: of these rows.
        progress: their counts.
    """

    problems: int
    seconds: float
    seconds_per_problem: float
    bytes_per_record: float
    progress: Progress


class Scale:
    """A sink that weighs records and keeps none."""

    def __init__(self) -> None:
        self.bytes = 0

    def write(self, records: Sequence[LatentRecord], failures: Sequence[Failure] = ()) -> None:
        self.bytes += sum(weight(record) for record in records)

    def commit(self) -> None:
        """Nothing is kept."""


def weight(record: LatentRecord) -> int:
    """About how many bytes a record takes: arrays as they are, texts with the steps' copies."""
    trace = record.trace
    arrays = (record.latents, record.prompt_latent, trace.prompt_ids, trace.completion_ids)
    texts = (trace.problem.statement, trace.prompt_text, trace.completion, *trace.step_texts)
    return sum(a.nbytes for a in arrays) + sum(len(t.encode("utf-8", "replace")) for t in texts)


class AbsentStore:
    """A store that does not exist: it holds nothing and takes nothing."""

    identity: Identity | None = None

    def __init__(self, location: str) -> None:
        self.location = location

    def __len__(self) -> int:
        return 0

    def entry(self, key: RecordKey) -> Entry | None:
        return None

    def keys(self, after: RecordKey | None = None) -> Iterator[RecordKey]:
        return iter(())

    def entries(self) -> Iterator[tuple[RecordKey, Entry]]:
        return iter(())

    def failures(self) -> Iterator[Failure]:
        return iter(())

    def history(self) -> list[dict[str, Any]]:
        return []

    def stats(self) -> StoreStats:
        return StoreStats()

    def get(self, key: RecordKey) -> LatentRecord:
        raise KeyError(key)

    def read_latents(
        self, keys: Sequence[RecordKey], latents: Vectors, prompts: Vectors | None = None
    ) -> NDArray[np.int64]:
        if keys:
            raise KeyError(keys[0])
        return np.empty(0, np.int64)

    def begin(self, identity: Identity) -> None:
        self._refuse()

    def write(self, records: Sequence[LatentRecord], failures: Sequence[Failure] = ()) -> None:
        self._refuse()

    def delete(self, keys: Iterable[RecordKey]) -> int:
        self._refuse()

    def add_history(self, entry: Mapping[str, Any]) -> None:
        self._refuse()

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        self._refuse()

    def commit(self) -> None:
        """Nothing was written."""

    def close(self) -> None:
        """Nothing is open."""

    def _refuse(self) -> NoReturn:
        raise StoreError(f"{self.location} does not exist; a trial keeps nothing")
