"""A real pseudo-terminal of a given width, and what stands on it in the end."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence

_CONTROL = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")


def on_terminal(
    command: Sequence[str],
    columns: int = 80,
    environment: Mapping[str, str] | None = None,
    timeout: float = 120,
) -> tuple[int, str]:
    """Run a command with both streams on a terminal; return its exit code and all it wrote."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    plain = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR", "LINES")}
    env = {**plain, "TERM": "xterm-256color", **(environment or {})}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    written, end = b"", time.monotonic() + timeout
    try:
        while time.monotonic() < end:
            if not select.select([ours], [], [], 1)[0]:
                continue
            try:
                data = os.read(ours, 65536)
            except OSError:  # The other side is closed.
                break
            if not data:
                break
            written += data
        return process.wait(timeout=10), written.decode("utf-8", "replace")
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def frames(written: str) -> list[str]:
    """The lines as they stood, each drawing of a bar anew, without what moves and colours."""
    return [
        line.rstrip() for line in re.split(r"[\r\n]+", _CONTROL.sub("", written)) if line.strip()
    ]
