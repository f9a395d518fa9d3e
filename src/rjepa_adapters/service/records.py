"""The store of a service: records to choose from, and stored steps near a prediction."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np

from rjepa_core.domain.latents import LatentRecord
from rjepa_core.domain.trace import RecordKey, Trace
from rjepa_core.ports.world_model import Floats, LatentSequence
from rjepa_core.scoring import StoredSteps, sequence_of

from . import problem_details as problems
from .problem_details import ProblemError
from .schemas import NearOut, RecordOut, RecordsOut

# Skipped records are walked over one by one; a start after a given record is immediate.
MOST_SKIPPED = 10_000
_THREADS = 4


class Records:
    """Reads a store; thread-safe, as the store is.

    Attributes:
        threads: pool for reading the store, separate from other work.
    """

    def __init__(self, stored: StoredSteps) -> None:
        self._stored = stored
        self.threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="store")

    def page(self, count: int, first: int = 0, after: RecordKey | None = None) -> RecordsOut:
        """Return `count` records in the store's order, after `after` and `first` more.

        Raises:
            ProblemError: there is no such record, or too many would be skipped.
        """
        if first > MOST_SKIPPED:
            raise ProblemError(
                problems.BAD_BODY,
                f"at most {MOST_SKIPPED:,} are skipped; name the last one seen as `after`",
                "/query/first",
            )
        with self._stored.store.snapshot() as store:
            keys = store.keys() if after is None else store.keys(after)
            try:
                found = list(islice(keys, first, first + count))
            except (KeyError, ValueError):
                raise _missing("/query/after") from None
            records = [_record_out(store.get(key)) for key in found]
            return RecordsOut(records=records, total=len(store))

    def get(
        self, problem_id: str, sample: int, most_steps: int
    ) -> tuple[LatentRecord, LatentSequence]:
        """Return a record, and its latents in the world model's layer.

        Raises:
            ProblemError: there is no such record, or it has more than `most_steps` steps.
        """
        try:
            record = self._stored.store.get(RecordKey(problem_id, sample))
        except (KeyError, ValueError):
            raise _missing("/problem_id") from None
        steps = record.latents.shape[1]
        if steps > most_steps:
            raise ProblemError(
                problems.BAD_INPUT,
                f"{steps} steps, at most {most_steps} are taken",
                "/problem_id",
            )
        return record, sequence_of(record, self._stored.layer)

    def nearest(self, prediction: Floats, count: int, trace: Trace) -> list[NearOut]:
        """Return the stored steps nearest to a prediction [E], with their texts.

        Steps of the same problem with the text of a step of `trace` are left out, because they are
        not alternatives to what the trace already says.
        """
        own = {words.strip() for words in trace.step_texts}
        found: list[NearOut] = []
        for one in self._stored.nearest.find(np.asarray(prediction), count + 2 * len(own)):
            stored = self._stored.store.get(one.key).trace
            words = stored.step_texts[one.step] if one.step < len(stored.step_texts) else ""
            same = stored.problem.statement_hash == trace.problem.statement_hash
            if same and words.strip() in own:
                continue
            found.append(
                NearOut(
                    text=words,
                    problem_id=one.key.problem_id,
                    sample=one.key.sample,
                    problem=stored.problem.statement,
                    step=one.step,
                    distance=one.distance,
                )
            )
        return found[:count]


def _missing(pointer: str) -> ProblemError:
    return ProblemError(problems.NOT_FOUND, "there is no such record", pointer)


def _record_out(record: LatentRecord) -> RecordOut:
    return RecordOut(
        problem_id=record.key.problem_id,
        sample=record.key.sample,
        problem=record.trace.problem.statement,
        solution=record.trace.completion,
        steps=record.latents.shape[1],
    )
