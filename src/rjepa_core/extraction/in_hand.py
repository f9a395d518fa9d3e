"""What a session was given and has not returned: nothing gets lost, strange or doubled there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from ..domain.trace import RecordKey, Work
from ..errors import BackendError
from ..ports.backend import Step
from ..text import count

# A session that returns and reports nothing for so many steps and seconds has come to a halt.
_STEPS, _SECONDS = 1000, 60.0


class InHand:
    """The work that a session holds, told from what it was given and what it returned."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._held: dict[RecordKey, str] = {}
        self._clock = clock
        self._idle, self._since = 0, clock()

    def given(self, work: Iterable[Work]) -> None:
        """Note what is about to be admitted."""
        self._held.update((item.key, item.problem.statement_hash) for item in work)

    def returned(self, step: Step, in_flight: bool) -> None:
        """Compare what a step returned with what is held.

        Raises:
            BackendError: it returns what it doesn't hold, gives a record another's statement, holds
                less than it was given, or has come to a halt.
        """
        for record in step.finished:
            self._take(record.key, record.trace.problem.statement_hash)
        for failure in step.failed:
            self._take(failure.key, failure.statement_hash)
        for work in step.given_back:
            self._take(work.key, work.problem.statement_hash)
        if self._held and not in_flight:
            lost = next(iter(self._held))
            raise BackendError(
                f"the backend has no row in flight and did not return {lost}, which it was given"
                + (f", nor {count(len(self._held) - 1, 'other')}" if len(self._held) > 1 else "")
            )
        if step.finished or step.failed or step.given_back or step.observation is not None:
            self._idle, self._since = 0, self._clock()
            return
        self._idle += 1
        if self._idle >= _STEPS and self._clock() - self._since >= _SECONDS:
            raise BackendError(
                f"the backend made no progress in {count(self._idle, 'step')}; in flight is "
                f"{next(iter(self._held))}"
            )

    def _take(self, key: RecordKey, statement: str) -> None:
        held = self._held.pop(key, None)
        if held is None:
            raise BackendError(
                f"the backend returned {key}, which it does not hold: it was never given to it, or "
                "was returned before"
            )
        if held != statement:
            raise BackendError(f"the backend returned {key} with another problem's statement")
