"""The store of a service: records to choose from, and stored steps near a prediction."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import attrs
import numpy as np

from rjepa_core.domain.latents import LatentRecord
from rjepa_core.domain.problem import split_of
from rjepa_core.domain.trace import RecordKey, Trace
from rjepa_core.ports.store import LatentStore
from rjepa_core.ports.world_model import Floats, LatentSequence
from rjepa_core.scoring import StoredSteps, sequence_of

from . import problem_details as problems
from .problem_details import ProblemError
from .record_search import RecordSearch, fold
from .schemas import NearOut, RecordOut, RecordsOut

# Skipped records are walked over one by one; a start after a given record is immediate.
MOST_SKIPPED = 10_000
_THREADS = 4


@attrs.frozen
class ForeignStep:
    """A step that is put into another record in place of one of its own.

    Attributes:
        key, step: the record that it is taken from, and its index there.
        at: index of the step whose place it takes.
    """

    key: RecordKey
    step: int
    at: int


class Records:
    """Reads a store; thread-safe, as the store is.

    Attributes:
        threads: pool for reading the store, separate from other work.
    """

    def __init__(self, stored: StoredSteps) -> None:
        self._stored = stored
        self._search = RecordSearch(stored.store)
        self.threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="store")

    @property
    def store(self) -> LatentStore:
        """The store, open for reading."""
        return self._stored.store

    @property
    def layer(self) -> int:
        """Index of the world model's layer among the store's."""
        return self._stored.layer

    @property
    def refused(self) -> frozenset[RecordKey]:
        """The keys of the records that the world model refused."""
        return frozenset(self._stored.nearest.refused)

    def page(self, count: int, first: int = 0, after: RecordKey | None = None) -> RecordsOut:
        """Return `count` records in the store's order, after `after` and `first` more.

        Raises:
            ProblemError: there is no such record, or too many would be skipped.
        """
        _check_skipped(first)
        with self._stored.store.snapshot() as store:
            keys = store.keys() if after is None else store.keys(after)
            try:
                found = list(islice(keys, first, first + count))
            except (KeyError, ValueError):
                raise _missing("/query/after") from None
            records = [_record_out(store.get(key)) for key in found]
            return RecordsOut(records=records, total=len(store))

    def search(self, words: str, count: int, first: int = 0) -> RecordsOut:
        """Return `count` records that hold all the words in id, problem or solution.

        Raises:
            ProblemError: too many would be skipped.
        """
        _check_skipped(first)
        found = self._search.find(words, count, first)
        records = []
        for key in found.keys:
            try:
                records.append(_record_out(self._stored.store.get(key)))
            except KeyError:  # It was deleted since.
                continue
        return RecordsOut(records=records, total=found.total, searched=found.searched)

    def get(
        self, problem_id: str, sample: int, most_steps: int, foreign: ForeignStep | None = None
    ) -> tuple[LatentRecord, LatentSequence]:
        """Return a record, with a foreign step in it if one is given, and its latents in the world
        model's layer.

        Raises:
            ProblemError: there is no such record or step, or it has more than `most_steps` steps.
        """
        record = self._get(problem_id, sample, "/problem_id")
        steps = record.latents.shape[1]
        if steps > most_steps:
            raise ProblemError(
                problems.BAD_INPUT,
                f"{steps} steps, at most {most_steps} are taken",
                "/problem_id",
            )
        if foreign is not None:
            donor = self._get(foreign.key.problem_id, foreign.key.sample, "/foreign_problem_id")
            _check_step(foreign.at, record, "/foreign_at")
            _check_step(foreign.step, donor, "/foreign_step")
            record = with_foreign(record, donor, foreign)
        return record, sequence_of(record, self._stored.layer)

    def nearest(
        self, prediction: Floats, count: int, trace: Trace, worst: int = -1
    ) -> list[NearOut]:
        """Return the stored steps nearest to a prediction [E], with their texts.

        Steps of the same problem are left out, however it is spaced, spelled or named: they would
        give its solution away. So are steps with the text of an earlier one, or of the step
        `worst`, which are no alternatives.
        """
        own_hash, own_id = trace.problem.statement_hash, trace.problem.id
        own_words = _letters(trace.problem.statement)
        said = {fold(words) for words in trace.step_texts[worst:][:1]} if worst >= 0 else set()
        found: list[NearOut] = []
        for one in self._stored.nearest.by_distance(np.asarray(prediction)):
            if len(found) == count:
                break
            entry = self._stored.store.entry(one.key)
            if entry is None or entry.statement_hash == own_hash or one.key.problem_id == own_id:
                continue
            stored = self._stored.store.get(one.key).trace
            words = stored.step_texts[one.step] if one.step < len(stored.step_texts) else ""
            if _letters(stored.problem.statement) == own_words or fold(words) in said:
                continue
            said |= {fold(words)} if words.strip() else set()
            found.append(
                NearOut(
                    text=words,
                    problem_id=one.key.problem_id,
                    sample=one.key.sample,
                    problem=stored.problem.statement,
                    step=one.step,
                    distance=one.distance,
                    split=split_of(entry.statement_hash).value,
                )
            )
        return found

    def _get(self, problem_id: str, sample: int, pointer: str) -> LatentRecord:
        try:
            return self._stored.store.get(RecordKey(problem_id, sample))
        except (KeyError, ValueError):
            raise _missing(pointer) from None


def with_foreign(record: LatentRecord, donor: LatentRecord, foreign: ForeignStep) -> LatentRecord:
    """Return a record in which one step, its text and its latents are another record's."""
    latents = record.latents.copy()
    latents[:, foreign.at] = donor.latents[:, foreign.step]
    logprobs = record.logprobs
    if logprobs is not None and donor.logprobs is not None:
        logprobs = logprobs.copy()
        logprobs[foreign.at] = donor.logprobs[foreign.step]
    texts = _replaced(record.trace.step_texts, donor.trace.step_texts, foreign)
    trace = attrs.evolve(record.trace, step_texts=texts)
    return attrs.evolve(record, trace=trace, latents=latents, logprobs=logprobs)


def _replaced(own: Sequence[str], other: Sequence[str], foreign: ForeignStep) -> tuple[str, ...]:
    if not own or not other:  # An imported record may have vectors only.
        return tuple(own)
    return (*own[: foreign.at], other[foreign.step], *own[foreign.at + 1 :])


def _letters(text: str) -> str:
    """Return the letters and digits of a text, without capitals: what a copy of it keeps."""
    return "".join(filter(str.isalnum, text.casefold()))


def _check_skipped(first: int) -> None:
    if first > MOST_SKIPPED:
        raise ProblemError(
            problems.BAD_BODY,
            f"at most {MOST_SKIPPED:,} are skipped; name the last one seen as `after`",
            "/query/first",
        )


def _check_step(step: int, record: LatentRecord, pointer: str) -> None:
    if step >= record.latents.shape[1]:
        raise ProblemError(
            problems.BAD_INPUT, f"{record.key} has {record.latents.shape[1]} steps", pointer
        )


def _missing(pointer: str) -> ProblemError:
    return ProblemError(problems.NOT_FOUND, "there is no such record", pointer)


def _record_out(record: LatentRecord) -> RecordOut:
    return RecordOut(
        problem_id=record.key.problem_id,
        sample=record.key.sample,
        problem=record.trace.problem.statement,
        solution=record.trace.completion,
        steps=record.latents.shape[1],
        split=split_of(record.trace.problem.statement_hash).value,
    )
