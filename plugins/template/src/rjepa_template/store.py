"""A store in one SQLite file.

SQLite provides what a store promises: atomic transactions, readers that see the last commit while a
writer continues (its write-ahead log), and a state that a reader can keep as long as it wants. A
writer keeps its transaction open between commits, and reads its uncommitted changes through it.
"""

from __future__ import annotations

import json
import os
import sqlite3
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rjepa_core.domain.identity import Identity, check_same, known_together
from rjepa_core.domain.latents import LatentRecord, Vectors, check_fits
from rjepa_core.domain.trace import Failure, RecordKey, check_key, check_keys
from rjepa_core.errors import (
    StatementChangedError,
    StoreClosedError,
    StoreError,
    StoreGoneError,
    StoreLockedError,
    StoreNotFoundError,
)
from rjepa_core.ports.store import (
    Entry,
    LatentStore,
    Snapshot,
    StoreMode,
    StoreStats,
    check_mode,
    json_entry,
)

from .codec import encode_failure, encode_record, id_bytes
from .reading import StoreReader, connect
from .settings import TemplateStoreSettings

APPLICATION = 0x726A6570
# The id comes first: after the switch to a write-ahead log, changes may not be in the file yet.
TABLES = f"""
PRAGMA application_id = {APPLICATION};
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS history (n INTEGER PRIMARY KEY, entry TEXT);
CREATE TABLE IF NOT EXISTS records (n INTEGER PRIMARY KEY, id BLOB, sample INTEGER,
    statement TEXT, steps INTEGER, tokens INTEGER, data BLOB, UNIQUE (id, sample));
CREATE TABLE IF NOT EXISTS failures (n INTEGER PRIMARY KEY, id BLOB, sample INTEGER,
    statement TEXT, data TEXT, UNIQUE (id, sample));
"""


def exists(location: str) -> bool:
    """Return whether there is a store of this kind at `location`."""
    if not os.path.isfile(location):
        return False
    with open(location, "rb") as file:
        head = file.read(72)
    return head[:15] == b"SQLite format 3" and head[68:72] == APPLICATION.to_bytes(4, "big")


