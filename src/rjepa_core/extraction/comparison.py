"""Compare the work of a run with what a store holds, while the sources are read once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import attrs

from ..domain.latents import LatentRecord
from ..domain.problem import SOLUTION_DIGEST, GivenSolution
from ..domain.trace import RecordKey, Work
from ..errors import StatementChangedError
from ..ports.store import Entry, LatentStore
from ..stores import DigestTable
from .completed import completed_fields, find_completed, fingerprint_of
from .queue import WINDOW
from .work import StoredTraces, Survey, Worklist


class Entries(Protocol):
    """What is asked of a store here."""

    @property
    def location(self) -> str: ...

    def entry(self, key: RecordKey) -> Entry | None: ...

    def get(self, key: RecordKey) -> LatentRecord: ...


_STATEMENT_BYTES = 16


class StoredEntries:
    """The entries of a store as one walk found them: about 50 bytes of memory each.

    A walk in the store's order takes a fraction of the time of as many look-ups.
    """

    def __init__(self, store: LatentStore) -> None:
        self._store = store
        self._keys = DigestTable()
        self._statements = bytearray()
        self._failed = bytearray()
        # Those that are not 32 hexadecimal digits.
        self._other_statements: dict[int, str] = {}
        for key, entry in store.entries():
            self._add(key, entry.statement_hash, failed=False)
        for failure in store.failures():
            self._add(failure.key, failure.statement_hash, failed=True)

    @property
    def location(self) -> str:
        """See `LatentStore`."""
        return self._store.location

    def entry(self, key: RecordKey) -> Entry | None:
        """Return what the walk found under a key, without steps and tokens; None if nothing."""
        number = self._keys.find(str(key))
        if number is None:
            return None
        start = number * _STATEMENT_BYTES
        statement = self._statements[start : start + _STATEMENT_BYTES].hex()
        return Entry(self._other_statements.get(number, statement), bool(self._failed[number]))

    def get(self, key: RecordKey) -> LatentRecord:
        """See `LatentStore`."""
        return self._store.get(key)

    def _add(self, key: RecordKey, statement_hash: str, failed: bool) -> None:
        number, new = self._keys.add(str(key))
        if not new:
            return
        try:
            statement = bytes.fromhex(statement_hash)
        except ValueError:
            statement = b""
        if statement.hex() != statement_hash or len(statement) != _STATEMENT_BYTES:
            self._other_statements[number] = statement_hash
            statement = bytes(_STATEMENT_BYTES)
        self._statements += statement
        self._failed.append(failed)


@attrs.frozen
class Remaining:
    """How much of a run's work is stored, failed or missing in a store."""

    stored: int
    failed: int
    missing: int


@attrs.define
class Comparison:
    """Counts what of a run's work a store holds.

    Attributes:
        store: what it holds.
        retry_failed: whether failed work is missing.
        check: whether what is stored must also match what is asked for. For given solutions this
            reads whole records, because their sample index is only their position in the file.
        stored, failed, missing: counts; what is tried again counts as failed and as missing.
        first: the first missing work, all of it if it is little.
    """

    store: Entries
    retry_failed: bool = False
    check: bool = False
    stored: int = 0
    failed: int = 0
    missing: int = 0
    first: list[Work] = attrs.field(factory=list)
    _changed: StatementChangedError | None = None

    def see(self, item: Work) -> None:
        """Count one item of the work."""
        entry = self.store.entry(item.key)
        if entry is not None and self.check and self._changed is None:
            # Raised at the end: what is wrong with the sources themselves comes first.
            self._changed = _difference(item, entry, self.store)
        self.stored += entry is not None and not entry.failed
        self.failed += entry is not None and entry.failed
        if entry is None or (entry.failed and self.retry_failed):
            self.missing += 1
            if len(self.first) < WINDOW:
                self.first.append(item)

    def remaining(self) -> Remaining:
        """Return the counts of what was seen.

        Raises:
            StatementChangedError: a known id has another statement, or a known sample another
                solution.
        """
        if self._changed is not None:
            raise self._changed
        return Remaining(self.stored, 0 if self.retry_failed else self.failed, self.missing)


