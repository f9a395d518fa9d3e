"""An LMDB environment that grows as needed and explains its errors.

All handles of a process share one per store; see `shared_environment`.
"""

from __future__ import annotations

import errno
import os
import resource
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import lmdb

from rjepa_core.errors import DiskFullError, StoreError

from .directory import DATA, reserve_lock_file
from .fork import allow_reopening, inherited_stores, keep_alive
from .prefetch import Fetcher

TABLES = ("meta", "history", "index", "order", "vectors", "texts", "failures")
# Made when they are first needed; earlier versions know nothing of them and leave them alone.
LATER_TABLES = ("grades",)
_READERS = 512
# 64 bytes per reader, after two slots for the table itself.
_LOCK_BYTES = 64 * (_READERS - 1) + 192
_SMALLEST = 2**20
_SYNC = {
    "full": {"sync": True, "metasync": True},
    "data": {"sync": True, "metasync": False},
    "none": {"sync": False, "metasync": False},
}
T = TypeVar("T")


class ReadTransaction:
    """A context manager around `begin_read` and `end_read`; lighter than a generator."""

    __slots__ = ("_environment", "_txn")

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def __enter__(self) -> Any:
        self._txn = self._environment.begin_read()
        return self._txn

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._environment.end_read(self._txn, error)


