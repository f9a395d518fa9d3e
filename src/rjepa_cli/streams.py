"""stdout and stderr that outlast what they lead to: a full disk, a closed terminal, nothing at all.

A run goes on for hours behind them, so no failure of theirs is raised where something is printed;
what cannot be written is dropped, and the stream knows.
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

# Seconds to wait for room in a stream that does not block by itself, before a text is dropped.
_PATIENCE = {"stdout": 10.0, "stderr": 1.0}


class LastingStream(io.TextIOBase):
    """Writes to another stream and never raises for what that does.

    Characters that the encoding lacks are escaped. stderr is tried again at the next text: a disk
    may have room again. stdout is not: what follows a hole would be taken for the whole.

    Args:
        name: `stdout` or `stderr`.
        stream: None where there is none.

    Attributes:
        failure: the first one.
        lost: something was dropped that nobody has seen elsewhere.
        patience: seconds to wait where nothing can be written now; None for ever.
    """

    def __init__(self, name: str, stream: TextIO | None) -> None:
        self.title = name
        self.failure: Exception | None = None
        self.lost = False
        self.patience: float | None = _PATIENCE[name]
        self._again = name == "stderr"
        self._stalled = False
        self._stream = stream
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._encoder = codecs.getincrementalencoder(self._encoding)("backslashreplace")
        self._descriptor = _descriptor(stream)
        if stream is None:
            self.failure = OSError(errno.EBADF, "it is closed")

    @property
    def given(self) -> bool:
        """Whether there is a stream at all."""
        return self._stream is not None

    @property
    def reader_gone(self) -> bool:
        """Whether whoever read it has ended, as `head` does, and wants no more."""
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
        # Bytes are a TypeError: click asks this way what it may write.
        data = self._encoder.encode(text)
        if not data:
            return 0
        if self._stream is None or (self.failure is not None and not self._again):
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
        """Write a line, at once."""
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
        """Until there is room; whoever did not read for so long is not waited for again."""
        if self.patience is None:
            select.select([], [descriptor], [])
        elif self._stalled or not select.select([], [descriptor], [], self.patience)[1]:
            self._stalled = True
            raise TimeoutError(errno.ETIMEDOUT, "nobody takes it")

    def _pass_on(self, text: str) -> None:
        assert self._stream is not None
        try:
            self._stream.write(text)
        except UnicodeEncodeError:
            escaped = text.encode(self._encoding, "backslashreplace").decode(self._encoding)
            self._stream.write(escaped)


def lasting(name: str) -> LastingStream:
    """The present `sys.stdout` or `sys.stderr`, made lasting where it is not yet."""
    stream = getattr(sys, name)
    return stream if isinstance(stream, LastingStream) else LastingStream(name, stream)


def take_over() -> None:
    """Have everything in this process that prints, Python itself at its end too, print to lasting
    streams. Called before any file is opened."""
    _occupy()
    for name in ("stdout", "stderr"):
        setattr(sys, name, lasting(name))


def _occupy() -> None:
    """Give the descriptors 0 to 2 to nobody where they are closed: the next file to be opened, a
    store's perhaps, would get them, and what C libraries print with it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):
                os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _descriptor(stream: TextIO | None) -> int | None:
    """What can be written to directly: Python's own layers keep what they failed to write, and
    fail again when they are closed."""
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
