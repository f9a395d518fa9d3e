"""The store beside a service: records to pick, and steps near what was expected."""

from __future__ import annotations

from itertools import islice

import numpy as np

from rjepa_core.errors import StoreError
from rjepa_core.latents import LatentRecord
from rjepa_core.ports.world_model import Floats, LatentSequence
from rjepa_core.serving import StoredSteps
from rjepa_core.text_encoding import sequence_of
from rjepa_core.traces import RecordKey, Trace

from . import problems
from .problems import ProblemError
from .schemas import NearOut, RecordOut, RecordsOut


class Records:
    """Reads a store; safe for several threads, as the store is."""

    def __init__(self, stored: StoredSteps) -> None:
        self._stored = stored

    def some(self, count: int, first: int) -> RecordsOut:
        """Records in the store's order."""
        store = self._stored.store
        keys = (key for key, entry in store.entries() if not entry.failed)
        found = [store.get(key) for key in islice(keys, first, first + count)]
        records = [
            RecordOut(
                problem_id=record.key.problem_id,
                sample=record.key.sample,
                problem=record.trace.problem.statement,
                solution=record.trace.completion,
                steps=len(record.trace.step_texts),
            )
            for record in found
        ]
        return RecordsOut(records=records, total=len(store))

    def get(self, problem_id: str, sample: int) -> tuple[LatentRecord, LatentSequence]:
        """A record, and its latents in the world model's layer."""
        try:
            record = self._stored.store.get(RecordKey(problem_id, sample))
        except (KeyError, ValueError):
            raise ProblemError(
                problems.NOT_FOUND, "there is no such record", "/problem_id"
            ) from None
        except StoreError as error:
            raise ProblemError(problems.BROKEN, str(error)) from None
        return record, sequence_of(record, self._stored.layer)

    def near(self, prediction: Floats, count: int, trace: Trace) -> list[NearOut]:
        """The stored steps nearest to a prediction [E], with their words.

        The steps of `trace` itself are left out where the store holds the problem, too: what is
        there already was not expected instead.
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
