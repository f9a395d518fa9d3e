"""stdout and stderr that survive a full disk, a closed terminal or a missing stream.

A run may last for hours, so a failed write is not raised where something is printed: what cannot be
written is dropped, and the stream remembers the failure.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import select
import sys
from contextlib import suppress
from typing import TextIO

# Seconds to wait for a non-blocking stream that is full before a text is dropped.
_PATIENCE = {"stdout": 10.0, "stderr": 1.0}
# Columns of a terminal that does not say how many it has.
_COLUMNS = 80
RED, YELLOW = "31", "33"


def can_move_cursor() -> bool:
    """Return whether terminals understand more than text here: not with `TERM=dumb`."""
    return os.environ.get("TERM", "") not in ("", "dumb", "unknown")


class LastingStream(io.TextIOBase):
    """Writes to another stream and never raises its errors.

    Characters that the encoding lacks are escaped. After a failure stderr is tried again with the
    next text, because a disk may have space again. stdout is not: output with a gap would be taken
    for complete.

    Args:
        name: `stdout` or `stderr`.
        stream: None if there is none.

    Attributes:
        failure: the first error.
        lost: whether something was dropped that was not shown elsewhere.
        patience: seconds to wait while nothing can be written; None waits forever.
    """

    def __init__(self, name: str, stream: TextIO | None) -> None:
        self.title = name
        self.failure: Exception | None = None
        self.lost = False
        self.patience: float | None = _PATIENCE[name]
        self._retries = name == "stderr"
        self._stalled = False
        self._stream = stream
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._encoder = codecs.getincrementalencoder(self._encoding)("backslashreplace")
        self._descriptor = _descriptor(stream)
        if stream is None:
            self.failure = OSError(errno.EBADF, "it is closed")

    @property
    def given(self) -> bool:
        """Whether there is a stream."""
        return self._stream is not None

    @property
    def reader_gone(self) -> bool:
        """Whether its reader, such as `head`, has closed the pipe."""
        return isinstance(self.failure, BrokenPipeError)

    @property
    def reason(self) -> str:
        """Why it failed, in a few words."""
        return str(getattr(self.failure, "strerror", None) or self.failure)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    @property
    def errors(self) -> str:  # type: ignore[override]
        return "backslashreplace"

    def write(self, text: str) -> int:
        # Bytes must raise a TypeError, by which click detects a text stream.
        data = self._encoder.encode(text)
        if not data:
            return 0
        if self._stream is None or (self.failure is not None and not self._retries):
            self.lost = True
            return len(text)
        try:
            if self._descriptor is not None:
                self._put(data, self._descriptor)
            else:
                self._pass_on(text)
        except (OSError, ValueError) as error:
            self.failure = self.failure or error
            self.lost = True
        return len(text)

    def line(self, text: str) -> None:
        """Write a line and flush."""
        self.write(f"{text}\n")
        self.flush()

    def flush(self) -> None:
        if self._stream is not None and self._descriptor is None:
            try:
                self._stream.flush()
            except (OSError, ValueError) as error:
                self.failure = self.failure or error
                self.lost = True

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        try:
            return self._stream is not None and self._stream.isatty()
        except (OSError, ValueError):
            return False

    def columns(self) -> int | None:
        """Return the width of the terminal; None if it is not one. `COLUMNS` overrides it."""
        if not self.isatty():
            return None
        with suppress(ValueError):
            if (asked := int(os.environ.get("COLUMNS", ""))) > 0:
                return asked
        try:
            return os.get_terminal_size(self.fileno()).columns or _COLUMNS
        except (OSError, ValueError):
            return _COLUMNS

    def styled(self, text: str, style: str) -> str:
        """Return text in a colour where the stream shows colours."""
        shows = self.isatty() and can_move_cursor() and not os.environ.get("NO_COLOR")
        return f"\x1b[{style}m{text}\x1b[0m" if shows else text

    def fileno(self) -> int:
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()

    def _put(self, data: bytes, descriptor: int) -> None:
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(descriptor, left) :]
                self._stalled = False
            except BlockingIOError:
                self._wait(descriptor)

    def _wait(self, descriptor: int) -> None:
        """Wait until the stream can be written; after a timeout, do not wait for it again."""
        if self.patience is None:
            select.select([], [descriptor], [])
        elif self._stalled or not select.select([], [descriptor], [], self.patience)[1]:
            self._stalled = True
            raise TimeoutError(errno.ETIMEDOUT, "nobody reads it")

    def _pass_on(self, text: str) -> None:
        assert self._stream is not None
        try:
            self._stream.write(text)
        except UnicodeEncodeError:
            escaped = text.encode(self._encoding, "backslashreplace").decode(self._encoding)
            self._stream.write(escaped)


def lasting(name: str) -> LastingStream:
    """Return the current `sys.stdout` or `sys.stderr` as a lasting stream."""
    stream = getattr(sys, name)
    return stream if isinstance(stream, LastingStream) else LastingStream(name, stream)


def take_over() -> None:
    """Replace `sys.stdout` and `sys.stderr` by lasting streams, until the process ends.

    Must be called before any file is opened.
    """
    _occupy()
    for name in ("stdout", "stderr"):
        setattr(sys, name, lasting(name))


def _occupy() -> None:
    """Open closed descriptors 0 to 2 on the null device.

    Otherwise the next file to be opened, perhaps a store's, would get one of them, together with
    what C libraries print.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):
                os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _descriptor(stream: TextIO | None) -> int | None:
    """Return the descriptor to write to directly, if possible.

    Python's own layers keep what they failed to write, and fail again when they are closed.
    """
    if os.name != "posix" or type(stream) is not io.TextIOWrapper:
        return None
    raw = getattr(stream.buffer, "raw", stream.buffer)
    if not isinstance(raw, io.FileIO):
        return None
    try:
        stream.flush()
        return raw.fileno()
    except (OSError, ValueError):
        return None
