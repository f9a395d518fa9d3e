"""Repeat requests to a service if that may help. All endpoints are idempotent."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import httpx2

from rjepa_core.errors import RJepaError

# Statuses of a busy service, or of something between us and the service.
_AGAIN = (429, 502, 503, 504)
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0


class ServiceError(RJepaError):
    """A service does not answer, or its answer is invalid."""


def ask(
    send: Callable[[], httpx2.Response],
    where: str,
    patience: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> httpx2.Response:
    """Return the first final answer, good or bad, repeating the request with growing pauses.

    Args:
        send: sends the request once.
        where: the service, for messages.
        patience: seconds after which no further attempt begins.
        clock, sleep: seconds, replaceable in tests.

    Raises:
        ServiceError: no attempt was answered; the message gives the last reason.
    """
    began, wait = clock(), _FIRST_WAIT
    while True:
        asked = 0.0
        try:
            answer = send()
        except httpx2.TransportError as error:
            answer, reason = None, f"{type(error).__name__}: {error}".rstrip(": ")
        except httpx2.InvalidURL as error:
            raise ServiceError(f"{where}: no such address: {error}") from None
        if answer is not None:
            if answer.status_code not in _AGAIN:
                return answer
            reason = f"answered {answer.status_code}"
            asked = _seconds(answer.headers.get("retry-after"))
        pause = max(asked, wait * random.uniform(0.5, 1.0))
        if clock() - began + pause > patience:
            raise ServiceError(
                f"{where}: no answer within {patience:g} s ({reason}); is the service running?"
            )
        sleep(pause)
        wait = min(2 * wait, _LONGEST_WAIT)


def _seconds(text: str | None) -> float:
    """Return the seconds of a `Retry-After`; 0 for a date."""
    return float(text) if text is not None and text.isdigit() else 0.0
