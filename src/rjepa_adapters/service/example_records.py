"""Choose records of a store that can be examples: short, readable, if possible not wrong."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations, islice, product

import attrs

from rjepa_core.domain.grade import WRONG
from rjepa_core.domain.latents import LatentRecord
from rjepa_core.domain.problem import Split, split_of
from rjepa_core.domain.provenance import CLEAN, KIND, WRONG_STEP
from rjepa_core.domain.trace import RecordKey
from rjepa_core.errors import StoreError
from rjepa_core.ports.store import Entry, KeepsGrades
from rjepa_core.training.labels import label_of

from .record_search import fold
from .records import ForeignStep, Records, with_foreign

# Entries that are looked at, records that are tried, and what is short enough to be read.
_LOOKED, _TRIED, _CHARACTERS = 100_000, 24, 1000
# Steps of a solution; any others only where there are none of these.
_STEPS = ((3, 6), (2, 40))
PARTS = {
    Split.TEST: "test part",
    Split.VALIDATION: "validation part",
    Split.TRAIN: "training part",
}


@attrs.frozen(eq=False)
class Candidate:
    """A record to be an example, and a step of the next one to be put into it."""

    record: LatentRecord
    donor: LatentRecord
    foreign: ForeignStep

    @property
    def spoiled(self) -> LatentRecord:
        """The record with the foreign step in it."""
        return with_foreign(self.record, self.donor, self.foreign)


def candidates_in(records: Records, wrong: bool = False) -> list[Candidate]:
    """Short solutions, of the test part if there are some, else of the next part.

    Args:
        records: to choose from.
        wrong: whether they may be known to be wrong.
    """
    entries = _entries(records)
    for steps, part in product(_STEPS, PARTS):
        found: dict[str, LatentRecord] = {}  # One of each problem.
        for key, entry in entries:
            if entry.statement_hash in found or not _fits(records, key, entry, part, steps):
                continue
            record = _get(records, key)
            if record is not None and (wrong or not _known_wrong(records, record)):
                found[entry.statement_hash] = record
            if len(found) > _TRIED:
                break
        if len(found) > 1:
            first, *rest = found.values()
            return [
                Candidate(one, donor, _foreign(one, donor))
                for one, donor in zip(found.values(), [*rest, first], strict=True)
            ][:_TRIED]
    return []


def _foreign(record: LatentRecord, donor: LatentRecord) -> ForeignStep:
    """The middle step of the donor, in the middle."""
    return ForeignStep(donor.key, donor.latents.shape[1] // 2, record.latents.shape[1] // 2)


def pair_in(records: Records) -> list[LatentRecord]:
    """Two different solutions of one problem, if possible one of them known to be wrong; empty if
    there are none."""
    entries = _entries(records)
    any_two: list[LatentRecord] = []
    for steps, part in product(_STEPS, PARTS):
        samples: dict[str, list[RecordKey]] = defaultdict(list)
        for key, entry in entries:
            if _fits(records, key, entry, part, steps):
                samples[key.problem_id].append(key)
        several = (keys for keys in samples.values() if len(keys) > 1)
        for keys in islice(several, _TRIED):
            found = [record for record in (_get(records, key) for key in keys[:_TRIED]) if record]
            for one, other in combinations(found, 2):
                if fold(one.trace.completion) == fold(other.trace.completion):
                    continue
                if _known_wrong(records, one) != _known_wrong(records, other):
                    return [one, other]
                any_two = any_two or [one, other]
        if any_two:
            break
    return any_two


def _entries(records: Records) -> list[tuple[RecordKey, Entry]]:
    with records.store.snapshot() as store:
        return list(islice(store.entries(), _LOOKED))


def _fits(
    records: Records, key: RecordKey, entry: Entry, part: Split, steps: tuple[int, int]
) -> bool:
    return (
        not entry.failed
        and steps[0] <= entry.steps <= steps[1]
        and split_of(entry.statement_hash) is part
        and key not in records.refused
    )


def _get(records: Records, key: RecordKey) -> LatentRecord | None:
    """A record, unless it is damaged, or was deleted, or is not to be read."""
    try:
        record = records.store.get(key)
    except (KeyError, StoreError):
        return None
    return record if _readable(record) else None


def _known_wrong(records: Records, record: LatentRecord) -> bool:
    """Whether the store says that a solution is wrong, or was damaged."""
    said, store = record.trace.metadata, records.store
    grade = store.grade(record.key) if isinstance(store, KeepsGrades) else None
    wrong = label_of(record.trace) is False or (grade is not None and grade.mark == WRONG)
    return wrong or WRONG_STEP in said or said.get(KIND, CLEAN) != CLEAN


def _readable(record: LatentRecord) -> bool:
    texts = record.trace.step_texts
    short = len(record.trace.problem.statement) + sum(map(len, texts)) <= _CHARACTERS
    return short and bool(texts) and all(text.strip() for text in texts)
