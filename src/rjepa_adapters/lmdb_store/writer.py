"""Collect changes for a commit, and apply them in a transaction."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs

from rjepa_core.domain.grade import Grade
from rjepa_core.domain.identity import Identity
from rjepa_core.domain.latents import LatentRecord, check_fits
from rjepa_core.domain.trace import Failure, RecordKey, check_key
from rjepa_core.errors import StatementChangedError, StoreError, StoreGoneError
from rjepa_core.ports.store import Entry
from rjepa_core.text import count

from .environment import Environment
from .format.checksum import checksum
from .format.head import Head, encode_head
from .format.record import EncodedRecord, encode_key, encode_place, encode_record, encode_sequence
from .format.values import (
    GRADES_TALLY,
    decode_grades_tally,
    encode_failure,
    encode_grade,
    encode_grades_tally,
    grade_digest,
)
from .metadata import Tally, read_tally, write_tally
from .reader import Reader
from .settings import LmdbSettings


@attrs.define
class PendingChanges:
    """Records and failures that wait for the next commit, at most one per key, and grades."""

    records: dict[RecordKey, EncodedRecord] = attrs.field(factory=dict)
    failures: dict[RecordKey, Failure] = attrs.field(factory=dict)
    grades: dict[RecordKey, Grade] = attrs.field(factory=dict)
    bytes: int = 0
    since_commit: int = 0

    def __bool__(self) -> bool:
        return bool(self.records or self.failures or self.grades)

    def entry(self, key: RecordKey) -> Entry | None:
        if key in self.records:
            head = self.records[key].head
            return Entry(head.statement_hash, steps=head.steps, tokens=head.tokens)
        if key in self.failures:
            return Entry(self.failures[key].statement_hash, failed=True)
        return None

    def add(
        self,
        records: Sequence[EncodedRecord],
        failures: Iterable[Failure],
        grades: Iterable[Grade] = (),
    ) -> None:
        for record in records:
            self.records[record.key] = record
            self.failures.pop(record.key, None)
            self.grades.pop(record.key, None)
            self.bytes += len(record.vectors) + len(record.texts)
            self.since_commit += 1
        for failure in failures:
            self.failures[failure.key] = failure
            self.since_commit += 1
        for grade in grades:
            self.grades[grade.key] = grade
            self.since_commit += 1


@attrs.define
class CheckedBatch:
    """The records and failures of one `write`, checked and encoded before any is accepted.

    Attributes:
        location: of the store, for messages.
        identity: of the store.
        entry: returns the store's entry of a key.
        records, failures: what passed the checks.
    """

    location: str
    identity: Identity
    entry: Callable[[RecordKey], Entry | None]
    records: list[EncodedRecord] = attrs.field(factory=list)
    failures: list[Failure] = attrs.field(factory=list)
    _known: dict[RecordKey, Entry] = attrs.field(factory=dict, init=False)

    def add_record(self, record: LatentRecord) -> None:
        """Check and add a record; raise as `LatentStore.write` does."""
        check_fits(record, self.identity)
        encoded = encode_record(record)
        digest = encoded.head.statement_hash
        self._same_statement(encoded.key, digest)
        self._known[encoded.key] = Entry(digest)
        self.records.append(encoded)

    def add_failure(self, failure: Failure) -> None:
        """Check and add a failure, unless its key has a record; raise as `add_record` does."""
        check_key(failure.key, "the failure's key")
        entry = self._same_statement(failure.key, failure.statement_hash)
        if entry is None or entry.failed:
            self._known[failure.key] = Entry(failure.statement_hash, failed=True)
            self.failures.append(failure)

    def _same_statement(self, key: RecordKey, statement_hash: str) -> Entry | None:
        entry = self._known.get(key) or self.entry(key)
        if entry is not None and entry.statement_hash != statement_hash:
            raise StatementChangedError(
                f"{self.location}: {key} is stored with another statement; use another store, or "
                "give the changed problem another id"
            )
        return entry


class TransactionWriter:
    """Applies changes in one write transaction and writes the tally at its end."""

    def __init__(self, environment: Environment, txn: Any) -> None:
        self._table = environment.table
        self._environment = environment
        self._txn = txn
        self._reader = Reader(environment, txn)
        self._tally = read_tally(environment, txn)
        self._sequence = self._tally.next_sequence
        self._changes: Counter[str] = Counter()
        self._grades = GradesTable(environment.later_table("grades"), txn)

    def put_record(self, record: EncodedRecord) -> None:
        """Store a record, replacing the record or failure of its key."""
        self.remove_failure(record.key, record.raw_key)
        self.remove_record(record.key, record.raw_key)
        head, sequence = record.head, self._sequence
        number = encode_sequence(sequence)
        new_problem = not self._has_problem(record.raw_key)
        # Numbers only grow: appending fills whole pages and keeps blocks in order on disk.
        self._txn.put(number, record.vectors, db=self._table("vectors"), append=True)
        self._txn.put(number, record.texts, db=self._table("texts"), append=True)
        place = encode_place(number, record.raw_key)
        self._txn.put(number, place, db=self._table("order"), append=True)
        value = encode_head(record.raw_key, head, sequence)
        self._txn.put(record.raw_key, value, db=self._table("index"))
        self._count(1, record.raw_key, head, new_problem)
        self._sequence += 1

    def put_failure(self, failure: Failure) -> None:
        """Store a failure, unless its key has a record."""
        raw_key, value = encode_failure(failure)
        if self._txn.get(raw_key, db=self._table("index")) is not None:
            return
        self.remove_failure(failure.key, raw_key)
        self._txn.put(raw_key, value, db=self._table("failures"))
        self._change(1, failures=1, failures_digest=_failure_digest(raw_key, value))

    def remove_record(self, key: RecordKey, raw_key: bytes) -> bool:
        """Remove the record of a key; return whether there was one."""
        value = self._txn.get(raw_key, db=self._table("index"))
        if value is None:
            return False
        head = self._reader.head(raw_key, value, str(key))
        number = encode_sequence(head.sequence)
        for table in ("vectors", "texts", "order"):
            self._txn.delete(number, db=self._table(table))
        self._txn.delete(raw_key, db=self._table("index"))
        self._grades.remove(raw_key)
        self._count(-1, raw_key, head, not self._has_problem(raw_key))
        return True

    def remove_failure(self, key: RecordKey, raw_key: bytes) -> bool:
        """Remove the failure of a key; return whether there was one."""
        value = self._txn.get(raw_key, db=self._table("failures"))
        if value is None:
            return False
        self._reader.failure(raw_key, value, str(key))
        digest = _failure_digest(raw_key, value)
        self._txn.delete(raw_key, db=self._table("failures"))
        self._change(-1, failures=1, failures_digest=digest)
        return True

    def put_grade(self, grade: Grade) -> None:
        """Store a grade in place of an earlier one, unless its key has no record."""
        raw_key = encode_key(grade.key)
        value = self._txn.get(raw_key, db=self._table("index"))
        if value is not None:
            head = self._reader.head(raw_key, value, str(grade.key))
            self._grades.put(*encode_grade(grade, head.sequence))

    def finish(self) -> Tally:
        """Write and return the tally, as the last change in the transaction."""
        self._grades.finish()
        tally = attrs.evolve(
            self._tally.changed(1, **self._changes),
            commit=self._tally.commit + 1,
            next_sequence=self._sequence,
        )
        write_tally(self._environment, self._txn, tally)
        return tally

    def _has_problem(self, raw_key: bytes) -> bool:
        """Return whether any sample of the key's problem has a record."""
        prefix = raw_key[:-4]
        with self._txn.cursor(self._table("index")) as cursor:
            return bool(cursor.set_range(prefix)) and bytes(cursor.key())[:-4] == prefix

    def _change(self, sign: int, **amounts: int) -> None:
        for name, amount in amounts.items():
            self._changes[name] += sign * amount

    def _count(self, sign: int, raw_key: bytes, head: Head, problem: bool) -> None:
        self._change(
            sign,
            records=1,
            problems=int(problem),
            steps=head.steps,
            tokens=head.tokens,
            records_digest=head.digest(raw_key),
        )


