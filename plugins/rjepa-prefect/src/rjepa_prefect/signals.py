"""Handle a cancellation or Ctrl-C: the work stops cleanly between two of its steps."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import attrs

T = TypeVar("T")


@attrs.frozen
class StopRequest:
    """A request that the work should end; true once it was made."""

    _event: threading.Event = attrs.field(factory=threading.Event)

    def __bool__(self) -> bool:
        return self._event.is_set()

    def make(self) -> None:
        """Request the end."""
        self._event.set()

    def check(self) -> bool:
        """Raise KeyboardInterrupt if the work should end; false otherwise."""
        if self:
            raise KeyboardInterrupt
        return False


@attrs.define
class _Outcome(Generic[T]):
    value: list[T] = attrs.field(factory=list)
    error: BaseException | None = None


def run_shielded(work: Callable[[StopRequest], T]) -> T:
    """Run work in a thread of its own, so that no signal interrupts it while a store writes.

    Prefect raises from its handler of SIGTERM, which must stay in place for a cancellation to be
    recognised. It raises here, where the main thread only waits; the work is informed by the
    `StopRequest` and waited for. A second signal ends the waiting.

    Args:
        work: checks its argument between its steps.

    Raises:
        BaseException: what the work raised or, once it has ended, what the signal's handler raised.
    """
    request, outcome = StopRequest(), _Outcome[T]()

    def run() -> None:
        try:
            outcome.value.append(work(request))
        except BaseException as error:
            outcome.error = error

    # The context tells the log and the artifacts which run they belong to.
    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True)
    try:
        thread.start()
        thread.join()
    except BaseException:
        request.make()
        if thread.ident is not None:
            thread.join()
        raise
    if outcome.error is not None:
        raise outcome.error
    return outcome.value[0]
