"""Estimate a run before it starts: the size of its records, and whether the disk has space."""

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
from ..errors import NoRoomError, StoreError
from ..ports.executor import Progress
from ..ports.maintenance import Maintenance
from ..ports.store import Entry, LatentStore, Snapshot, StoreStats
from ..settings import STORE_DTYPES, ExtractionSettings
from ..text import count, size
from .work import Survey


@attrs.frozen
class Trial:
    """Measurements of one batch, from which the whole run is extrapolated.

    Attributes:
        problems: rows tried.
        seconds: time they took.
        seconds_per_problem, bytes_per_record: averages over these rows.
        progress: their counts.
    """

    problems: int
    seconds: float
    seconds_per_problem: float
    bytes_per_record: float
    progress: Progress


class SizeSink:
    """A sink that adds up the sizes of records and keeps none."""

    def __init__(self) -> None:
        self.bytes = 0

    def write(self, records: Sequence[LatentRecord], failures: Sequence[Failure] = ()) -> None:
        self.bytes += sum(_size_of(record) for record in records)

    def commit(self) -> None:
        """Do nothing."""


def _size_of(record: LatentRecord) -> int:
    """Return about how many bytes a record takes, including the copies of step texts."""
    trace = record.trace
    arrays = (record.latents, record.prompt_latent, trace.prompt_ids, trace.completion_ids)
    texts = (trace.problem.statement, trace.prompt_text, trace.completion, *trace.step_texts)
    return sum(a.nbytes for a in arrays) + sum(len(t.encode("utf-8", "replace")) for t in texts)


class AbsentStore(LatentStore):
    """Stands in for a store that does not exist: it holds nothing and accepts nothing."""

    # Attributes in place of the port's properties.
    location: str = ""
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
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def _refuse(self) -> NoReturn:
        raise StoreError(f"{self.location} does not exist; a trial keeps nothing")


# A guess until something is stored, rather too high than too low: what GSM8K answers look like, and
# fewer steps only if the longest completion cannot hold as many.
_STEPS, _TOKENS_PER_STEP, _SHARE_OF_LONGEST, _CHARACTERS_PER_TOKEN = 8.0, 40, 0.7, 4
_SHORTEST_STEP = 5
_ENOUGH_RECORDS = 20
# A store from which records were removed keeps their space, and its size overstates its records'.
_MOST_OVERHEAD = 2.0


@attrs.frozen
class DiskRoom:
    """The space that a run is expected to need, and the space there is.

    Attributes:
        records: how many the run is to add.
        steps: expected number per record, on average.
        needed, free: bytes.
        least: bytes that are certainly needed.
        known: whether `steps` is the average of similar records rather than a guess.
    """

    records: int
    steps: float
    needed: int
    free: int
    least: int = 0
    known: bool = True

    @property
    def enough(self) -> bool:
        """Whether there is enough space for what is expected."""
        return self.needed <= self.free


def expected_room(
    maintenance: Maintenance,
    place: str,
    identity: Identity,
    settings: ExtractionSettings,
    survey: Survey,
    stored: StoreStats,
    missing: int,
) -> DiskRoom:
    """Return the space for `missing` more records.

    It is extrapolated from the records that the store holds, if any; otherwise it is a guess from
    the shape of the vectors, the length of the statements and the longest completion.
    """
    free = maintenance.room_free(place)
    characters = survey.characters / max(1, survey.work)
    if stored.records >= _ENOUGH_RECORDS and stored.bytes_on_disk:
        steps = stored.steps / stored.records
        most = _MOST_OVERHEAD * maintenance.room_needed(identity, 1, steps)
        each = min(stored.bytes_on_disk / stored.records, most)
        unused = stored.bytes_on_disk - stored.records * each
        needed = max(0.0, each * missing - unused)
        least = max(0.0, (_vectors(identity, steps) + characters) * missing - unused)
        return DiskRoom(missing, steps, round(needed), free, min(round(least), round(needed)))
    # At least one step, and the prompt with its text.
    template = min(map(len, settings.prompt.templates.values()))
    least = (_vectors(identity, 1.0) + characters + template) * missing
    tokens = characters / _CHARACTERS_PER_TOKEN
    answer = tokens
    if not settings.problems.traces:
        answer = settings.sampling.max_new_tokens * _SHARE_OF_LONGEST
        tokens += answer
        characters += answer * _CHARACTERS_PER_TOKEN
    if stored.records:
        steps = stored.steps / stored.records
    elif survey.steps:
        steps = survey.steps / survey.work
    else:
        steps = max(1.0, min(_STEPS, answer / _SHORTEST_STEP), answer / _TOKENS_PER_STEP)
    # The completion is stored whole and by steps, the statement alone and in its prompt.
    content = _vectors(identity, steps) + 2 * characters + 4 * tokens
    needed = max(maintenance.room_needed(identity, missing, steps), round(content * missing))
    return DiskRoom(missing, steps, needed, free, min(round(least), needed), known=False)


def room_after_trial(
    maintenance: Maintenance, place: str, identity: Identity, trial: Trial, missing: int
) -> DiskRoom:
    """Return the space for `missing` more records like those of a trial."""
    steps = trial.progress.steps / max(1, trial.progress.records)
    needed = maintenance.room_needed(identity, missing, steps)
    needed = max(needed, round(trial.bytes_per_record * missing))
    return DiskRoom(missing, steps, needed, maintenance.room_free(place))


def check_room(room: DiskRoom | None, where: str, force: bool) -> None:
    """Refuse a run that the disk certainly cannot hold, unless it is forced.

    Raises:
        NoRoomError: the disk cannot hold it; the message says what is needed and what there is.
    """
    if room is None or room.least <= room.free or force:
        return
    still = "" if room.known else f"; even of one step each they need {size(room.least)}"
    records = f"{count(room.records, 'record')} of about {count(round(room.steps), 'step')}"
    raise NoRoomError(
        f"{where}: {records} need about {size(room.needed)} and the disk has {size(room.free)} "
        f"free{still}; make room, use another store.path, or set run.force to begin anyway "
        "(a dry run measures the need)"
    )


def _vectors(identity: Identity, steps: float) -> float:
    space = identity.space
    values = len(space.layers) * space.hidden_size * (steps + 1)
    return values * STORE_DTYPES[space.store_dtype].itemsize
