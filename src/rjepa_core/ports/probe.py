"""The memory probe port: how much memory a device has, and how much all processes use."""

from __future__ import annotations

from typing import Protocol

import attrs


@attrs.frozen
class MemoryReading:
    """One reading. A missing sensor reads None, never 0.

    Attributes:
        used_bytes: memory used on the device by all processes, or counted against the limit that
            is reached first.
        limit_bytes: most memory that may be used.
        peak_bytes: most that this process has held since the last reading.
        retries: allocations that were retried since the last reading (CUDA).
        stalled: share of time (0 to 1) in which work waited for memory (Linux pressure stall).
        held_bytes: memory that this process holds now; `used_bytes - held_bytes + peak_bytes` is
            the most that was in use since the last reading.
    """

    used_bytes: int | None = None
    limit_bytes: int | None = None
    peak_bytes: int | None = None
    retries: int | None = None
    stalled: float | None = None
    held_bytes: int | None = None


class MemoryProbe(Protocol):
    """Reads a device's memory."""

    def read(self) -> MemoryReading:
        """Return the current state of the memory. Must be quick: it is called after each step."""
        ...
