"""Signals that end a run: they wait while a step is taken, and leave its workers alone."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# Windows lacks the last one.
_ENDING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


@contextmanager
def deferred() -> Iterator[None]:
    """What Python's handlers do to signals that come in here, they do when it ends."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    handlers = {one: signal.getsignal(one) for one in _ENDING}
    handlers = {one: handler for one, handler in handlers.items() if callable(handler)}
    for one in handlers:
        signal.signal(one, note)
    try:
        yield
    finally:
        for one, handler in handlers.items():
            signal.signal(one, handler)
        for number in dict.fromkeys(came):
            signal.raise_signal(number)


@contextmanager
def blocked() -> Iterator[None]:
    """A process that is started in here meets no signal before it is ready for one; see
    `leave_to_parent`."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_to_parent() -> None:
    """Have this process, a worker, ended by its parent alone, as far as the parent can still end
    it: Ctrl-C and a terminal that goes away reach all processes of a terminal."""
    for number in _ENDING:
        terminates = number == signal.SIGTERM
        signal.signal(number, signal.SIG_DFL if terminates else signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
