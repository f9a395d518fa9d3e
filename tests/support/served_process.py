"""`rjepa-cli serve` in a process of its own, as a user runs it."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil


class ServedProcess:
    """A running service.

    Attributes:
        address: `http://127.0.0.1:PORT`.
        lines: of its stderr so far.
    """

    def __init__(self, *arguments: str) -> None:
        words = [sys.executable, "-m", "rjepa_cli", "serve", "--port", "0", *arguments]
        self.process = subprocess.Popen(
            words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self.lines: list[str] = []
        self._started = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._started.wait(120), self.lines
        found = [re.search(r"serving (http://\S+)", line) for line in self.lines]
        [self.address] = [one[1] for one in found if one]

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip())
            if "serving http" in line:
                self._started.set()
        self._started.set()

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def memory(self) -> int:
        """Resident bytes."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def stop(self) -> int:
        """Ask it to end, and wait; its exit code."""
        self.process.terminate()
        code = self.process.wait(60)
        self._reader.join(10)
        return code


@contextmanager
def serving(*arguments: str) -> Iterator[ServedProcess]:
    """A service that is killed if the test leaves it running."""
    service = ServedProcess(*arguments)
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.process.kill()
            service.process.wait(10)
