"""Wait for a batch's results, or a thread's, as long as the caller does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, TypeVar

from starlette.requests import Request

from rjepa_core.errors import InputError, NotFiniteError, UnsupportedError

from . import problems
from .batching import ClosedError, FullError
from .problems import ProblemError

R = TypeVar("R")
# What a world model's message on a sequence begins with, and where that stands in a body.
_FIELDS = {"prompt": "/prompt", "domain": "/domain", "masked": "/masked"}
_ONE = ("/latents", "/solution")


class GoneError(Exception):
    """The caller has hung up."""


async def results_of(
    request: Request,
    submit: Callable[[], Sequence[asyncio.Future[R]]],
    seconds: float,
    pointers: Sequence[str],
) -> list[R]:
    """The results of what is submitted, in order.

    Args:
        request: read to its end; once the caller hangs up, what still waits is never run.
        submit: puts values into a queue.
        seconds: after which it is given up, and what still waits is never run.
        pointers: where in the body each value stands.

    Raises:
        ProblemError: the queue is full, it took too long, or what was asked cannot be done.
        GoneError: the caller hung up.
    """
    try:
        futures = submit()
    except FullError:
        raise _busy() from None
    except ClosedError:
        raise ProblemError(problems.STOPPING, "nothing more is taken", close=True) from None
    results = asyncio.gather(*futures, return_exceptions=True)
    # Given up, it ends with an error that nobody else asks for.
    results.add_done_callback(_retrieve)
    gone = asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait((results, gone), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if not results.done():
            if gone.done():
                raise GoneError
            raise ProblemError(problems.LATE, "it was not done in time")
        found = results.result()
    finally:
        gone.cancel()
        results.cancel()
    good: list[R] = []
    for number, one in enumerate(found):
        if isinstance(one, BaseException):
            raise _problem(one, pointers[number])
        good.append(one)
    return good


async def in_thread(
    request: Request, call: Callable[[], R], seconds: float, pool: Executor | None = None
) -> R:
    """What `call` returns, run in a thread of the pool, or in one of the loop's own.

    Raises:
        ProblemError, GoneError: as `results_of`.
    """
    loop = asyncio.get_running_loop()
    [found] = await results_of(request, lambda: [loop.run_in_executor(pool, call)], seconds, [""])
    return found


def left(request: Request, seconds: float) -> float:
    """What is left of the seconds in which a request must be answered since it was first asked."""
    now = asyncio.get_running_loop().time()
    if not hasattr(request.state, "until"):
        request.state.until = now + seconds
    return max(0.0, float(request.state.until) - now)


async def _hung_up(request: Request) -> None:
    """Ends once the caller has; what else is sent is not asked for."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _retrieve(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()


def _busy() -> ProblemError:
    return ProblemError(problems.BUSY, "as much waits as may; come again")


def _problem(error: BaseException, pointer: str) -> BaseException:
    """What the caller can mend as a problem; all else as it is."""
    if isinstance(error, InputError | UnsupportedError):
        # It was run alone, as sequence 0.
        detail = str(error).removeprefix("sequence 0: ")
        finite = not isinstance(error, NotFiniteError)
        kind = problems.BAD_INPUT if finite else problems.NOT_FINITE
        field = detail.partition(" ")[0]
        if field in _FIELDS and pointer.startswith(_ONE):
            pointer = _FIELDS[field]
        return ProblemError(kind, detail, pointer)
    if isinstance(error, FullError):
        return _busy()
    if isinstance(error, MemoryError):
        return ProblemError(problems.LATE, "it does not fit into memory; send less")
    return error
