"""One writer a store: a lock file that holds the writer's process id.

The lock is a POSIX record lock: the system drops it when the process ends, however it ends, and a
forked child does not hold it, so what a crash leaves behind is only a file.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from rjepa_core.errors import StoreLockedError, UsageError

from .place import WRITER, cannot_write

# Closing any descriptor of the file drops the lock of the whole process, so a second writer in the
# same process has to be refused before it opens the file.
_held: dict[tuple[int, Path], int] = {}


class WriterLock:
    """Held by the one writer of the store in the directory `path`.

    Raises:
        StoreLockedError: another writer holds it; the message names its process id.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.resolve() / WRITER
        self._pid = os.getpid()
        if (self._pid, self._file) in _held:
            raise StoreLockedError(_refusal(path, f"this process ({self._pid})"))
        try:
            self._descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise UsageError(cannot_write(str(self._file), str(error.strerror))) from error
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _holder(self._descriptor)
            os.close(self._descriptor)
            raise StoreLockedError(_refusal(path, holder)) from error
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{self._pid}\n".encode(), 0)
        except OSError:
            pass  # A full disk: the lock holds, it only cannot say whose it is.
        _held[self._pid, self._file] = self._descriptor

    def release(self) -> None:
        """Let go; does nothing in a forked child or when already released."""
        if os.getpid() == self._pid and _held.pop((self._pid, self._file), None) is not None:
            os.close(self._descriptor)


def _holder(descriptor: int) -> str:
    """Process id that the holder wrote; it may be about to write it."""
    for _ in range(20):
        text = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        if text:
            return f"process {text}"
        time.sleep(0.01)
    return "another process"


def _refusal(path: Path, holder: str) -> str:
    return f"{path}: {holder} is writing to this store; wait for it or end it, then try again"
