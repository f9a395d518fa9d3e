"""A memory probe: Linux's memory, from /proc/meminfo."""

from __future__ import annotations

from typing import Any

from rjepa_core.ports.probe import MemoryReading

MEMINFO = "/proc/meminfo"


class TemplateProbe:
    """A probe of the whole machine; a missing figure is None, never 0."""

    def __init__(self, device: str, settings: Any) -> None:
        self._device = device

    def read(self) -> MemoryReading:
        try:
            with open(MEMINFO, encoding="ascii") as file:
                fields = dict(line.split(":", 1) for line in file)
        except OSError:
            return MemoryReading()
        limit, free = (_bytes(fields.get(name)) for name in ("MemTotal", "MemAvailable"))
        used = limit - free if limit is not None and free is not None else None
        return MemoryReading(used_bytes=used, limit_bytes=limit)


def _bytes(text: str | None) -> int | None:
    """Return a text such as `  123 kB` in bytes."""
    return int(text.split()[0]) * 1024 if text else None
