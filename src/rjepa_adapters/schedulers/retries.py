"""When to try again what failed: later each time."""

from __future__ import annotations

import attrs

# A night is long: what failed at its beginning may be possible at its end.
_LONGEST = 512


@attrs.define
class _Failure:
    wait: int
    due: int
    clear: bool


class Retries:
    """Sizes that failed, and when each may be tried again. Time counts measurements."""

    def __init__(self, base: int) -> None:
        self._base = base
        self._failures: dict[int, _Failure] = {}

    def failed(self, size: int, now: int, clear: bool, certain: bool = True) -> int:
        """Note a failure. Returns the wait: twice the last one, or four times where the failure
        was clear and more than an accident, up to a longest."""
        known = self._failures.get(size)
        if known:
            wait = min(_LONGEST, known.wait * (4 if clear and certain else 2))
        else:
            wait = self._base * (2 if clear else 1)
        self._failures[size] = _Failure(wait, now + wait, clear)
        return wait

    def succeeded(self, size: int, now: int) -> None:
        """Forget failures up to this size; larger ones may be tried soon."""
        for failed in [s for s in self._failures if s <= size]:
            del self._failures[failed]
        for failure in self._failures.values():
            failure.due = min(failure.due, now + self._base)

    def lowest(self, above: int) -> int | None:
        """The smallest size above this one that failed clearly."""
        failed = (size for size, failure in self._failures.items() if failure.clear)
        return min((size for size in failed if size > above), default=None)

    def due(self, size: int, now: int) -> bool:
        """Whether the size may be tried."""
        return size not in self._failures or now >= self._failures[size].due