def remaining(
    work: Iterable[Work], store: Entries, retry_failed: bool, check: bool = False
) -> Remaining:
    """Return the counts of what is stored, failed and missing; see `Comparison`.

    Raises:
        StatementChangedError: a known id has another statement, or a known sample another solution.
    """
    comparison = Comparison(store, retry_failed, check)
    for item in work:
        comparison.see(item)
    return comparison.remaining()


def missing(work: Iterable[Work], store: Entries, retry_failed: bool) -> Iterator[Work]:
    """Yield the work that the store lacks; nothing else records what is done."""
    for item in work:
        entry = store.entry(item.key)
        if entry is None or (entry.failed and retry_failed):
            yield item


def _difference(item: Work, entry: Entry, store: Entries) -> StatementChangedError | None:
    if entry.statement_hash != item.problem.statement_hash:
        return StatementChangedError(
            f"problem {item.problem.id!r} is in {store.location} with another statement; "
            "use another store.path, or give the changed problem another id"
        )
    if isinstance(item.given, GivenSolution) and not entry.failed:
        known = store.get(item.key).trace.metadata.get(SOLUTION_DIGEST)
        if known is not None and known != item.given.digest:
            return StatementChangedError(
                f"solution {item.sample} of problem {item.problem.id!r} is in {store.location} "
                "with another text: it was changed, or the solutions changed places; use "
                "another store.path"
            )
    return None


@attrs.frozen
class Asked:
    """A run's work, read once and compared with the store.

    Attributes:
        survey: what is asked for.
        before: how much of it the store holds.
        failed: how much of it failed before, whether it is tried again or not.
        fingerprint: of the work; see `fingerprint_of`.
    """

    survey: Survey
    before: Remaining
    failed: int
    _work: Worklist | StoredTraces
    _comparison: Comparison | None = None
    fingerprint: str | None = None

    def missing(self, each: Callable[[], object] = lambda: None) -> Iterator[Work]:
        """Yield the missing work; what is beyond the first window is read again from the sources.

        Args:
            each: called for each item of the work that is read again.
        """
        comparison = self._comparison
        if comparison is None:
            return
        yield from comparison.first
        if comparison.missing == len(comparison.first):
            return
        begun = {item.key for item in comparison.first}

        def work() -> Iterator[Work]:
            for item in self._work:
                each()
                yield item

        later = missing(work(), comparison.store, comparison.retry_failed)
        yield from (item for item in later if item.key not in begun)

    def completed(self, store: LatentStore, failed: int) -> dict[str, Any]:
        """Return what a run keeps in its history when nothing is missing any more.

        Args:
            failed: how much of the work has failed by now.
        """
        return completed_fields(self._work, self.fingerprint, self.survey, failed, store)


def read_once(work: Worklist | StoredTraces, store: LatentStore, retry_failed: bool) -> Asked:
    """Read a run's work, to find mistakes before hours are spent, and compare it with the store.

    What an earlier run completed is not read again if neither it nor the store has changed.

    Raises:
        InputError, UsageError: see `survey`.
        StatementChangedError: see `Comparison`; raised after the sources' own errors.
    """
    fingerprint = fingerprint_of(work)
    completed = find_completed(store, fingerprint)
    if completed is not None and not (retry_failed and completed.failed):
        survey, failed = completed.survey, completed.failed
        before = Remaining(survey.work - failed, failed, 0)
        return Asked(survey, before, failed, work, None, fingerprint)
    comparison = Comparison(StoredEntries(store), retry_failed, check=True)
    survey = work.survey(comparison.see)
    return Asked(survey, comparison.remaining(), comparison.failed, work, comparison, fingerprint)
