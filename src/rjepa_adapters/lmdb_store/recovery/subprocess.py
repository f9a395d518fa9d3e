"""Run the inspection of a store in another process, and report how that process ended.

LMDB trusts its pages: a flipped bit in one can crash the process that reads it, or trap it in a
loop. `watch` survives both.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import attrs

from rjepa_core import errors
from rjepa_core.errors import StoreError

SILENCE = 30.0
# Errors that LMDB or its binding raises unexpectedly on damaged pages.
_DAMAGE_ERRORS = ("lmdb.", "SystemError", "MemoryError", "struct.error", "OverflowError")


@attrs.frozen
class Ended:
    """How an inspecting process ended.

    Attributes:
        result: the result it sent, or None if it ended without one.
        why: what stopped it in that case.
        at: the last item that it announced it would read.
    """

    result: dict[str, Any] | None
    why: str = ""
    at: str | None = None


def watch(
    arguments: Sequence[str],
    take: Callable[[Mapping[str, Any]], None],
    silence: float = SILENCE,
) -> Ended:
    """Run `python -m rjepa_adapters.lmdb_store.recovery.inspector` with the arguments.

    Args:
        take: called with each line that is neither `at`, `end` nor `error`.
        silence: seconds without a line after which the process counts as trapped and is killed.

    Raises:
        RJepaError, OSError: something other than damage ended the inspection, such as a full disk
            or a missing permission.
        StoreError: the inspection itself failed, which says nothing about the store.
    """
    paths = os.pathsep.join(path for path in sys.path if path)
    process = subprocess.Popen(
        [sys.executable, "-m", "rjepa_adapters.lmdb_store.recovery.inspector", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": paths},
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    lines: queue.Queue[str | None] = queue.Queue(maxsize=1000)
    said: list[str] = []
    readers = [
        threading.Thread(target=_forward, args=(process.stdout, lines), daemon=True),
        threading.Thread(target=lambda: said.extend(process.stderr or ()), daemon=True),
    ]
    for reader in readers:
        reader.start()
    result: dict[str, Any] | None = None
    at: str | None = None
    try:
        while True:
            try:
                line = lines.get(timeout=silence)
            except queue.Empty:
                return Ended(None, f"reading made no progress for {silence:g} s", at)
            if line is None:
                break
            fields = json.loads(line)
            if "at" in fields:
                at = fields["at"]
            elif "end" in fields:
                result = fields["end"]
            elif "error" in fields:
                raise _error(*fields["error"])
            else:
                take(fields)
        code = process.wait()
    finally:
        process.kill()
        process.wait()
        for reader in readers:
            reader.join(timeout=5)
        process.stdout.close()
        process.stderr.close()
    if code < 0:
        return Ended(None, f"reading crashed ({signal.Signals(-code).name})", at)
    if result is None or code:
        text = "".join(said).strip()
        last = text.splitlines()[-1] if text else ""
        if last.startswith(_DAMAGE_ERRORS):
            return Ended(None, f"reading failed ({last})", at)
        raise StoreError(f"the inspection failed: {text or f'exit code {code}'}")
    return Ended(result, at=at)


def _error(name: str, *arguments: Any) -> Exception:
    """Return the error that ended the inspection, as it was raised there."""
    if name == "OSError":
        return OSError(*arguments)
    kind = getattr(errors, name, StoreError)
    made: Exception = kind(*arguments)
    return made


def _forward(stream: Any, lines: queue.Queue[str | None]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)


_PROGRESS_INTERVAL = 0.1


class Channel:
    """The inspecting process's end of the pipe: lines of JSON on standard output."""

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
        """Send the progress, at most ten times per second."""
        now = time.monotonic()
        if now - self._last > _PROGRESS_INTERVAL:
            self._last = now
            self.send(progress=[phase, done, total])

    @contextmanager
    def heartbeat(self, phase: str) -> Iterator[None]:
        """Send progress every second during slow work in which no damaged page can trap LMDB."""
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
