"""The memory probe port: how much memory there is, and how much of it is used by everyone."""

from __future__ import annotations

from typing import Protocol

import attrs


@attrs.frozen
class MemoryReading:
    """One reading. A sensor that is absent reads None, never 0.

    Attributes:
        used_bytes: in use on the device by every process, or against the limit that binds first.
        limit_bytes: what may be used at most.
        peak_bytes: most that this process has held since the last reading.
        retries: allocations that had to be tried again since the last reading (CUDA).
        stalled: share of time (0 to 1) in which work waited for memory (Linux pressure stall).
        held_bytes: what this process holds now; with it, `used_bytes - held_bytes + peak_bytes`
            is the most that was in use since the last reading.
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
        """The memory now. Quick: the loop reads after each step."""
        ...
