"""What a verifier learns from besides latents: labels and log-probabilities, read once."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping

import attrs
import numpy as np
from numpy.typing import NDArray

from rjepa_core.domain.latents import LatentRecord
from rjepa_core.domain.provenance import OF_PROBLEM
from rjepa_core.domain.trace import RecordKey, Trace
from rjepa_core.ports.store import KeepsGrades, LatentStore, Snapshot
from rjepa_core.settings import DataSettings
from rjepa_core.training.labels import Labels, labels_of, original_of, problem_of

Floats = NDArray[np.float32]


@attrs.frozen(eq=False)
class Supervision:
    """Of N records with T steps in all.

    Attributes:
        first: int64 [N + 1], where the steps of each record begin.
        wrong: float32 [T], 1 for a wrong step, 0 for a right one, NaN where it is not known.
        logprobs: float32 [T], NaN where a record has none.
        right: float32 [N], 1 for a right answer, 0 for a wrong one, NaN where it is not known.
        kinds: how many records there are of each kind.
        without_logprobs: of how many records log-probabilities are missing.
    """

    first: NDArray[np.int64]
    wrong: Floats
    logprobs: Floats
    right: Floats
    kinds: Mapping[str, int]
    without_logprobs: int

    def of(self, rows: NDArray[np.int64], steps: int) -> tuple[Floats, Floats, Floats]:
        """Labels [B, S] and log-probabilities [B, S] of steps, and labels [B] of answers, of
        records of S steps each."""
        places = self.first[rows][:, None] + np.arange(steps)
        return self.wrong[places], self.logprobs[places], self.right[rows]


class Labeller:
    """Reads the labels of one store's records.

    Args:
        store: which keeps their grades, if any.
        snapshot: of it.
        data: which labels are used.
    """

    def __init__(self, store: LatentStore, snapshot: Snapshot, data: DataSettings) -> None:
        self._snapshot, self._data = snapshot, data
        self._grades = store if isinstance(store, KeepsGrades) else None
        self._known: dict[str, str] | None = None

    def problem_of(self, trace: Trace) -> str:
        """Hash of the statement by which a record is split."""
        if OF_PROBLEM not in trace.metadata and self._known is None:
            # Written by an older version: one more pass over the store.
            traces = (self._snapshot.get(key).trace for key, _ in self._snapshot.entries())
            self._known = dict(found for one in traces if (found := original_of(one)))
        return problem_of(trace, self._known)

    def labels(self, key: RecordKey, record: LatentRecord, steps: int) -> Labels | str:
        """What is known about a record, or why it is not learned from."""
        grade = None if self._grades is None else self._grades.grade(key)
        return labels_of(record.trace, steps, grade, self._data)


@attrs.define
class Supervised:
    """Labels as they are found, in plain buffers."""

    steps: array[int] = attrs.field(factory=lambda: array("i"))
    wrong: array[float] = attrs.field(factory=lambda: array("f"))
    logprobs: array[float] = attrs.field(factory=lambda: array("f"))
    right: array[float] = attrs.field(factory=lambda: array("f"))
    kinds: Counter[str] = attrs.field(factory=Counter)
    missing: int = 0

    def add(self, labels: Labels, logprobs: Floats | None) -> None:
        """The next record."""
        self.steps.append(len(labels.wrong))
        self.wrong.frombytes(labels.wrong.astype(np.float32).tobytes())
        found = np.full(len(labels.wrong), np.nan) if logprobs is None else logprobs
        self.logprobs.frombytes(found.astype(np.float32).tobytes())
        self.right.append(np.nan if labels.right is None else float(labels.right))
        self.kinds[labels.kind] += 1
        self.missing += logprobs is None

    def done(self) -> Supervision:
        """All of them."""
        return Supervision(
            np.concatenate([[0], np.cumsum(self.steps)]).astype(np.int64),
            np.array(self.wrong, np.float32),
            np.array(self.logprobs, np.float32),
            np.array(self.right, np.float32),
            dict(sorted(self.kinds.items())),
            self.missing,
        )
