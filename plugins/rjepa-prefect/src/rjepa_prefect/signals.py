"""A cancellation or Ctrl-C: the work hears of it between two of its steps, and ends soundly."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import attrs

T = TypeVar("T")


@attrs.frozen
class Wish:
    """That the work should end; the same for as long as it runs."""

    _event: threading.Event = attrs.field(factory=threading.Event)

    def __bool__(self) -> bool:
        return self._event.is_set()

    def make(self) -> None:
        """From now on."""
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


def shielded(work: Callable[[Wish], T]) -> T:
    """Do work in a thread of its own, where no signal strikes it while a store writes.

    Prefect raises from its handler of SIGTERM, which must stay in place for a cancellation to be
    known as one. It raises here, where nothing but waiting goes on; the work is told by the `Wish`
    and waited for. A second signal waits no longer.

    Args:
        work: asks its argument between its steps.

    Raises:
        BaseException: what the work raised; or, once it has ended, what the signal's handler did.
    """
    wish, outcome = Wish(), _Outcome[T]()

    def run() -> None:
        try:
            outcome.value.append(work(wish))
        except BaseException as error:
            outcome.error = error

    # With the context, the log and the artifacts know the run that they belong to.
    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True)
    try:
        thread.start()
        thread.join()
    except BaseException:
        wish.make()
        if thread.ident is not None:
            thread.join()
        raise
    if outcome.error is not None:
        raise outcome.error
    return outcome.value[0]
