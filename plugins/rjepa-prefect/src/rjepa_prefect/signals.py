"""SIGTERM and Ctrl-C: they strike while the model computes and wait while the store writes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Signals:
    """Entered around a run. Inside of `holding` a signal is kept until `computing` is entered or
    `check` is called; then, as everywhere else, the handler that was there before gets it: that of
    Prefect, which knows whether the run is being cancelled."""

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}
        self._kept: tuple[int, FrameType | None] | None = None
        self._held = False

    @property
    def asked(self) -> bool:
        """Whether a signal is kept, for work that ends by itself when it is told to."""
        return self._kept is not None

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

    def check(self) -> bool:
        """Hand over a signal that was kept, which as a rule raises; false otherwise."""
        if self._kept is not None:
            number, frame = self._kept
            self._kept = None
            self._hand_over(number, frame)
        return False

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._held:
            self._kept = (number, frame)
        else:
            self._hand_over(number, frame)

    def _hand_over(self, number: int, frame: FrameType | None) -> None:
        handler = self._before[number]
        if callable(handler):
            handler(number, frame)
        elif handler == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def __enter__(self) -> Self:
        # Tasks that were submitted run in threads, which no signal reaches.
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
        if kind is None:
            self.check()
