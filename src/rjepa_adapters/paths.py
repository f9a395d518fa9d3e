"""Directories on disk: checked, synced, and replaced only by what is whole."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rjepa_core.errors import DiskFullError, RJepaError, UsageError


def refuse_dangling(location: str) -> None:
    """Refuse a symbolic link to what is not there, as an unmounted disk leaves it.

    Raises:
        UsageError: it is one.
    """
    path = Path(location)
    if path.is_symlink() and not path.exists():
        raise UsageError(
            f"{location}: is a symbolic link to {os.readlink(path)}, which is not there; mount or "
            "make that, or remove the link"
        )


def sync_directory(path: Path) -> None:
    """Make a new name in the directory `path` survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


MARK = ".rjepa-unfinished"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def unfinished(target: str, last: str) -> Iterator[Path]:
    """A directory to write to, which becomes `target` when the block ends well, and else goes.

    It is made beside the target, or inside of it where that is an empty directory already, which
    may be a disk's own. What a killed process left of it is replaced.

    Args:
        last: the file without which the target is nothing; it is put there last.

    Raises:
        UsageError: `target` holds something already, is being made by another process, or cannot
            be written.
        DiskFullError: there is no room for it.
    """
    path = _checked(target)
    inside = path.exists()
    part = path / MARK if inside else path.with_name(f".{path.name}{MARK}")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        lock = _make(part, target)
    except OSError as error:
        raise _explained(error, target) from error
    try:
        try:
            yield part
            _put(part, path, last, inside)
        except OSError as error:
            if not _ours(error, part):
                raise
            raise _explained(error, target) from error
        except DiskFullError as error:
            raise _full(target) from error
        except RJepaError as error:
            if str(part) not in str(error):
                raise
            raise type(error)(str(error).replace(str(part), target)) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        os.close(lock)


def _checked(target: str) -> Path:
    refuse_dangling(target)
    path = Path(os.path.realpath(target))
    if path.exists() and not path.is_dir():
        raise UsageError(f"{target}: is a file; name a new directory")
    try:
        if path.exists() and {*os.listdir(path)} - {MARK}:
            raise UsageError(f"{target}: holds something already; name a new directory")
    except OSError as error:
        raise UsageError(f"{target}: cannot be read ({error.strerror})") from error
    return path


def _make(part: Path, target: str) -> int:
    """Make it, empty, and lock it; the descriptor that holds the lock."""
    if part.exists():
        # Only who holds the lock may take away what is there.
        os.close(_lock(part, target))
        shutil.rmtree(part)
    part.mkdir()
    return _lock(part, target)


def _lock(part: Path, target: str) -> int:
    descriptor = os.open(part, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise UsageError(
            f"{target}: another process is making it; wait for it or end it, then try again"
        ) from error
    except OSError:
        pass  # A file system without such locks.
    return descriptor


def _put(part: Path, path: Path, last: str, inside: bool) -> None:
    if not inside:
        os.rename(part, path)
        sync_directory(path.parent)
        return
    for name in sorted(os.listdir(part), key=lambda name: (name == last, name)):
        os.rename(part / name, path / name)
    sync_directory(path)


def _ours(error: OSError, part: Path) -> bool:
    """Whether it is about what is made, not about what is read meanwhile."""
    named = [os.fspath(name) for name in (error.filename, error.filename2) if name is not None]
    return error.errno in _FULL or any(str(name).startswith(str(part)) for name in named)


def _explained(error: OSError, target: str) -> RJepaError:
    if error.errno in _FULL:
        return _full(target)
    reason = error.strerror or str(error)
    return UsageError(f"{target}: cannot be written ({reason}); name another place")


def _full(target: str) -> DiskFullError:
    return DiskFullError(
        f"{target}: no room is left for it, and nothing of it was kept; free some space, or name "
        "another place, and try again"
    )
