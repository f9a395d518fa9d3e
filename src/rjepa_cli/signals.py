"""Ctrl-C, SIGTERM and SIGHUP: strike while the model computes, wait while the store writes."""

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
# Seconds within which signals are one: `timeout` sends them to a command and to its group.
_AT_ONCE = 0.1
# A terminal that goes away; Windows has no such signal.
_HANGUP = getattr(signal, "SIGHUP", None)


def _hangs_up() -> bool:
    """Whether SIGHUP is there, means something, and can be handled in this thread."""
    if _HANGUP is None or threading.current_thread() is not threading.main_thread():
        return False
    return signal.getsignal(_HANGUP) != signal.SIG_IGN


@contextmanager
def hangup_as_term() -> Iterator[None]:
    """Whatever handles SIGTERM in here handles SIGHUP, too, unless that is ignored."""
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
    """Entered around a run. The first signal raises KeyboardInterrupt, at once outside of
    `holding`; inside of it, when `computing` is entered or `check` is called. The second kills,
    but for SIGHUP, which shell and system both send. Ignored, as `nohup` has it, it stays so."""

    def __init__(self, doing: str = "committing what is finished") -> None:
        self._doing = doing
        self._asked = self._warned = False
        self._latest = 0.0
        self._held = False
        self._before: dict[int, Any] = {}

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Nothing in here is struck, but for what is `computing`."""
        self._held = True
        try:
            yield
        finally:
            self._held = False

    @contextmanager
    def computing(self) -> Iterator[None]:
        """May be struck at any moment."""
        self.check()
        before, self._held = self._held, False
        try:
            yield
        finally:
            self._held = before

    @property
    def asked(self) -> bool:
        """Whether a signal has come, for work that ends by itself when it is told to."""
        return self._asked

    def check(self) -> bool:
        """Raise KeyboardInterrupt if a signal has come; false otherwise."""
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
            # Another SIGHUP must not cut off what is said at the end.
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
            # Straight to the descriptor: a stream may be in the middle of a write of its own.
            os.write(2, f"\nstopping: {self._doing} (again to stop at once)\n".encode())
        if not self._held:
            raise KeyboardInterrupt
