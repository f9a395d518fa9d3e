"""The queue of pending work, which reads ahead to batch work of similar length."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Iterator, Sequence

from ..domain.trace import RecordKey, Trace, Work
from ..ports.backend import Room

WINDOW = 256
# A row with less than this share of the longest one's tokens waits for the next batch: the rest of
# it would be padding, which takes as much memory.
_LEAST_SHARE = 0.5


class Pending:
    """Work to be done, read from a source as needed.

    It holds a window of work sorted by estimated length, and batches are taken from neighbours to
    keep padding small. Memory stays bounded however long the source is, and resuming is not
    affected because nothing depends on the order.
    """

    def __init__(self, work: Iterable[Work], window: int = WINDOW) -> None:
        self._source: Iterator[Work] | None = iter(work)
        self._window = window
        self._ready: list[Work] = []

    def __bool__(self) -> bool:
        """Return whether there is more work."""
        self._fill()
        return bool(self._ready)

    def take(
        self, room: Room, cost: Callable[[Work], int], at_least_one: bool = False
    ) -> list[Work]:
        """Take the work that fits the room.

        With `at_least_one` (nothing is in flight) the first item is taken even if it exceeds the
        room's tokens, or the run would stall.
        """
        self._fill()
        taken: list[Work] = []
        rows, tokens, given = room.rows, room.tokens, room.given_tokens
        longest = 0
        while self._ready:
            work = self._ready[-1]
            needed = cost(work)
            if work.given is not None:
                if given <= 0:
                    break
                given -= needed
            else:
                if rows <= 0 or (
                    tokens is not None and needed > tokens and (taken or not at_least_one)
                ):
                    break
                if needed < _LEAST_SHARE * longest:
                    break
                longest = max(longest, needed)
                rows -= 1
                tokens = None if tokens is None else tokens - needed
            taken.append(self._ready.pop())
        return taken

    def put_back(self, work: Sequence[Work]) -> None:
        """Put back work that was not done, to be taken again soon."""
        for item in work:
            bisect.insort(self._ready, item, key=_order)

    def _fill(self) -> None:
        if self._source is None or self._ready:
            return
        for work in self._source:
            self._ready.append(work)
            if len(self._ready) >= self._window:
                break
        else:
            self._source = None
        # The longest are taken first: what does not fit fails early, and the end of a window, where
        # a batch may be small, is cheap.
        self._ready.sort(key=_order)


def _order(work: Work) -> tuple[int, RecordKey]:
    return estimated_length(work), work.key


def estimated_length(work: Work) -> int:
    """Return roughly how many characters the work has, to sort by."""
    if work.given is None:
        return len(work.problem.statement)
    if isinstance(work.given, Trace):
        return work.given.length * 3
    return work.given.length
