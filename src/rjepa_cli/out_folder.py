"""`--out`: write a command's results, completely or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from rjepa_core.errors import DiskFullError, RJepaError, UsageError

_UNFINISHED = ".rjepa-unfinished"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class NewFile:
    """A context that writes a text file, which appears in its place when the block succeeds.

    Until then it is a draft in the same folder, which is deleted after an error; the draft of a
    killed process is replaced by the next attempt.

    Args:
        place: path of the file.
        named: how the user named it, for messages.
        replace: whether the file may already exist.

    Raises:
        UsageError: it exists, is being written by another process, or cannot be written.
        DiskFullError: the disk is full.
    """

    def __init__(self, place: Path, named: str, replace: bool = False) -> None:
        self._place, self._named, self._replace = place, named, replace
        self._draft = _draft(place)

    def write(self, text: str) -> None:
        """Write text."""
        try:
            self._file.write(text)
        except OSError as error:
            raise self._explained(error) from error

    def data(self, content: bytes) -> None:
        """Add bytes to it, after its text."""
        try:
            self._file.flush()
            self._file.buffer.write(content)
        except OSError as error:
            raise self._explained(error) from error

    def line(self, text: str) -> None:
        """Write a line."""
        self.write(f"{text}\n")

    def settle(self) -> None:
        """Flush what was written to the disk."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._explained(error) from error

    def __enter__(self) -> Self:
        self._refuse_existing()
        try:
            self._file: TextIO = self._draft.open("a", encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise self._explained(error) from None
        try:
            with suppress(OSError):  # The file system may not support locks.
                self._lock()
            self._file.truncate(0)
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        whole = False
        try:
            if kind is None:
                self.settle()
                self._refuse_existing()
                self._move()
                whole = True
        finally:
            if not whole:
                self._draft.unlink(missing_ok=True)
            with suppress(OSError):
                self._file.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"{self._named}: another process is writing it; wait for it, or name another"
            ) from None

    def _refuse_existing(self) -> None:
        if not self._replace and os.path.lexists(self._place):
            raise UsageError(f"{self._named}: is there already; name another file")

    def _move(self) -> None:
        try:
            os.replace(self._draft, self._place)
            descriptor = os.open(self._place.parent, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._explained(error) from error

    def _explained(self, error: OSError) -> RJepaError:
        if error.errno in _FULL:
            return DiskFullError(
                f"{self._named}: no room is left for it, and nothing of it was kept; free some "
                "space, or name another place, and try again"
            )
        return UsageError(f"{self._named}: {error.strerror}")


def new_reports(out: str | None, names: Sequence[str]) -> Path | None:
    """Create the folder for reports before hours are spent; return None if none was asked for.

    Raises:
        UsageError: it cannot be created, or already holds a report of one of the names.
    """
    if out is None:
        return None
    if not out:
        raise UsageError("--out names no folder")
    place = Path(out)
    if place.exists() and not place.is_dir():
        raise UsageError(f"--out {out}: is not a folder")
    try:
        place.mkdir(parents=True, exist_ok=True)
        # The first file is moved into place last: without it, a process was killed while moving.
        begun = _draft(place / names[0]).exists() and not (place / names[0]).exists()
        for name in names:
            if (place / name).exists() and not begun:
                raise UsageError(f"--out {out}: holds a {name} already; give another folder")
        tempfile.TemporaryFile(dir=place).close()
    except OSError as error:
        raise UsageError(f"--out {out}: {error.strerror}") from None
    return place


@contextmanager
def report_folder(out: str | None, names: Sequence[str]) -> Iterator[Path | None]:
    """Create the folder for reports, as `new_reports` does; if the block fails it is not left."""
    from rjepa_adapters.paths import missing_folders, remove_empty

    made = missing_folders(out) if out else []
    try:
        yield new_reports(out, names)
    except BaseException:
        remove_empty(made)
        raise


def write_reports(place: Path, texts: Mapping[str, str]) -> None:
    """Write files, given by name and text, into a folder; the first appears there last."""
    with ExitStack() as stack:
        files = [
            stack.enter_context(NewFile(place / name, f"--out {place / name}", replace=True))
            for name in texts
        ]
        for file, text in zip(files, texts.values(), strict=True):
            file.write(text)
            file.settle()


def _draft(place: Path) -> Path:
    return place.with_name(f".{place.name}{_UNFINISHED}")
