"""Directories on disk: checks, fsync, and targets that appear only when complete."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rjepa_core.errors import DiskFullError, RJepaError, UsageError


def refuse_dangling(location: str) -> None:
    """Refuse a symbolic link whose target is missing, as an unmounted disk leaves it.

    Raises:
        UsageError: `location` is such a link.
    """
    path = Path(location)
    if path.is_symlink() and not path.exists():
        raise UsageError(
            f"{location}: is a symbolic link to {os.readlink(path)}, which is not there; mount or "
            "make that, or remove the link"
        )


def sync_directory(path: Path) -> None:
    """Sync the directory `path`, so that new names in it survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def missing_folders(location: str | Path) -> list[Path]:
    """Return the folders that a new folder's making would make, the deepest first."""
    path = Path(location).absolute()
    return [folder for folder in (path, *path.parents) if not os.path.lexists(folder)]


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove folders, the deepest first, as far as they are empty."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


MARK = ".rjepa-unfinished"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def unfinished(target: str, last: str) -> Iterator[Path]:
    """Yield a directory to write to, which becomes `target` if the block succeeds, else is removed.

    It is made beside the target, or inside it where the target is an empty directory already
    (perhaps a mount point). What a killed process left there is replaced.

    Args:
        last: the file without which the target is not valid; it is moved into place last.

    Raises:
        UsageError: `target` is not empty, is being made by another process, or cannot be written.
        DiskFullError: the disk is full.
    """
    path = _check_target(target)
    inside = path.exists()
    part = path / MARK if inside else path.with_name(f".{path.name}{MARK}")
    made = missing_folders(part.parent)
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        lock = _make(part, target)
    except OSError as error:
        remove_empty(made)
        raise _write_error(error, target) from error
    try:
        try:
            yield part
            _move_into_place(part, path, last, inside)
        except OSError as error:
            if not _concerns(error, part):
                raise
            raise _write_error(error, target) from error
        except DiskFullError as error:
            raise _disk_full(target) from error
        except RJepaError as error:
            if str(part) not in str(error):
                raise
            raise type(error)(str(error).replace(str(part), target)) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        os.close(lock)
        # Empty only if the block failed.
        remove_empty(made)


def _check_target(target: str) -> Path:
    refuse_dangling(target)
    path = Path(os.path.realpath(target))
    if path.exists() and not path.is_dir():
        raise UsageError(f"{target}: is a file; name a new directory")
    try:
        if path.exists() and {*os.listdir(path)} - {MARK}:
            raise UsageError(f"{target}: is not empty; name a new directory")
    except OSError as error:
        raise UsageError(f"{target}: cannot be read ({error.strerror})") from error
    return path


def _make(part: Path, target: str) -> int:
    """Make the directory, empty, lock it, and return the descriptor that holds the lock."""
    if part.exists():
        # Only the holder of the lock may remove what is there.
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
        pass  # The file system has no such locks.
    return descriptor


def _move_into_place(part: Path, path: Path, last: str, inside: bool) -> None:
    if not inside:
        os.rename(part, path)
        sync_directory(path.parent)
        return
    for name in sorted(os.listdir(part), key=lambda name: (name == last, name)):
        os.rename(part / name, path / name)
    sync_directory(path)


def _concerns(error: OSError, part: Path) -> bool:
    """Return whether the error is about the target rather than about something read meanwhile."""
    named = [os.fspath(name) for name in (error.filename, error.filename2) if name is not None]
    return error.errno in _FULL or any(str(name).startswith(str(part)) for name in named)


def _write_error(error: OSError, target: str) -> RJepaError:
    if error.errno in _FULL:
        return _disk_full(target)
    reason = error.strerror or str(error)
    return UsageError(f"{target}: cannot be written ({reason}); name another place")


def _disk_full(target: str) -> DiskFullError:
    return DiskFullError(
        f"{target}: no room is left for it, and nothing of it was kept; free some space, or name "
        "another place, and try again"
    )
