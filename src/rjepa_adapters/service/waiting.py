"""Wait for a batch's results, as long as the caller does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from starlette.requests import Request

from rjepa_core.errors import InputError, UnsupportedError

from . import problems
from .batching import ClosedError, FullError
from .bodies import GoneError
from .problems import ProblemError

R = TypeVar("R")


async def results_of(
    request: Request, submit: Callable[[], Sequence[asyncio.Future[R]]], seconds: float
) -> list[R]:
    """The results of what is submitted, in order.

    Args:
        request: read to its end; once the caller hangs up, what still waits is never run.
        submit: puts values into a queue.
        seconds: after which it is given up.

    Raises:
        ProblemError: the queue is full, it took too long, or what was asked cannot be done.
        GoneError: the caller hung up.
    """
    try:
        futures = submit()
    except FullError:
        raise ProblemError(problems.BUSY, "as much waits as may; come again") from None
    except ClosedError:
        raise ProblemError(problems.STOPPING, "nothing more is taken", close=True) from None
    results = asyncio.gather(*futures, return_exceptions=True)
    # A request that was read has nothing more to send: the next message says that it is gone.
    gone = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait((results, gone), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if not results.done():
            if gone.done():
                raise GoneError
            raise ProblemError(problems.LATE, f"not done within {seconds:g} s")
        found = results.result()
    finally:
        gone.cancel()
        results.cancel()
    good: list[R] = []
    for number, one in enumerate(found):
        if isinstance(one, BaseException):
            raise _problem(one, number, len(found))
        good.append(one)
    return good


def _problem(error: BaseException, number: int, count: int) -> BaseException:
    """What the caller can mend as a problem; all else as it is."""
    if isinstance(error, InputError | UnsupportedError):
        # It was run alone, as sequence 0.
        detail = str(error).removeprefix("sequence 0: ")
        return ProblemError(problems.BAD_INPUT, detail, f"/sequences/{number}")
    if isinstance(error, MemoryError):
        return ProblemError(problems.LATE, "it does not fit into memory; send less")
    return error
