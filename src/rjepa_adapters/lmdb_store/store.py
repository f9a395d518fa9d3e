"""The LMDB latent store: one environment, one writer and its pending changes."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from rjepa_core.config import path_text
from rjepa_core.domain.grade import Grade, check_grade
from rjepa_core.domain.identity import Identity, check_same, known_together
from rjepa_core.domain.latents import LatentRecord, Vectors
from rjepa_core.domain.trace import Failure, RecordKey, check_key, check_keys
from rjepa_core.errors import ArgumentError, StoreClosedError, StoreError, StoreNotFoundError
from rjepa_core.ports.store import (
    Entry,
    LatentStore,
    Snapshot,
    StoreMode,
    StoreStats,
    check_mode,
    json_entry,
)

from ..paths import missing_folders, remove_empty, sync_directory
from .directory import DATA, OWN_FILES, WriterLock, make_directory, require_store
from .environment import Environment
from .format.record import EncodedRecord
from .metadata import (
    Tally,
    append_history,
    check_header,
    has_header,
    make_header,
    read_identity,
    read_tally,
    write_identity,
    write_sidecar,
)
from .reader import Reader, ReaderContext
from .recovery.integrity import check_data
from .settings import LmdbSettings
from .shared_environment import acquire, release
from .snapshot import LmdbSnapshot, read_latents
from .writer import CheckedBatch, Commits, apply_delete, require_current

T = TypeVar("T")


class LmdbStore(LatentStore):
    """A store in the directory `location`. One thread of one process writes, any may read.

    A handle can be pickled and survives a fork: it reopens the store for reading, even if the
    working directory has changed.

    Raises:
        ArgumentError: `location` or `mode` is invalid.
        StoreNotFoundError: in mode `read`, there is no store.
        UsageError: in mode `write`, no store can be made or written there.
        StoreLockedError: in mode `write`, another writer has the store open.
    """

    def __init__(
        self,
        location: str | os.PathLike[str],
        mode: StoreMode = "read",
        settings: LmdbSettings | None = None,
    ) -> None:
        check_mode(mode)
        self._settings = settings or LmdbSettings()
        self._location = location = path_text(location, "location")
        self._closed = False
        self._lock: WriterLock | None = None
        self._made = missing_folders(location) if mode == "write" else []
        if mode == "write":
            self._path = make_directory(location).absolute()
            self._lock = WriterLock(self._path)
        else:
            self._path = require_store(location).absolute()
        try:
            self._open()
        except BaseException:
            if self._lock is not None:
                self._lock.release()
            raise

    def _open(self) -> None:
        self._pid = os.getpid()
        self._new = not (self._path / DATA).exists()
        check_data(self._path, self._location, writing=self._lock is not None)
        sync = self._settings.sync if self._lock is not None else None
        self._environment = acquire(self._path, self._settings.map_bytes, sync)
        try:
            if not has_header(self._environment):
                if self._lock is None:
                    raise StoreNotFoundError(
                        f"{self._location}: a store was begun here but never written; check the "
                        "path"
                    )
                make_header(self._environment)
            check_header(self._environment)
            self._environment.look_for("grades")
            if self._new:
                sync_directory(self._path)
        except BaseException:
            release(self._environment)
            raise
        self._commits = Commits(self._environment, self._settings)
        with self._reader() as reader:
            self._identity = read_identity(self._environment, reader.txn)
        self._finalizer = weakref.finalize(self, _release, self._environment, self._lock)
        self._finalizer.atexit = False

    def __getstate__(self) -> dict[str, Any]:
        return {"location": str(self._path), "settings": self._settings, "closed": self._closed}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._settings = state["settings"]
        self._location = state["location"]
        self._closed = state["closed"]
        self._lock = None
        self._made = []
        self._path = require_store(self._location)
        if not self._closed:
            self._open()

    @property
    def location(self) -> str:
        return self._location

    def call(self, location: str) -> None:
        """Say another location than the directory's: where its copy here comes from."""
        self._location = location

    @property
    def settings(self) -> LmdbSettings:
        """The settings that this handle was opened with."""
        return self._settings

    @property
    def identity(self) -> Identity | None:
        if self._require_open()._identity is None:
            with self._reader() as reader:
                self._identity = read_identity(self._environment, reader.txn)
        return self._identity

    def begin(self, identity: Identity) -> None:
        known = self.identity
        if known is not None:
            check_same(identity, known, self._location)
            identity = known_together(known, identity)
            if identity == known:
                return
        environment = self._writable()
        require_current(environment)
        write_sidecar(self._path, identity)
        environment.write(lambda txn: write_identity(environment, txn, identity))
        self._identity = identity

    def write(self, records: Sequence[LatentRecord], failures: Sequence[Failure] = ()) -> None:
        self._writable()
        identity = self.identity
        if identity is None:
            raise StoreError(f"{self._location}: written before begin(identity)")
        commits = self._commits
        with commits.mutex:
            with self._reader() as reader:

                def entry(key: RecordKey) -> Entry | None:
                    return commits.entry(key) or reader.entry(key)

                batch = CheckedBatch(self._location, identity, entry)
                for record in records:
                    batch.add_record(record)
                for failure in failures:
                    batch.add_failure(failure)
            commits.take(batch.records, batch.failures)

    def write_encoded(
        self, records: Sequence[EncodedRecord], failures: Sequence[Failure] = ()
    ) -> None:
        """Write encoded records that were checked on reading, as copies of whole stores do."""
        self._writable()
        self._commits.take(records, failures)

    def write_grades(self, grades: Sequence[Grade]) -> None:
        self._writable()
        with self._commits.mutex:
            for grade in grades:
                check_grade(grade)
                entry = self.entry(grade.key)
                if entry is None or entry.failed:
                    raise ArgumentError(f"{self._location}: {grade.key} has a grade and no record")
            self._commits.take([], [], grades)

    def grade(self, key: RecordKey) -> Grade | None:
        check_key(key)
        commits = self._require_open()._commits
        with commits.mutex:
            if commits.has_record(key) or commits.grade(key) is not None:
                return commits.grade(key)
        self._environment.look_for("grades")
        with self._reader() as reader:
            return reader.grade(key)

    def grades(self) -> Iterator[Grade]:
        self._require_open()._environment.look_for("grades")
        return self._each(Reader.grades)

    def commit(self) -> None:
        self._writable()
        self._commits.commit()

    def __len__(self) -> int:
        waiting = self._require_open()._commits.waiting()
        with self._reader() as reader:
            committed = read_tally(self._environment, reader.txn).records
            entries = (reader.entry(key) for key in waiting)
            return committed + sum(entry is None or entry.failed for entry in entries)

    def entry(self, key: RecordKey) -> Entry | None:
        check_key(key)
        waiting = self._require_open()._commits.entry(key)
        if waiting is not None:
            return waiting
        with self._reader() as reader:
            return reader.entry(key)

    def keys(self, after: RecordKey | None = None) -> Iterator[RecordKey]:
        return self._each(lambda reader: reader.keys(after))

    def entries(self) -> Iterator[tuple[RecordKey, Entry]]:
        return self._each(Reader.entries)

    def get(self, key: RecordKey) -> LatentRecord:
        with self._reader() as reader:
            return reader.get(key)

    def read_latents(
        self, keys: Sequence[RecordKey], latents: Vectors, prompts: Vectors | None = None
    ) -> NDArray[np.int64]:
        with self._reader() as reader:
            return read_latents(reader, keys, latents, prompts)

    def failures(self) -> Iterator[Failure]:
        return self._each(Reader.failures)

    def delete(self, keys: Iterable[RecordKey]) -> int:
        environment = self._writable()
        wanted = check_keys(keys)
        with self._commits.mutex:
            self.commit()
            return environment.write(lambda txn: apply_delete(environment, txn, wanted))

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        with self._reader() as reader:
            snapshot = LmdbSnapshot(reader)
            try:
                yield snapshot
            finally:
                snapshot.close()

    def add_history(self, entry: Mapping[str, Any]) -> None:
        environment = self._writable()
        fields = json_entry(entry)
        with self._commits.mutex:
            self.commit()
            environment.write(lambda txn: append_history(environment, txn, fields))

    def history(self) -> list[dict[str, Any]]:
        with self._reader() as reader:
            return list(reader.history())

    def stats(self) -> StoreStats:
        tally = self.tally()
        require_current(self._require_open()._environment)
        size = (self._path / DATA).stat().st_size
        return StoreStats(
            tally.records, tally.problems, tally.steps, tally.tokens, tally.failures, size
        )

    def has_record(self, raw_key: bytes) -> bool:
        """Return whether the encoded key has a committed record."""
        with self._reader() as reader:
            return reader.has(raw_key)

    def tally(self) -> Tally:
        """Return the counts and digests of the last commit."""
        with self._reader() as reader:
            return read_tally(self._environment, reader.txn)

    def digest(self) -> str:
        """Return 32 hexadecimal digits, equal for stores with equal records and failures."""
        tally = self.tally()
        return f"{(tally.records_digest + 3 * tally.failures_digest) % 2**128:032x}"

    def close(self) -> None:
        if self._closed:
            return
        try:
            if self._lock is not None and os.getpid() == self._pid:
                self.commit()
        finally:
            self._closed = True
            if os.getpid() == self._pid:
                self._commits.stop()
                self._finalizer()

    def discard(self) -> None:
        """Close, and remove the store if this handle made it and never called `begin`."""
        ours = self._lock is not None and os.getpid() == self._pid
        if self._closed or not ours or not self._new or self.identity is not None:
            self.close()
            return
        # Before the lock is released, so that no other writer can have begun the store.
        for name in OWN_FILES:
            (self._path / name).unlink(missing_ok=True)
        remove_empty(self._made)
        self._closed = True
        self._commits.stop()
        self._finalizer()

    def __enter__(self) -> LmdbStore:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def reading(self) -> AbstractContextManager[Reader]:
        """Return a reader of one consistent state, for copying records without decoding them."""
        return self._reader()

    @property
    def shared(self) -> bool:
        """Whether another handle of this process has the same store open."""
        return self._require_open()._environment.users > 1

    def _reader(self) -> ReaderContext:
        return ReaderContext(self._require_open()._environment, self._settings.verify_reads)

    def _each(self, read: Callable[[Reader], Iterator[T]]) -> Iterator[T]:
        """Return what `read` yields of one consistent state; raise at once if closed."""
        self._require_open()
        return self._iterate(read)

    def _iterate(self, read: Callable[[Reader], Iterator[T]]) -> Iterator[T]:
        with self._reader() as reader:
            yield from read(reader)

    def _require_open(self) -> LmdbStore:
        """Return this handle, reopened if this is a forked child; raise if it is closed."""
        if self._closed:
            raise StoreClosedError(f"{self._location}: this handle is closed; open the store again")
        if os.getpid() != self._pid:
            # In a forked child: the lock and the pending changes stay with the parent.
            self._lock = None
            self._open()
        return self

    def _writable(self) -> Environment:
        environment = self._require_open()._environment
        if self._lock is None:
            raise StoreError(
                f"{self._location}: this handle only reads; open the store in mode 'write', in the "
                "process that writes"
            )
        return environment


def _release(environment: Environment, lock: WriterLock | None) -> None:
    """Release what a handle held, whether it was closed or garbage-collected."""
    release(environment)
    if lock is not None:
        lock.release()
