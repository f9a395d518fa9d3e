"""Verify, repair and compact LMDB stores: the port `Maintenance`."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from rjepa_core.domain.identity import Identity
from rjepa_core.errors import DamagedRecordError, DiskFullError, StoreError, StoreLockedError
from rjepa_core.ports.maintenance import RepairReport, Report, ToolProgress, VerifyReport, ignore
from rjepa_core.ports.store import LatentStore
from rjepa_core.settings import STORE_DTYPES

from ..paths import sync_directory, unfinished
from .directory import COMPACTING, DATA, LOCK, WriterLock, require_store
from .format.checksum import MismatchError
from .format.record import EncodedRecord, name_key
from .format.vectors import vectors_size
from .reader import Reader
from .recovery.repair import repair, verify
from .settings import LmdbSettings
from .store import LmdbStore

# Bytes measured on stores of GSM8K solutions: entries in index and order, per record; statement,
# prompt and labels, per record; text and token ids, per step.
_ENTRIES, _TEXTS, _STEP_TEXTS = 700, 1600, 350
_PAGE, _PAGE_HEAD = 4096, 16


class LmdbMaintenance:
    """See `Maintenance`."""

    def verify(self, location: str, report: Report = ignore) -> VerifyReport:
        return verify(location, report)

    def repair(self, location: str, target: str, report: Report = ignore) -> RepairReport:
        return repair(location, target, report)

    def build(self, location: str) -> AbstractContextManager[LatentStore]:
        return build(location)

    def compact(self, location: str, report: Report = ignore) -> int:
        return compact(location, report)

    def room_needed(self, identity: Identity, records: int, steps: float = 8.0) -> int:
        space = identity.space
        dtype = STORE_DTYPES[space.store_dtype]
        vectors = vectors_size(len(space.layers), steps, space.hidden_size, dtype, logprobs=False)
        texts = _TEXTS + _STEP_TEXTS * steps
        return records * (_ENTRIES + _on_pages(vectors) + _on_pages(texts))

    def room_free(self, location: str) -> int:
        path = Path(location).absolute()
        while not path.exists():
            path = path.parent
        return shutil.disk_usage(path).free


def _on_pages(size: float) -> int:
    """Return the bytes a value takes; LMDB puts one of half a page or more on pages of its own."""
    if size < _PAGE / 2:
        return round(size)
    return -(-round(size + _PAGE_HEAD) // _PAGE) * _PAGE


@contextmanager
def build(location: str) -> Iterator[LatentStore]:
    """See `Maintenance.build`."""
    with unfinished(location, DATA) as part, LmdbStore(str(part), "write") as store:
        yield store


def compact(location: str, report: Report = ignore) -> int:
    """Rewrite the store in place, checking every record, and return the bytes saved.

    The new file replaces the old one in one step at the end; an interruption before that leaves the
    old one as it was.

    Raises:
        StoreLockedError: another process writes to the store or has it open.
        DamagedRecordError: a record is damaged; nothing is changed.
        DiskFullError: the new file does not fit beside the old one; nothing is changed.
    """
    path = require_store(location).resolve()
    lock = WriterLock(path)
    scratch = path / COMPACTING
    try:
        shutil.rmtree(scratch, ignore_errors=True)
        before = (path / DATA).stat().st_size
        with LmdbStore(location) as old:
            if old.shared:
                raise StoreLockedError(f"{location}: this process has it open; close it first")
            _copy(old, scratch, report)
        after = (scratch / DATA).stat().st_size
        _replace(path, scratch)
        return before - after
    except DiskFullError as error:
        raise DiskFullError(
            f"{location}: no room is left for the new file beside the old one; nothing was "
            "changed, free some space and try again"
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        lock.release()


def _copy(old: LmdbStore, scratch: Path, report: Report) -> None:
    identity = old.identity
    total = len(old)
    new = LmdbStore(str(scratch), "write", LmdbSettings(checkpoint_seconds=3600.0))
    try:
        if identity is not None:
            new.begin(identity)
        with old.reading() as reader:
            for done, (raw_key, _) in enumerate(reader.raw_keys()):
                report(ToolProgress("compacting", done, total))
                new.write_encoded([_checked(reader, raw_key, old.location)])
            for failure in reader.failures():
                new.write_encoded([], [failure])
            for grade in reader.grades():
                new.write_grades([grade])
            new.commit()
            for entry in reader.history():
                new.add_history(entry)
        if new.digest() != old.digest() or _count(new.grades()) != _count(old.grades()):
            raise StoreError(
                f"{old.location}: the copy differs from the store; nothing was changed, "
                "verify the store"
            )
    finally:
        new.close()


def _count(items: Iterator[object]) -> int:
    return sum(1 for _ in items)


def _checked(reader: Reader, raw_key: bytes, location: str) -> EncodedRecord:
    try:
        return reader.encoded(raw_key)
    except MismatchError as error:
        raise DamagedRecordError(
            f"{location}: {name_key(raw_key)} is damaged: {error}; nothing was changed, "
            "repair the store"
        ) from error


def _replace(path: Path, scratch: Path) -> None:
    """Replace the data file by the new one, while no process has it open.

    Every process that has a store open holds a shared lock on the first byte of LMDB's lock file.
    """
    descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 0)
        except OSError as error:
            raise StoreLockedError(
                f"{path}: other processes have it open; end them, then try again"
            ) from error
        os.replace(scratch / DATA, path / DATA)
        sync_directory(path)
        # Opened while we hold the lock, so that LMDB resets its table of readers for the new file.
        LmdbStore(str(path)).close()
    finally:
        os.close(descriptor)
