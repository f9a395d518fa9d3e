"""The host's memory: the cgroup's limit or the machine's, whichever binds first."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

import attrs
import psutil

from rjepa_core.ports.probe import MemoryReading

_CGROUP = Path("/sys/fs/cgroup")
_PRESSURE = Path("/proc/pressure/memory")
# Version 1 writes "no limit" as a number near 2^63.
_NO_LIMIT = 1 << 60
_OWN = Path("/proc/self")
_FORGET_PEAK = "5"


@attrs.frozen
class _Kind:
    """A version of control groups.

    Attributes:
        controller: its name in `/proc/self/cgroup`; empty for version 2.
        mounts: where the groups may be mounted, relative to the usual place.
        used, limits: files of a group; the second limit of version 2 is where the kernel begins to
            slow a group down.
        cache: line of `memory.stat` for what can be dropped at once.
    """

    controller: str
    mounts: tuple[str, ...]
    used: str
    limits: tuple[str, ...]
    cache: str


_V2 = _Kind("", ("", "unified"), "memory.current", ("memory.max", "memory.high"), "inactive_file")
_V1 = _Kind(
    "memory",
    ("memory",),
    "memory.usage_in_bytes",
    ("memory.limit_in_bytes",),
    "total_inactive_file",
)


class HostProbe:
    """Reads control groups (version 2 or 1), the machine, and the kernel's pressure figures."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        forget_peak()  # The peak while the model was loaded belongs to no batch.

    def read(self) -> MemoryReading:
        peak = peak_bytes()
        # Memory that the C library keeps after a batch is free for the next one.
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
    """Return the peak of this process since `forget_peak`; None if the kernel cannot reset it."""
    try:
        if not os.access(own / "clear_refs", os.W_OK):
            return None
        lines = (own / "status").read_text().splitlines()
        line = next(line for line in lines if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration, ValueError):
        return None


def forget_peak(own: Path = _OWN) -> None:
    """Reset the peak to what is held now."""
    with suppress(OSError):
        (own / "clear_refs").write_text(_FORGET_PEAK)


def _trim() -> None:
    """Return unused pages that the C library holds to the system (glibc only)."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def free_bytes() -> int:
    """Return the free host memory: the machine's, or less if a control group allows less."""
    machine = int(psutil.virtual_memory().available)
    used, limit = cgroup_memory()
    return machine if used is None or limit is None else min(machine, max(0, limit - used))


def cgroup_memory(root: Path = _CGROUP, own: Path = _OWN) -> tuple[int | None, int | None]:
    """Return the bytes used and allowed by the control group; None if there is no group or limit.

    Of this process's group and those above it, the one with the smallest limit counts (of equals,
    the upper one, which uses more): a job scheduler limits one of them, seldom the process's own.
    Page cache that can be dropped at once does not count as used.

    Args:
        root: where the groups' files are mounted.
        own: the process's folder in `/proc`.
    """
    found: tuple[int | None, int | None] = None, None
    for kind in (_V2, _V1):
        for mount in kind.mounts:
            for group in _groups(root / mount, _path(own, kind.controller)):
                used = _number(group / kind.used)
                if used is None:
                    continue
                limits = [_number(group / file) for file in kind.limits]
                limit = min((n for n in limits if n is not None and n < _NO_LIMIT), default=None)
                best = found[1]
                if found[0] is None or (limit is not None and (best is None or limit <= best)):
                    cache = _stat(group / "memory.stat", kind.cache)
                    found = max(0, used - cache), limit
    return found


def _path(own: Path, controller: str) -> PurePosixPath:
    """Return the process's group, relative to the root of its hierarchy; the root if unknown."""
    with suppress(OSError):
        for line in (own / "cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controller in controllers.split(","):
                return PurePosixPath(path)
    return PurePosixPath("/")


def _groups(mount: Path, path: PurePosixPath) -> Iterator[Path]:
    """Yield the directory of a group and of all groups above it.

    In a container the path may begin above what is mounted, or be outside of it (`/../…`): then the
    part of it that is mounted is used.
    """
    parts = [] if ".." in path.parts else list(path.parts[1:])
    while parts and not mount.joinpath(*parts).is_dir():
        del parts[0]
    for length in range(len(parts), -1, -1):
        yield mount.joinpath(*parts[:length])


def pressure(path: Path = _PRESSURE) -> float | None:
    """Return the share of the last 10 s in which a task waited for memory; None if unknown."""
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
