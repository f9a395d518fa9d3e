"""The directory of a store: its files, its checks and the writer's lock; no LMDB needed."""

from __future__ import annotations

import fcntl
import os
import re
import time
from pathlib import Path

from rjepa_core.errors import StoreLockedError, StoreNotFoundError, UsageError

from ..paths import refuse_dangling, sync_directory

DATA = "data.mdb"
LOCK = "lock.mdb"
WRITER = "writer.lock"
SIDECAR = "identity.json"
COMPACTING = ".compacting"
OWN_FILES = frozenset({DATA, LOCK, WRITER, SIDECAR, SIDECAR + ".new", COMPACTING})
# As a repository on the hub is called.
_HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def has_store(location: str) -> bool:
    """Return whether `location` is a directory with a store's data file in it."""
    try:
        return (Path(location) / DATA).is_file()
    except OSError:
        return False


def require_store(location: str) -> Path:
    """Return the directory of an existing store.

    Raises:
        StoreNotFoundError: there is no store.
    """
    path = Path(location)
    if path.is_symlink() and not path.exists():
        raise StoreNotFoundError(
            f"{location}: is a symbolic link to {os.readlink(path)}, which is not there, so no "
            "store; check the path"
        )
    if path.is_file():
        raise StoreNotFoundError(f"{location}: is a file; an LMDB store is a directory")
    if not path.is_dir():
        # `runs/frist` beside a folder `runs` is a mistyped path.
        hub = _HUB_NAME.fullmatch(location) is not None and not path.parent.exists()
        hint = f"; one on the Hugging Face Hub is hf:{location}" if hub else ""
        raise StoreNotFoundError(
            f"{location}: no such directory, so no store; check the path{hint}"
        )
    if not has_store(location):
        raise StoreNotFoundError(f"{location}: the directory holds no store; check the path")
    return path


def make_directory(location: str) -> Path:
    """Return the directory of a store to be written, making it if it does not exist.

    Raises:
        UsageError: it cannot be made or written, is a file, or holds other things and no store.
    """
    path = Path(location)
    refuse_dangling(location)
    if path.exists() and not path.is_dir():
        raise UsageError(f"{location}: is a file; a store is a directory; name another place")
    try:
        if not path.is_dir():
            path.mkdir(parents=True)
            sync_directory(path.resolve().parent)
        names = sorted(os.listdir(path))
    except OSError as error:
        raise UsageError(_cannot_make(location, error)) from error
    if not has_store(location):
        others = [name for name in names if name not in OWN_FILES]
        if others:
            shown = ", ".join(others[:3]) + (", …" if len(others) > 3 else "")
            raise UsageError(
                f"{location}: the directory holds other things ({shown}) and no store; "
                "name an empty or new directory"
            )
    if not os.access(path, os.W_OK | os.X_OK):
        raise UsageError(cannot_write(location, _why_not(path)))
    data = path / DATA
    if data.exists() and not os.access(data, os.W_OK):
        raise UsageError(f"{data}: cannot be written ({_why_not(data)}); correct its permissions")
    return path


def reserve_lock_file(path: Path, size: int) -> None:
    """Allocate disk blocks for the table of readers, if it has none.

    LMDB makes the file sparse and writes to it through memory: on a full disk a signal would end
    the process. Call this only before this process has the file open, because closing it drops the
    process's locks on it.
    """
    file = path / LOCK
    found = file.stat() if file.exists() else None
    if found is not None and found.st_blocks * 512 >= found.st_size > 0:
        return
    size = max(size, found.st_size if found is not None else 0)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.posix_fallocate(descriptor, 0, size)
    finally:
        os.close(descriptor)


def cannot_write(location: str, reason: str) -> str:
    """Return the message for a location that cannot be written."""
    return (
        f"{location}: cannot be written ({reason}); name another place, or copy the store to "
        "where it can be written"
    )


def _why_not(path: Path) -> str:
    """Return why an existing path cannot be written."""
    read_only = os.statvfs(path).f_flag & os.ST_RDONLY
    return "read-only file system" if read_only else "permission denied"


def _cannot_make(location: str, error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"{location}: a store cannot be made there ({reason}); name another place"


# Closing any descriptor of the file drops the lock of the whole process, so a second writer in the
# same process has to be refused before it opens the file.
_held_locks: dict[tuple[int, Path], int] = {}


class WriterLock:
    """The lock that the one writer of the store in the directory `path` holds.

    Raises:
        StoreLockedError: another writer holds it; the message names its process id.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.resolve() / WRITER
        self._pid = os.getpid()
        if (self._pid, self._file) in _held_locks:
            raise StoreLockedError(_refusal(path, f"this process ({self._pid})"))
        try:
            self._descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise UsageError(cannot_write(str(self._file), str(error.strerror))) from error
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _read_holder(self._descriptor)
            os.close(self._descriptor)
            raise StoreLockedError(_refusal(path, holder)) from error
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{self._pid}\n".encode(), 0)
        except OSError:
            pass  # The disk is full: the lock holds, but does not name its holder.
        _held_locks[self._pid, self._file] = self._descriptor

    def release(self) -> None:
        """Release the lock; do nothing in a forked child or if it is already released."""
        if os.getpid() == self._pid and _held_locks.pop((self._pid, self._file), None) is not None:
            os.close(self._descriptor)


def _read_holder(descriptor: int) -> str:
    """Return the process that holds the lock; wait briefly, as it may be about to write its id."""
    for _ in range(20):
        text = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        if text:
            return f"process {text}"
        time.sleep(0.01)
    return "another process"


def _refusal(path: Path, holder: str) -> str:
    return f"{path}: {holder} is writing to this store; wait for it or end it, then try again"