class GradesTable:
    """The table of grades in a write transaction; it keeps a tally of its own.

    That of the records is read by versions which know nothing of grades.

    Args:
        table: its handle, None where there is none.
    """

    def __init__(self, table: Any, txn: Any) -> None:
        self._table, self._txn = table, txn
        found = txn.get(GRADES_TALLY, db=table) if table is not None else None
        self._count, self._digest = decode_grades_tally(found) if found is not None else (0, 0)
        self._changed = False

    def put(self, raw_key: bytes, value: bytes) -> None:
        """Store a grade."""
        self.remove(raw_key)
        self._txn.put(raw_key, value, db=self._table)
        self._change(1, raw_key, value)

    def remove(self, raw_key: bytes) -> None:
        """Remove the grade of a key, if there is one."""
        value = self._txn.get(raw_key, db=self._table) if self._table is not None else None
        if value is not None:
            self._change(-1, raw_key, value)
            self._txn.delete(raw_key, db=self._table)

    def finish(self) -> None:
        """Write the tally if it has changed."""
        if self._changed:
            value = encode_grades_tally(self._count, self._digest)
            self._txn.put(GRADES_TALLY, value, db=self._table)

    def _change(self, sign: int, raw_key: bytes, value: Any) -> None:
        self._count += sign
        self._digest = (self._digest + sign * grade_digest(raw_key, value)) % 2**128
        self._changed = True


