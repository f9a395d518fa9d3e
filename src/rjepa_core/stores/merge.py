"""Merge stores through the store port alone."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, islice
from typing import Any, Literal, TypeVar

import attrs

from ..domain.identity import check_same
from ..domain.latents import LatentRecord
from ..domain.trace import RecordKey
from ..errors import MergeConflictError, UsageError
from ..ports.maintenance import Report, ToolProgress, ignore
from ..ports.store import KeepsGrades, LatentStore
from .digests import DigestTable
from .prompt_check import check_prompts_alike

_CHUNK = 32
T = TypeVar("T")
Winner = Literal["refuse", "target", "source"]


@attrs.frozen
class MergeReport:
    """Counts of what `merge` changed in the target.

    Attributes:
        added: records that it did not have.
        equal: records that both had, bit for bit.
        replaced: conflicting records for which the source won.
        kept: conflicting records for which the target won.
        failures: failures added.
        grades: grades taken over, with their records or for equal ones that had none.
        grades_left: grades of such records that were not, because the target keeps none.
    """

    added: int = 0
    equal: int = 0
    replaced: int = 0
    kept: int = 0
    failures: int = 0
    grades: int = 0
    grades_left: int = 0


def merge(
    target: LatentStore,
    sources: Sequence[LatentStore],
    winner: Winner = "refuse",
    report: Report = ignore,
) -> MergeReport:
    """Add the records and failures of `sources` to `target`, a new store or one of equal identity.

    A record replaces a failure of its key, whichever store it is in. The run histories of the
    sources are appended. A record comes with its grade; of equal records the target's is kept.

    Raises:
        IdentityError: the stores' identities differ; nothing is changed.
        MergeConflictError: with `refuse`, a key has different records; nothing is changed.
        UsageError: a source was never written to.
    """
    for source in sources:
        if source.identity is None:
            raise UsageError(f"{source.location}: it was never written to; leave it out")
    # All pairs: what one store does not know must not hide a difference between two others.
    for store, other in combinations([target, *sources], 2):
        if store.identity is not None and other.identity is not None:
            check_same(other.identity, store.identity, store.location)
    check_prompts_alike([target, *sources])
    if target.identity is not None:
        target.commit()
    if winner == "refuse":
        _refuse_conflicts([target, *sources], report)
    result = MergeReport()
    for source in sources:
        assert source.identity is not None
        target.begin(source.identity)
        result = _merge_one(target, source, winner, result, report)
    target.add_history(
        {
            "kind": "merge",
            "sources": [source.location for source in sources],
            "winner": winner,
            **attrs.asdict(result),
        }
    )
    return result


def _merge_one(
    target: LatentStore, source: LatentStore, winner: Winner, result: MergeReport, report: Report
) -> MergeReport:
    counts = attrs.asdict(result)
    total = len(source)
    replaced: list[RecordKey] = []
    with source.snapshot() as snapshot:
        for done, keys in enumerate(chunked(snapshot.keys(), _CHUNK)):
            report(ToolProgress(f"merging {source.location}", done * _CHUNK, total))
            records = []
            graded: list[RecordKey] = []
            for key in keys:
                record = snapshot.get(key)
                entry = target.entry(key)
                if entry is None or entry.failed:
                    counts["added"] += 1
                elif same_record(record, _stored(target, key)):
                    counts["equal"] += 1
                    if not (isinstance(target, KeepsGrades) and target.grade(key)):
                        graded.append(key)
                    continue
                elif winner == "source":
                    counts["replaced"] += 1
                    replaced.append(key)
                else:
                    counts["kept"] += 1
                    continue
                records.append(record)
                graded.append(key)
            if replaced:
                # The statement may differ, which a plain write would refuse.
                target.delete(replaced)
                replaced.clear()
            target.write(records)
            if isinstance(source, KeepsGrades):
                grades = [grade for key in graded if (grade := source.grade(key))]
                if isinstance(target, KeepsGrades):
                    target.write_grades(grades)
                    counts["grades"] += len(grades)
                else:
                    counts["grades_left"] += len(grades)
        for done, failure in enumerate(snapshot.failures()):
            if done % _CHUNK == 0:
                report(ToolProgress(f"merging failures of {source.location}", done))
            if target.entry(failure.key) is None:
                counts["failures"] += 1
                target.write([], [failure])
    for run in source.history():
        target.add_history({**run, "merged_from": source.location})
    target.commit()
    return MergeReport(**counts)


def _refuse_conflicts(stores: Sequence[LatentStore], report: Report) -> None:
    """Refuse stores of which any two hold different records for a key."""
    conflicts: list[str] = []
    # One walk of each store, however many there are: shards of a large run are many.
    known, holders = DigestTable(), array("I")
    for number, store in enumerate(stores):
        for done, (key, _) in enumerate(store.entries()):
            if done % 1000 == 0:
                report(ToolProgress(f"comparing {store.location}", done, len(store)))
            place, new = known.add(str(key))
            if new:
                holders.append(number)
                continue
            earlier = stores[holders[place]]
            ours, theirs = earlier.get(key), store.get(key)
            if not same_record(theirs, ours):
                where = f"{earlier.location}, {store.location}"
                same = ours.trace.problem.statement == theirs.trace.problem.statement
                what = "" if same else ": their problem statements differ"
                conflicts.append(f"{key} ({where}{what})")
            if len(conflicts) > 3:
                break
    if conflicts:
        shown = "; ".join(conflicts[:3]) + ("; …" if len(conflicts) > 3 else "")
        raise MergeConflictError(
            f"different records of the same key: {shown}; say which side wins, target or source"
        )


def _stored(store: LatentStore, key: RecordKey) -> LatentRecord:
    """Return a record that may not be committed yet."""
    try:
        return store.get(key)
    except KeyError:
        store.commit()
        return store.get(key)


def same_record(a: LatentRecord, b: LatentRecord) -> bool:
    """Return whether two records are equal, bit for bit."""
    return all(_same(getattr(a, f.name), getattr(b, f.name)) for f in attrs.fields(type(a)))


def _same(a: Any, b: Any) -> bool:
    if attrs.has(type(a)) and not hasattr(a, "dtype"):
        return type(a) is type(b) and all(
            _same(getattr(a, f.name), getattr(b, f.name)) for f in attrs.fields(type(a))
        )
    if hasattr(a, "tobytes") and hasattr(b, "tobytes"):
        same_kind = a.dtype == b.dtype and a.shape == b.shape
        return bool(same_kind and a.tobytes() == b.tobytes())
    return bool(a == b)


def chunked(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the items in lists of at most `size`."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
