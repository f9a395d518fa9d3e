"""Limits on the batch size from memory readings and from batches that did not fit."""

from __future__ import annotations

import math
import re

from rjepa_core.ports.probe import MemoryReading

from .ladder import Ladder

# A size is too large if work waits for memory for more than this share of the time; below this
# share of the limit, such waiting is caused by other processes.
_STALLED = 0.2
_NEARLY = 0.75
# The load of a row is the largest recent one; this factor per batch forgets it.
_FORGET = 0.998
# Free memory must be read this often in a row before it is used.
_CALM = 4


class MemoryWatch:
    """A cap on the rows, learned from memory readings; None if every size is fine.

    If readings show what a batch took at its peak, the cap is the largest size that stays below the
    high-water mark. If not (no peak, or rows stay in flight between readings), the cap halves
    whenever the mark is passed, and rises a step once there is memory for it. Allocator retries and
    stalls lower it by one step, each time for longer.
    """

    def __init__(
        self, ladder: Ladder, high_water: float, memory_limit: int | None, patience: int
    ) -> None:
        self._ladder = ladder
        self._high_water = high_water
        self._memory_limit = memory_limit
        self._patience = patience
        self._per_load = 0.0
        self._calm = 0
        self._hold = 0.0
        self._next_hold = patience
        self._stepped: int | None = None
        self._room: int | None = None
        self.detail = ""

    @property
    def cap(self) -> int | None:
        """The most rows at present."""
        caps = [cap for cap in (self._room, self._stepped) if cap is not None]
        return min(caps, default=None)

    def read(
        self, reading: MemoryReading | None, rows: int, load: float, ended: int, failed: bool
    ) -> None:
        """Learn from a reading after a batch.

        Args:
            reading: what the probe read.
            rows, load: of that batch.
            ended: rows that ended; if all did, the reading includes none of them.
            failed: whether the batch did not fit; then what it took does not show what it needs.
        """
        if reading is None or rows < 1:
            return
        drained = ended >= rows
        free, share, self.detail = self._free(reading)
        if drained and not failed:
            self._learn(reading, load)
        if free is not None:
            if drained and self._per_load > 0:
                fits = free / (self._per_load * load / rows) if load else 0.0
                self._allow(self._ladder.floor(fits))
            else:
                self._step(rows, free, share)
        self._read_signs(reading, rows, share, min(1.0, ended / rows))

    def over(self, reading: MemoryReading) -> str:
        """Return in words how the peak passed the high-water mark; empty if it did not."""
        _, share, detail = self._free(reading)
        return detail if share is not None and share > self._high_water else ""

    def _free(self, reading: MemoryReading) -> tuple[float | None, float | None, str]:
        """Return the free bytes below the mark, the share used at the peak, and both in words."""
        used, held, peak = reading.used_bytes, reading.held_bytes, reading.peak_bytes
        found: list[tuple[float, float, str]] = []
        if used is not None and reading.limit_bytes:
            most = max(used, used - held + peak if held is not None and peak is not None else used)
            found.append(self._against(reading.limit_bytes, used, most, "used by everyone"))
        own = held if held is not None else peak if peak is not None else used
        if own is not None and self._memory_limit:
            found.append(self._against(self._memory_limit, own, max(own, peak or 0), "used"))
        if not found:
            return None, None, ""
        return min(found)

    def _against(self, limit: int, used: int, most: int, whose: str) -> tuple[float, float, str]:
        mark = self._high_water * limit
        words = (
            f"{format_bytes(most)} of {format_bytes(limit)} {whose} at the peak, "
            f"the mark is {format_bytes(mark)}"
        )
        return mark - used, most / limit, words

    def _learn(self, reading: MemoryReading, load: float) -> None:
        self._per_load *= _FORGET
        if reading.peak_bytes is not None and reading.held_bytes is not None and load > 0:
            taken = (reading.peak_bytes - reading.held_bytes) / load
            self._per_load = max(self._per_load, taken)

    def _allow(self, size: int) -> None:
        """Lower the cap at once, or raise it after several readings in a row allow it."""
        if self._room is None or size <= self._room:
            self._room, self._calm = size, 0
            return
        self._calm += 1
        if self._calm >= _CALM:
            self._room, self._calm = size, 0

    def _step(self, rows: int, free: float, share: float | None) -> None:
        """Adapt the cap without knowing the load of a row: all memory used may be the rows'."""
        if share is None or (self._room is not None and rows > self._room):
            return  # nothing is known, or rows above the cap have yet to end
        if share > self._high_water or free < 0:
            self._room, self._calm = self._ladder.floor(max(1, rows // 2)), 0
        elif self._room is not None:
            above = self._ladder.above(self._room)
            if above == self._room:
                self._room = None
            elif share * above / max(rows, 1) <= self._high_water:
                self._allow(above)

    def _read_signs(
        self, reading: MemoryReading, rows: int, share: float | None, batches: float
    ) -> None:
        stalled = (reading.stalled or 0.0) > _STALLED and (share is None or share > _NEARLY)
        if (reading.retries or stalled) and self._hold <= self._next_hold - 2:
            lower = self._ladder.below(self._ladder.floor(rows))
            self._stepped = min(lower, self._stepped or lower)
            self._hold = self._next_hold
            self._next_hold *= 2
            sign = (
                f"{reading.retries} allocator retries"
                if reading.retries
                else (f"work waited for memory {reading.stalled:.0%} of the time")
            )
            self.detail = "; ".join(part for part in (sign, self.detail) if part)
        elif self._stepped is not None:
            self._hold -= batches
            if self._hold <= 0:
                above = self._ladder.above(self._stepped)
                self._stepped = None if above == self._stepped else above
                self._hold = self._next_hold


# Whether a load fits varies from batch to batch, so a limit stays at this share of what failed.
_MARGIN = 0.8
# A rising limit counts as near what failed at this ratio.
_NEAR = 1.25
_GROWTH = 6


class Ceiling:
    """A limit on the load (tokens, or rows where tokens are unknown), learned from failures.

    After a failure the limit falls to what has fitted before, or to half. After each wait of
    batches that filled it, it rises half way to what failed; each failure makes the wait six times
    longer. Once the limit is near what failed, that is tried again only after a wait that is six
    times longer still: memory may have been freed meanwhile.
    """

    def __init__(self, patience: int) -> None:
        self._wait = float(patience)
        self._patience = patience
        self._passed = 0.0
        self._held = 0.0
        self._bad = math.inf
        self._failures = 0
        self._fitted = True
        self.limit = math.inf

    def failed(self, load: float) -> None:
        """Note that a load did not fit."""
        if load >= self._bad and load > self.limit:
            return  # already known: a problem too large to fit even alone
        if load <= self._held:
            self._held = _MARGIN * load
        self._bad = min(self._bad, load)
        self.limit = min(self.limit, max(self._held, load / 2), _MARGIN * load)
        self._passed = 0.0
        if self._fitted:  # a retry that fails again is the same failure
            self._wait = float(self._patience * _GROWTH**self._failures)
            self._failures += 1
        self._fitted = False

    def fits(self, load: float, batches: float = 1.0) -> bool:
        """Note that a load fitted, for so many batches; return whether the limit has risen."""
        self._fitted = True
        if math.isinf(self.limit):
            self._held = max(self._held, load)
            return False
        if load < 0.7 * self.limit:
            return False
        self._passed += batches
        near = self._bad < _NEAR * self.limit
        if self._passed < (self._wait * _GROWTH if near else self._wait):
            return False
        self._passed = 0.0
        self._held = self.limit
        if near:
            self.limit, self._bad = self._bad, 1.5 * self._bad
        else:
            self.limit = math.sqrt(self.limit * self._bad)
        return True


_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_AMOUNT = re.compile(r"\s*([\d.]+)\s*(?:([KMGT]?)(?:i?B|bytes)?)?\s*", re.I)


def parse_bytes(amount: int | str) -> int:
    """Return the bytes of `8GiB`, `512M`, `1.5 GB` or a plain number; units are powers of 1,024.

    Raises:
        ValueError: it is not an amount of memory.
    """
    if isinstance(amount, int):
        return amount
    found = _AMOUNT.fullmatch(amount)
    try:
        number = float(found[1]) if found else None
    except ValueError:
        number = None
    if found is None or number is None:
        raise ValueError(f"must be bytes, or an amount such as 8GiB or 512MiB, got {amount!r}")
    return int(number * (1 << _UNITS[(found[2] or "").upper()]))


def format_bytes(amount: float) -> str:
    """Return bytes in a readable unit."""
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if abs(amount) >= 1 << power:
            return f"{amount / (1 << power):.4g} {unit}"
    return f"{amount:.0f} bytes"