def apply_pending(environment: Environment, txn: Any, pending: PendingChanges) -> Tally:
    """Apply all pending changes in a transaction and return the new tally."""
    writer = TransactionWriter(environment, txn)
    for record in pending.records.values():
        writer.put_record(record)
    for failure in pending.failures.values():
        writer.put_failure(failure)
    for grade in pending.grades.values():
        writer.put_grade(grade)
    return writer.finish()


def apply_delete(environment: Environment, txn: Any, keys: Iterable[RecordKey]) -> int:
    """Remove records and failures; return how many there were."""
    writer = TransactionWriter(environment, txn)
    count = 0
    for key in keys:
        raw_key = encode_key(key)
        count += writer.remove_record(key, raw_key) + writer.remove_failure(key, raw_key)
    writer.finish()
    return count


def _failure_digest(raw_key: bytes, value: Any) -> int:
    return int.from_bytes(checksum(raw_key, value), "little")


# A commit's records wait in memory; bounding their size bounds the memory of merge and import.
_MOST_BYTES = 64 * 2**20


class Commits:
    """Collects what is written and commits it when due, from a timer thread if need be.

    Attributes:
        mutex: held while pending changes are read or changed.
    """

    def __init__(self, environment: Environment, settings: LmdbSettings) -> None:
        self.mutex = threading.RLock()
        self._environment = environment
        self._settings = settings
        self._pending = PendingChanges()
        self._timer: threading.Timer | None = None
        self._last = time.monotonic()
        self._stopped = False

    def take(
        self,
        records: Sequence[EncodedRecord],
        failures: Sequence[Failure],
        grades: Sequence[Grade] = (),
    ) -> None:
        """Add pending changes; commit if a commit is due."""
        with self.mutex:
            self._pending.add(records, failures, grades)
            if self._due():
                self.commit()
            elif self._pending and self._timer is None:
                self._start_timer()

    def commit(self) -> None:
        """Commit the pending changes.

        Raises:
            DiskFullError: the disk is full; the changes stay pending.
            StoreGoneError: the store is no longer at its path; see `require_current`.
        """
        with self.mutex:
            self._stop_timer()
            pending = self._pending
            try:
                require_current(self._environment)
                if pending.grades:
                    self._environment.make_later_table("grades")
                if pending:
                    self._environment.write(
                        lambda txn: apply_pending(self._environment, txn, pending)
                    )
                    self._pending = PendingChanges()
            except StoreError as error:
                if not pending.records:
                    raise
                waiting = count(len(pending.records), "record")
                raise type(error)(
                    f"{error} (not stored: {waiting} since the last commit)"
                ) from None
            self._last = time.monotonic()

    def entry(self, key: RecordKey) -> Entry | None:
        """Return the entry of a key's pending change; None if there is none."""
        return self._pending.entry(key)

    def grade(self, key: RecordKey) -> Grade | None:
        """The grade that waits under a key."""
        return self._pending.grades.get(key)

    def has_record(self, key: RecordKey) -> bool:
        """Whether a record waits under a key."""
        return key in self._pending.records

    def waiting(self) -> list[RecordKey]:
        """Return the keys of the pending records."""
        with self.mutex:
            return list(self._pending.records)

    def stop(self) -> None:
        """Stop committing by timer."""
        self._stopped = True
        self._stop_timer()

    def _due(self) -> bool:
        if self._pending.bytes > _MOST_BYTES:
            return True
        every = self._settings.checkpoint_every
        if every is not None:
            return self._pending.since_commit >= every
        return time.monotonic() - self._last >= self._settings.checkpoint_seconds

    def _start_timer(self) -> None:
        """Start the timer that commits if nothing more is written; none with `checkpoint_every`."""
        if self._settings.checkpoint_every is not None:
            return
        left = self._last + self._settings.checkpoint_seconds - time.monotonic()
        self._timer = threading.Timer(max(0.0, left), self._on_time)
        self._timer.daemon = True
        self._timer.start()

    def _on_time(self) -> None:
        with self.mutex:
            self._timer = None
            try:
                if not self._stopped:
                    self.commit()
            except StoreError:
                pass  # The changes stay pending: the next write or close tries again and raises.

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def require_current(environment: Environment) -> None:
    """Refuse to write to a store whose file was deleted or replaced: LMDB would not notice.

    Raises:
        StoreGoneError: the file at the store's path is not the one that is open.
    """
    if not environment.is_current():
        raise StoreGoneError(
            f"{environment.path}: the store is gone: it was deleted, moved or replaced while it "
            "was open; put it back, or start again in another place"
        )