class TemplateStore(LatentStore):
    """See `LatentStore`."""

    def __init__(self, location: str, mode: StoreMode, settings: TemplateStoreSettings) -> None:
        check_mode(mode)
        self._place, self._mode, self._settings = location, mode, settings
        self._waiting = 0
        self._closed = True
        self._writer: sqlite3.Connection | None = None
        if mode == "read" and not exists(location):
            raise StoreNotFoundError(f"{self.location}: there is no store; check the path")
        if mode == "write":
            lock = _lock(location, self.location)
            # Held until this handle is closed or garbage-collected.
            self._release_lock = weakref.finalize(self, lock.close)
            if not exists(location):
                for rest in ("-wal", "-shm"):
                    if os.path.exists(location + rest):
                        os.remove(location + rest)
            self._writer = connect(location)
            self._writer.executescript(TABLES)
            weakref.finalize(self, self._writer.close)
        self._inode = os.stat(location).st_ino
        self._reader = StoreReader(location)
        self._closed = False

    @property
    def location(self) -> str:
        return f"template:{self._place}"

    @property
    def identity(self) -> Identity | None:
        found = self._committed().rows("SELECT value FROM meta WHERE name = 'identity'")
        return Identity.from_json(json.loads(found[0][0])) if found else None

    def begin(self, identity: Identity) -> None:
        self._writable()
        self._require_there()
        known = self.identity
        if known is not None:
            check_same(identity, known, self.location)
            # Facts that an older version did not record are added.
            identity = known_together(known, identity)
            if identity == known:
                return
        value = json.dumps(identity.to_json())
        self._in_transaction().execute(
            "INSERT OR REPLACE INTO meta VALUES ('identity', ?)", (value,)
        )
        self.commit()

    def write(self, records: Sequence[LatentRecord], failures: Sequence[Failure] = ()) -> None:
        self._writable()
        identity = self.identity
        if identity is None:
            raise StoreError(f"{self.location}: written before begin(identity)")
        for record in records:
            check_fits(record, identity)
        for failure in failures:
            check_key(failure.key, "the failure's key")
        db = self._in_transaction()
        db.execute("SAVEPOINT batch")
        try:
            for record in records:
                self._put_record(db, record)
            for failure in failures:
                self._put_failure(db, failure)
        except BaseException:
            db.execute("ROLLBACK TO batch")
            raise
        finally:
            db.execute("RELEASE batch")
        self._waiting += len(records) + len(failures)
        every = self._settings.checkpoint_every
        if every is not None and self._waiting >= every:
            self.commit()

    def commit(self) -> None:
        db = self._writable()
        self._require_there()
        if db.in_transaction:
            db.execute("COMMIT")
        self._waiting = 0

    def __len__(self) -> int:
        if self._mode == "read":
            return len(self._committed())
        return int(self._writable().execute("SELECT count(*) FROM records").fetchone()[0])

    def entry(self, key: RecordKey) -> Entry | None:
        self._committed()
        check_key(key)
        db = self._writer or self._reader.db
        named = (id_bytes(key.problem_id), int(key.sample))
        query = "SELECT statement, steps, tokens FROM records WHERE id = ? AND sample = ?"
        if found := db.execute(query, named).fetchone():
            return Entry(found[0], steps=found[1], tokens=found[2])
        query = "SELECT statement FROM failures WHERE id = ? AND sample = ?"
        found = db.execute(query, named).fetchone()
        return Entry(found[0], failed=True) if found else None

    def keys(self, after: RecordKey | None = None) -> Iterator[RecordKey]:
        return self._committed().keys(after)

    def entries(self) -> Iterator[tuple[RecordKey, Entry]]:
        return self._committed().entries()

    def get(self, key: RecordKey) -> LatentRecord:
        return self._committed().get(key)

    def read_latents(
        self, keys: Sequence[RecordKey], latents: Vectors, prompts: Vectors | None = None
    ) -> NDArray[np.int64]:
        return self._committed().read_latents(keys, latents, prompts)

    def failures(self) -> Iterator[Failure]:
        return self._committed().failures()

    def delete(self, keys: Iterable[RecordKey]) -> int:
        self._writable()
        wanted = [(id_bytes(key.problem_id), int(key.sample)) for key in check_keys(keys)]
        self.commit()
        db = self._in_transaction()
        removed = sum(
            db.execute(f"DELETE FROM {table} WHERE id = ? AND sample = ?", named).rowcount
            for named in dict.fromkeys(wanted)
            for table in ("records", "failures")
        )
        self.commit()
        return removed

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        self._committed()
        snapshot = StoreReader(self._place, pinned=True)
        try:
            yield snapshot
        finally:
            snapshot.close()

    def add_history(self, entry: Mapping[str, Any]) -> None:
        self._writable()
        text = json.dumps(json_entry(entry))
        self.commit()
        self._in_transaction().execute("INSERT INTO history (entry) VALUES (?)", (text,))
        self.commit()

    def history(self) -> list[dict[str, Any]]:
        rows = self._committed().rows("SELECT entry FROM history ORDER BY n")
        return [json.loads(row[0]) for row in rows]

    def stats(self) -> StoreStats:
        size = sum(
            os.path.getsize(self._place + part)
            for part in ("", "-wal")
            if os.path.exists(self._place + part)
        )
        return self._committed().stats(size)

    def close(self) -> None:
        if self._closed:
            return
        try:
            if self._mode == "write":
                self.commit()
        finally:
            self._closed = True
            self._reader.close()
            if self._writer is not None:
                self._writer.close()
                self._release_lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return TemplateStore, (os.path.abspath(self._place), "read", self._settings)

    def _committed(self) -> StoreReader:
        if self._closed:
            raise StoreClosedError(f"{self.location}: this handle is closed; open the store again")
        return self._reader

    def _writable(self) -> sqlite3.Connection:
        self._committed()
        if self._writer is None:
            raise StoreError(f"{self.location}: this handle only reads; open it in mode 'write'")
        return self._writer

    def _require_there(self) -> None:
        try:
            gone = os.stat(self._place).st_ino != self._inode
        except FileNotFoundError:
            gone = True
        if gone:
            raise StoreGoneError(
                f"{self.location}: the store is gone: it was deleted or replaced while it was open"
            )

    def _in_transaction(self) -> sqlite3.Connection:
        """Return the writer with an open transaction."""
        db = self._writable()
        if not db.in_transaction:
            db.execute("BEGIN IMMEDIATE")
        return db

    def _put_record(self, db: sqlite3.Connection, record: LatentRecord) -> None:
        key, trace = record.key, record.trace
        self._same_statement(key, trace.problem.statement_hash)
        named = (id_bytes(key.problem_id), int(key.sample))
        db.execute("DELETE FROM failures WHERE id = ? AND sample = ?", named)
        db.execute(
            "INSERT OR REPLACE INTO records (id, sample, statement, steps, tokens, data) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (
                *named,
                trace.problem.statement_hash,
                record.latents.shape[1],
                len(trace.completion_ids),
                encode_record(record),
            ),
        )

    def _put_failure(self, db: sqlite3.Connection, failure: Failure) -> None:
        key = failure.key
        known = self._same_statement(key, failure.statement_hash)
        if known is None or known.failed:
            db.execute(
                "INSERT OR REPLACE INTO failures (id, sample, statement, data) VALUES (?, ?, ?, ?)",
                (
                    id_bytes(key.problem_id),
                    int(key.sample),
                    failure.statement_hash,
                    encode_failure(failure),
                ),
            )

    def _same_statement(self, key: RecordKey, statement: str) -> Entry | None:
        known = self.entry(key)
        if known is not None and known.statement_hash != statement:
            raise StatementChangedError(
                f"{self.location}: {key} is stored with another statement; use another store, or "
                "give the changed problem another id"
            )
        return known


def _lock(path: str, location: str) -> sqlite3.Connection:
    """Return a connection that, until closed, holds a lock on a file beside the store."""
    lock = sqlite3.connect(path + ".lock", timeout=0, isolation_level=None)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:
        lock.close()
        raise StoreLockedError(
            f"{location}: another handle is writing to it; wait for it or end it"
        ) from None
    return lock
