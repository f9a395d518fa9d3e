"""Signals that end a run: they wait while a step is taken, and mean nothing to its workers."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


def _there(*names: str) -> tuple[signal.Signals, ...]:
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


_ENDING = _there("SIGINT", "SIGTERM", "SIGHUP")
# Whoever else uses torch's loaders has a handler of the last one that raises.
_RAISING = (*_ENDING, *_there("SIGCHLD"))


@contextmanager
def deferred() -> Iterator[None]:
    """What Python's handlers do to signals that come in here, they do when it ends."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    handlers = {one: signal.getsignal(one) for one in _RAISING}
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
    """Processes that are started in here begin deaf to what ends a run; see `ignore`."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def quiet_children() -> Iterator[None]:
    """A handler of SIGCHLD that is set in here goes again: torch's raises in the middle of
    anything, and its workers are looked at anyway whenever they are waited for."""
    number = getattr(signal, "SIGCHLD", None)
    if number is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(number)
    try:
        yield
    finally:
        signal.signal(number, before or signal.SIG_DFL)


def ignore() -> None:
    """Leave it to the parent to say when this process ends: what ends a run reaches all processes
    of a terminal, of a job, of a service."""
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)
