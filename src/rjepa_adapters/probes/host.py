"""The host's memory: the cgroup's limit or the machine's, whichever binds first."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from pathlib import Path

import psutil

from rjepa_core.ports.memory_probe import MemoryReading

_CGROUP = Path("/sys/fs/cgroup")
_PRESSURE = Path("/proc/pressure/memory")
# Version 1 writes "no limit" as a number near 2^63.
_NO_LIMIT = 1 << 60
_OWN = Path("/proc/self")
_FORGET_PEAK = "5"


class HostProbe:
    """Reads the cgroup (v2, else v1), the machine, and the kernel's pressure-stall figures."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        forget_peak()  # What was held before, while the model was loaded, is no batch's.

    def read(self) -> MemoryReading:
        peak = peak_bytes()
        # What the C library's allocator keeps of a batch that is over is free to the next one.
        _trim()
        forget_peak()
        held = self._process.memory_info().rss
        peak = None if peak is None else max(peak, held)
        machine = psutil.virtual_memory()
        used, limit = machine.total - machine.available, machine.total
        group_used, group_limit = cgroup_memory()
        if group_used is not None and group_limit is not None and group_limit < limit:
            used, limit = group_used, group_limit
        return MemoryReading(used, limit, peak, None, pressure(), held)


def peak_bytes(own: Path = _OWN) -> int | None:
    """Most that this process has held since `forget_peak`; None where the kernel cannot forget."""
    try:
        if not os.access(own / "clear_refs", os.W_OK):
            return None
        lines = (own / "status").read_text().splitlines()
        line = next(line for line in lines if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration, ValueError):
        return None


def forget_peak(own: Path = _OWN) -> None:
    """Let the peak begin anew at what is held now."""
    with suppress(OSError):
        (own / "clear_refs").write_text(_FORGET_PEAK)


def _trim() -> None:
    """Give the pages that the C library holds and nobody uses back to the system (glibc only)."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def cgroup_memory(root: Path = _CGROUP) -> tuple[int | None, int | None]:
    """Bytes used and allowed by the control group; None where there is none or no limit.

    The page cache that can be dropped at once does not count as used.
    """
    for used_at, limit_at, stat_at, cache_key in (
        ("memory.current", "memory.max", "memory.stat", "inactive_file"),
        (
            "memory/memory.usage_in_bytes",
            "memory/memory.limit_in_bytes",
            "memory/memory.stat",
            "total_inactive_file",
        ),
    ):
        used, limit = _number(root / used_at), _number(root / limit_at)
        if used is not None:
            used -= _stat(root / stat_at, cache_key)
            return used, limit if limit is not None and limit < _NO_LIMIT else None
    return None, None


def pressure(path: Path = _PRESSURE) -> float | None:
    """Share of the last 10 seconds in which some task waited for memory; None if not told."""
    try:
        line = path.read_text().splitlines()[0]
        return float(line.split("avg10=")[1].split()[0]) / 100
    except (OSError, IndexError, ValueError):
        return None


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _stat(path: Path, key: str) -> int:
    try:
        pairs = (line.split() for line in path.read_text().splitlines())
        return int(next((p[1] for p in pairs if p[0] == key), 0))
    except (OSError, ValueError):
        return 0