class Environment:
    """The LMDB environment of one store in this process; made by `shared_environment.acquire`.

    Attributes:
        path: the store's directory.
        users: number of handles that share it.
        fetcher: prefetches blocks that are about to be read.
        when_idle: called after the last read if there are no users.
        writing: lock held during a write transaction.
    """

    def __init__(self, path: Path, map_bytes: int, sync: str, readonly: bool = False) -> None:
        self.path = path
        self.users = 0
        self.when_idle: Callable[[Environment], None] | None = None
        self._want_readonly = readonly
        self._sync = sync
        self._pid = os.getpid()
        self.writing = threading.RLock()
        self._idle = threading.Condition(threading.RLock())
        self._readers = 0
        self._looking = threading.Lock()
        self._looked = -1
        self._env: Any = None
        self._tables: dict[str, Any] = {}
        self.fetcher = Fetcher(path)
        self._open(map_bytes)

    @property
    def map_bytes(self) -> int:
        """Bytes of address space reserved now."""
        return int(self._live().info()["map_size"])

    def is_current(self) -> bool:
        """Return whether the open file is still the one at the store's path."""
        try:
            now = os.stat(self.path / DATA)
        except OSError:
            return False
        return (now.st_dev, now.st_ino) == self._file

    @property
    def idle(self) -> bool:
        """Whether this process has no read transaction open."""
        return self._readers == 0

    def table(self, name: str) -> Any:
        """Return the handle of a table; raise KeyError if the store has no tables yet."""
        return self._tables[name]

    @property
    def has_tables(self) -> bool:
        return bool(self._tables)

    def read(self) -> ReadTransaction:
        """Return a read transaction, whose buffers live as long as it does."""
        return ReadTransaction(self)

    def write(self, apply: Callable[[Any], T]) -> T:
        """Run `apply` in a write transaction and commit it; retry with a larger map if it is full.

        Raises:
            DiskFullError: the disk is full; the store is as it was before.
            StoreError: LMDB failed.
        """
        while True:
            try:
                with self.writing:
                    # The slot of a killed reader would block the reuse of freed pages.
                    self.clear_stale_readers()
                    with self._live().begin(write=True, buffers=True) as txn:
                        return apply(txn)
            except lmdb.MapFullError:
                self._remap(self.map_bytes * 2)
            except lmdb.MapResizedError:
                self._remap(0)
            except (lmdb.Error, OSError) as error:
                raise explain(self.path, error) from error

    def make_tables(self) -> None:
        """Make the tables of a new store."""

        def apply(txn: Any) -> None:
            self._open_tables(txn, create=True)

        self._tables = {}
        self.write(apply)

    def later_table(self, name: str) -> Any:
        """Handle of one of `LATER_TABLES`; None where the store has none, as far as is known."""
        return self._tables.get(name)

    def look_for(self, name: str) -> None:
        """Look for one of `LATER_TABLES` that another process may have made since.

        To be called before the transaction that is to read it.
        """
        if name in self._tables or not self._tables:
            return
        with self._looking:
            commit = int(self._live().info()["last_txnid"])
            if commit == self._looked:
                return
            try:
                self._tables[name] = self._env.open_db(name.encode(), create=False)
            except lmdb.NotFoundError:
                self._looked = commit
            except lmdb.Error as error:
                raise explain(self.path, error) from error

    def make_later_table(self, name: str) -> None:
        """Make one of `LATER_TABLES` if it is not there."""
        self.look_for(name)
        if name in self._tables:
            return
        made = self.write(lambda txn: self._env.open_db(name.encode(), txn=txn, create=True))
        self._tables[name] = made

    def find_tables(self) -> None:
        """Look for tables that another process has made since."""
        if not self._tables:
            self._open_tables(None, create=False)

    def use_sync(self, sync: str) -> None:
        """Set what commits wait for from now on."""
        if sync != self._sync:
            self._sync = sync
            self._remap(0)

    @property
    def is_blank(self) -> bool:
        """Whether the file is empty."""
        return int(self._live().stat()["entries"]) == 0

    def clear_stale_readers(self) -> int:
        """Free the slots of readers whose processes have ended; return how many."""
        return int(self._live().reader_check())

    def close(self) -> None:
        self.fetcher.close()
        if self._env is not None and os.getpid() == self._pid:
            self._env.close()
            self._env = None

    def disown(self) -> None:
        """In a forked child, drop what the parent opened without disturbing the parent.

        Closing an environment without transactions has no effect on the parent. Ending the parent's
        transactions here would end them there, so an environment that has some is kept alive and
        never used again.
        """
        self.fetcher.close()
        if self._readers:
            keep_alive(self)
            inherited_stores.add(self.path)
        elif self._env is not None:
            self._env.close()
            self._env = None

    def _live(self) -> Any:
        if self._env is None:
            raise StoreError(f"{self.path}: the store could not be opened again; start over")
        return self._env

    def begin_read(self) -> Any:
        """Begin a read transaction, which `end_read` must end."""
        for _ in range(20):
            with self._idle:
                try:
                    txn = self._live().begin(buffers=True)
                except lmdb.MapResizedError:
                    txn = None
                except lmdb.ReadersFullError:
                    if not self.clear_stale_readers():
                        raise StoreError(
                            f"{self.path}: more than {_READERS} readers at once; end some"
                        ) from None
                    txn = None
                except lmdb.Error as error:
                    raise explain(self.path, error) from error
                if txn is not None:
                    self._readers += 1
                    return txn
            self._remap(0)
        raise StoreError(f"{self.path}: the map keeps growing while it is opened; try again")

    def end_read(self, txn: Any, error: BaseException | None) -> None:
        """End a read transaction; if it ended with an error of LMDB, raise that error explained."""
        if os.getpid() == self._pid:
            txn.abort()
            with self._idle:
                self._readers -= 1
                self._idle.notify_all()
            if self.when_idle is not None and not self.users:
                self.when_idle(self)
        else:
            keep_alive(txn)  # Ending it here would end it in the parent too.
        if isinstance(error, lmdb.Error):
            raise explain(self.path, error) from error

    def _remap(self, map_bytes: int) -> None:
        """Reopen with another map, once no transaction of this process uses the old one."""
        with self._idle:
            if not self._idle.wait_for(lambda: self._readers == 0, timeout=10):
                raise StoreError(
                    f"{self.path}: the store's map has to grow, but a snapshot is open in this "
                    "process; close it and try again"
                )
            before = self.map_bytes
            self.close()
            try:
                self._open(map_bytes or before)
            except StoreError:
                self._open(before)
                raise DiskFullError(
                    f"{self.path}: no address space is left to grow the store's map beyond "
                    f"{before / 2**30:.3g} GiB; raise the limit (ulimit -v) and resume"
                ) from None
            if map_bytes and self.map_bytes <= before:
                raise DiskFullError(
                    f"{self.path}: the store's map cannot grow beyond {before / 2**30:.3g} GiB; "
                    "raise the limit on address space (ulimit -v) and resume"
                )

    def _open(self, map_bytes: int) -> None:
        """Open with `map_bytes` of address space, or less where the system grants less."""
        data = self.path / DATA
        used = data.stat().st_size if data.exists() else 0
        size = max(map_bytes, used, _SMALLEST)
        writable = (
            not self._want_readonly
            and os.access(self.path, os.W_OK)
            and (not data.exists() or os.access(data, os.W_OK))
        )
        while True:
            try:
                self._env = self._open_environment(size, writable)
                break
            except (lmdb.MemoryError, MemoryError) as error:
                if size <= max(used, _SMALLEST):
                    raise StoreError(
                        f"{self.path}: no address space for the store's map of {size} bytes; "
                        "raise the limit (ulimit -v)"
                    ) from error
                size = max(size // 2, used, _SMALLEST)
            except (lmdb.Error, OSError) as error:
                raise explain(self.path, error) from error
        opened = os.stat(data)
        self._file = (opened.st_dev, opened.st_ino)
        self._env.reader_check()
        self._tables, self._looked = {}, -1
        self.find_tables()

    def _open_environment(self, size: int, writable: bool) -> Any:
        options: dict[str, Any] = {
            "map_size": size,
            "max_dbs": 16,
            "max_readers": _READERS,
            # Records are read in any order; the fetcher asks for just what is needed.
            "readahead": False,
            "readonly": not writable,
            "mode": 0o644,
            **_SYNC[self._sync],
        }
        try:
            if writable:
                reserve_lock_file(self.path, _LOCK_BYTES)
            with allow_reopening(self.path):
                return lmdb.open(os.fsencode(self.path), **options)
        except (lmdb.ReadonlyError, lmdb.LockError, PermissionError):
            if writable:
                raise
            # No lock is needed: as far as this user can tell, nobody can write here.
            return lmdb.open(os.fsencode(self.path), lock=False, **options)

    def _open_tables(self, txn: Any, create: bool) -> None:
        try:
            self._tables = {
                name: self._env.open_db(name.encode(), txn=txn, create=create) for name in TABLES
            }
        except lmdb.NotFoundError:
            self._tables = {}
            return
        except lmdb.Error as error:
            if create:
                raise
            raise explain(self.path, error) from error
        if not create:
            for name in LATER_TABLES:
                self.look_for(name)


_NEARLY_FULL = 64 * 2**20
_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


def explain(path: Path, error: Exception) -> StoreError:
    """Return the error to raise for one that LMDB or the system raised for the store at `path`."""
    code = getattr(error, "code", None) or getattr(error, "errno", None)
    short_write = code == errno.EIO and _no_room(path)
    if code in _FULL or short_write or isinstance(error, lmdb.DiskError):
        what = "a write was cut short" if short_write else error
        return DiskFullError(
            f"{path}: no room is left to write the store ({what}); what was committed is "
            "safe: free some space and resume"
        )
    if isinstance(error, (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.InvalidError)):
        return StoreError(f"{path}: the store's pages are damaged ({error}); repair the store")
    if isinstance(error, lmdb.VersionMismatchError):
        return StoreError(f"{path}: made by another version of LMDB ({error})")
    return StoreError(f"{path}: LMDB failed ({error}); open the store again")


def _no_room(path: Path) -> bool:
    """Return whether a short write, which LMDB calls an I/O error, was due to a full disk."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    size = (path / DATA).stat().st_size
    limited = limit != resource.RLIM_INFINITY and size + _NEARLY_FULL > limit
    return limited or shutil.disk_usage(path).free < _NEARLY_FULL
