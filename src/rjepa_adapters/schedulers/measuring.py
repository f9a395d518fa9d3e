"""From observations to measurements: one whole batch, or as many rows' worth of a longer stream."""

from __future__ import annotations

from rjepa_core.ports.backend import Observation

from .speed import work_of


class Measuring:
    """Adds observations up until as many rows have ended as were in flight.

    A backend that runs whole batches gives a measurement with each observation. One that refills
    rows gives one about every average completion, whatever part of it an observation covers; its
    first behind a change of size is dropped, while the new rows are read and the old ones drain.
    """

    def __init__(self) -> None:
        self._size = 0
        self._settling = False
        self._rows = self._ended = 0
        self._work = self._seconds = 0.0

    def add(self, seen: Observation, size: int, filled: bool) -> float | None:
        """Add an observation made at a size.

        Args:
            seen: what was seen.
            size: rows that were asked for.
            filled: whether the rows were as many as asked for, or as memory allowed.

        Returns:
            work a second, when a measurement is complete.
        """
        ended = seen.rows if seen.ended is None else seen.ended
        if size != self._size:
            self._clear()
            self._size, self._settling = size, ended < seen.rows
        if not filled:
            self._clear()
            return None
        self._work += work_of(seen.prompt_tokens, seen.new_tokens)
        self._seconds += seen.seconds
        self._rows = max(self._rows, seen.rows)
        self._ended += ended
        if self._ended < self._rows:
            return None
        work, seconds, settling = self._work, self._seconds, self._settling
        self._clear()
        self._settling = False
        if settling or work <= 0 or seconds <= 0:
            return None
        return work / seconds

    def _clear(self) -> None:
        self._work = self._seconds = 0.0
        self._rows = self._ended = 0
