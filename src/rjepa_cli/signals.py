"""Ctrl-C, SIGTERM and SIGHUP: interrupt the model while it computes, never a store's writes."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Signals within this many seconds count as one: `timeout` signals a command and its group.
_AT_ONCE = 0.1
# Sent when a terminal closes; Windows does not have it.
_HANGUP = getattr(signal, "SIGHUP", None)


def _hangs_up() -> bool:
    """Return whether SIGHUP exists, is not ignored, and can be handled in this thread."""
    if _HANGUP is None or threading.current_thread() is not threading.main_thread():
        return False
    return signal.getsignal(_HANGUP) != signal.SIG_IGN


@contextmanager
def hangup_as_term() -> Iterator[None]:
    """Handle SIGHUP like SIGTERM within the block, unless it is ignored."""
    if not _hangs_up():
        yield
        return
    assert _HANGUP is not None
    before = signal.signal(_HANGUP, lambda number, frame: os.kill(os.getpid(), signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(_HANGUP, before)


class Interrupts:
    """A context around a run that turns signals into KeyboardInterrupt.

    The first signal raises it at once, except inside `holding`, where it is raised in `computing`
    or by `check`. The second signal kills the process, except for SIGHUP, which both shell and
    system send. If SIGHUP is ignored, as under `nohup`, it stays ignored.
    """

    def __init__(self, doing: str = "committing what is finished") -> None:
        self._doing = doing
        self._asked = self._warned = False
        self._latest = 0.0
        self._held = False
        self._before: dict[int, Any] = {}

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Delay signals within the block, except inside `computing`."""
        self._held = True
        try:
            yield
        finally:
            self._held = False

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Let signals interrupt the block at any moment."""
        self.check()
        before, self._held = self._held, False
        try:
            yield
        finally:
            self._held = before

    @property
    def asked(self) -> bool:
        """Whether a signal has arrived, for work that can end by itself."""
        return self._asked

    def check(self) -> bool:
        """Raise KeyboardInterrupt if a signal has arrived; return False otherwise."""
        if self._asked:
            raise KeyboardInterrupt
        return False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._before[number] = signal.signal(number, self._on_signal)
            if _HANGUP is not None and _hangs_up():
                self._before[_HANGUP] = signal.signal(_HANGUP, self._on_signal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            # Another SIGHUP must not cut off the final messages.
            kept = number == _HANGUP and self._asked
            signal.signal(number, signal.SIG_IGN if kept else handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        before, self._latest = self._latest, time.monotonic()
        if self._asked and self._latest - before < _AT_ONCE:
            return
        if self._warned and number != _HANGUP:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self._warned |= number != _HANGUP
        if self._asked:
            return
        self._asked = True
        with suppress(OSError):
            # Directly to the descriptor: the stream may be in the middle of a write.
            os.write(2, f"\nstopping: {self._doing} (again to stop at once)\n".encode())
        if not self._held:
            raise KeyboardInterrupt
