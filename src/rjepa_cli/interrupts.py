"""Ctrl-C and SIGTERM: strike while the model computes, wait while the store writes."""

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


class Interrupts:
    """Entered around a run. The first signal raises KeyboardInterrupt, at once outside of
    `holding`; inside of it, when `computing` is entered or `check` is called. The second kills."""

    def __init__(self, doing: str = "committing what is finished") -> None:
        self._doing = doing
        self._asked = False
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
        self._held = False
        try:
            yield
        finally:
            self._held = True

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
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        before, self._latest = self._latest, time.monotonic()
        if self._asked and self._latest - before < _AT_ONCE:
            return
        if self._asked:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self._asked = True
        with suppress(OSError):
            # Straight to the descriptor: a stream may be in the middle of a write of its own.
            os.write(2, f"\nstopping: {self._doing} (again to stop at once)\n".encode())
        if not self._held:
            raise KeyboardInterrupt
