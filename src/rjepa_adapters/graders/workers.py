"""Processes that compare mathematics, each under a limit of time for a pair and of memory."""

from __future__ import annotations

import json
import os
import queue
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from rjepa_core.domain.grade import UNGRADED, Verdict
from rjepa_core.errors import UsageError

from .algebra import AGAIN, DIED, PATIENCE, TIME
from .settings import MathSettings

Pair = tuple[str, str]

_MODULE = "rjepa_adapters.graders.algebra"
# Seconds for the library to be imported, on a slow disk and a busy machine.
_START = 120.0
# A process ends itself at the limit; so long after it is killed.
_GRACE = 2.0


class Workers:
    """At most `workers` processes, started when they are needed and replaced when they are stuck.

    Args:
        settings: limits, and how many.
    """

    def __init__(self, settings: MathSettings) -> None:
        self._settings = settings
        self._count = settings.workers or os.cpu_count() or 1
        self._idle: queue.LifoQueue[_Process] = queue.LifoQueue()
        self._running: set[_Process] = set()

    def compare(self, pairs: Sequence[Pair]) -> Iterable[Verdict]:
        """A verdict for each pair of an expected and a given answer, in their order."""
        if len(pairs) < 2 or self._count == 1:
            return [self._one(pair) for pair in pairs]
        pool = ThreadPoolExecutor(min(self._count, len(pairs)))
        try:
            return list(pool.map(self._one, pairs))
        except BaseException:
            # Whoever interrupts does not wait for what the others still compute.
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(self._running):
                process.kill()
            raise
        finally:
            pool.shutdown()

    def close(self) -> None:
        """End all of them."""
        with suppress(queue.Empty):
            while True:
                self._end(self._idle.get_nowait())

    def _one(self, pair: Pair) -> Verdict:
        process = self._take()
        try:
            verdict = process.compare(pair)
        except BaseException:
            self._end(process)
            raise
        if process.ended:
            self._end(process)
        else:
            self._idle.put(process)
        return verdict

    def _take(self) -> _Process:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            return _Process(self._settings, self._running)

    def _end(self, process: _Process) -> None:
        self._running.discard(process)
        process.kill()
        process.let_go()


class _Process:
    """One process, and what it answers.

    Args:
        settings: its limits.
        running: gets it as soon as there is anything to kill.

    Raises:
        UsageError: it cannot start.
    """

    def __init__(self, settings: MathSettings, running: set[_Process]) -> None:
        self.ended = False
        self._seconds = settings.seconds
        self._rest = b""
        paths = os.pathsep.join(path for path in sys.path if path)
        self._process = subprocess.Popen(
            [sys.executable, "-m", _MODULE, str(settings.seconds), str(settings.memory_mb)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
        running.add(self)
        if self._line(_START) is None:
            code = self._process.poll()
            running.discard(self)
            self.kill()
            self.let_go()
            raise UsageError(
                "the grader 'math' cannot start its processes "
                f"({'no sign of life' if code is None else f'exit code {code}'}); check that "
                f"`python -m {_MODULE} 5 1024` runs"
            )

    def compare(self, pair: Pair) -> Verdict:
        """The verdict; `ended` is true where the process came to its end over it."""
        answer = self._ask(pair)
        if answer is not None and answer[0] == AGAIN:
            answer = self._ask(pair)
        if answer is None:
            self.ended = True
            stuck = self._process.poll() is None
            return Verdict(UNGRADED, TIME if stuck else DIED)
        mark, reason = answer
        return Verdict(mark, reason)

    def _ask(self, pair: Pair) -> Any:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(pair).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return None
        line = self._line(PATIENCE * self._seconds + _GRACE)
        return None if line is None else json.loads(line)

    def kill(self) -> None:
        """End it with its children, whatever they do."""
        with suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def let_go(self) -> None:
        """Close what led to it, once no thread listens any more."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    def _line(self, seconds: float) -> bytes | None:
        """The next line, None where the process ends or says nothing for so long."""
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        poll = select.poll()
        poll.register(descriptor, select.POLLIN | select.POLLHUP)
        ends = time.monotonic() + seconds
        while b"\n" not in self._rest:
            left = ends - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                return None
            read = os.read(descriptor, 65536)
            if not read:
                return None
            self._rest += read
        line, _, self._rest = self._rest.partition(b"\n")
        return line
