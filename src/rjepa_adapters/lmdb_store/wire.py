"""What an inspecting process tells its watcher: one JSON object a line on its standard output."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_APART = 0.1


class Wire:
    """The inspecting process's end."""

    def __init__(self) -> None:
        self._last = 0.0
        self._lock = threading.Lock()

    def send(self, **line: Any) -> None:
        with self._lock:
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()

    def damage(self, kind: str, name: str, why: str) -> None:
        self.send(damage=[kind, name, why])

    def note(self, text: str) -> None:
        self.send(note=text)

    def progress(self, phase: str, done: int = 0, total: int = 0) -> None:
        """A sign of life, at most ten times a second."""
        now = time.monotonic()
        if now - self._last > _APART:
            self._last = now
            self.send(progress=[phase, done, total])

    @contextmanager
    def alive(self, phase: str) -> Iterator[None]:
        """Signs of life during something slow in which no damaged page can trap LMDB."""
        done = threading.Event()

        def beat() -> None:
            while not done.wait(1.0):
                self.send(progress=[phase, 0, 0])

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
