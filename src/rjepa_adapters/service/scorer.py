"""The world model and the LLM, each fed by a batcher, and how long callers wait for results."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any, TypeVar

import attrs
import numpy as np
from starlette.requests import Request

from rjepa_core.domain.latents import LatentRecord
from rjepa_core.domain.trace import Failure
from rjepa_core.errors import InputError, NotFiniteError, UnsupportedError
from rjepa_core.ports.world_model import (
    Context,
    Floats,
    LatentSequence,
    Verification,
    WorldModel,
    WorldModelInfo,
)
from rjepa_core.scoring import Solution, TextEncoder, check_finite

from . import problem_details as problems
from .batching import Batcher, ClosedError, FullError
from .edge import Metrics
from .problem_details import ProblemError
from .settings import HttpSettings

SURPRISE, PREDICT, MASKED, TARGETS, EMBEDDINGS, VERDICT = (
    "surprise",
    "predict",
    "masked",
    "targets",
    "embeddings",
    "verdict",
)


# A token has at least about this many characters of text.
_CHARACTERS = 3


@attrs.frozen(eq=False)
class Job:
    """A request to the world model for one sequence.

    Attributes:
        kind: of the answer.
        sequence: its latents, float32.
        context: for surprise and predictions.
        masked: masked steps, for masked predictions.
    """

    kind: str
    sequence: LatentSequence
    context: Context = Context.OTHERS
    masked: tuple[int, ...] = ()

    @property
    def key(self) -> tuple[object, ...]:
        """Jobs with the same key share a forward pass: the same number of steps, no padding."""
        return self.kind, self.context, self.sequence.latents.shape, len(self.masked)

    @property
    def cost(self) -> int:
        """Tokens: the steps and one for the prompt, once for each step that is left out."""
        steps = len(self.sequence.latents)
        each_left_out = self.kind in (SURPRISE, PREDICT, VERDICT) and self.context is Context.OTHERS
        return (steps + 1) * (steps if each_left_out else 1)


class Scorer:
    """Runs requests on the world model, and on the LLM if there is one, in a running event loop."""

    def __init__(
        self,
        world_model: WorldModel,
        encoder: TextEncoder | None,
        limits: HttpSettings,
        metrics: Metrics,
    ) -> None:
        self.world_model, self.encoder = world_model, encoder
        self.latents: Batcher[Job, Any] = Batcher(
            partial(run_jobs, world_model),
            key=lambda job: job.key,
            cost=lambda job: job.cost,
            most_cost=limits.batch_tokens,
            most_waiting=limits.queue,
            wait=limits.batch_wait_ms / 1000,
            ran=partial(metrics.ran, "latents"),
            name="world-model",
        )
        metrics.waiting.labels("latents").set_function(lambda: len(self.latents))
        self.texts: Batcher[Solution, LatentRecord | Failure] | None = None
        if encoder is not None:
            # About one forward pass per batch: callers who hang up are left out of the next one.
            most = _CHARACTERS * encoder.encode_tokens
            least = max(1, most // limits.batch_texts)
            self.texts = Batcher(
                partial(encoder.encode, most_steps=limits.steps),
                cost=lambda text: max(least, characters_of(text)),
                most_cost=most,
                most_waiting=limits.text_queue,
                wait=limits.batch_wait_ms / 1000,
                ran=lambda values, cost: metrics.ran("texts", values, values),
                name="llm",
            )
            texts = self.texts
            metrics.waiting.labels("texts").set_function(lambda: len(texts))

    async def close(self) -> None:
        """Finish all accepted requests."""
        if self.texts is not None:
            await self.texts.close()
        await self.latents.close()


def characters_of(text: Solution) -> int:
    """Return the number of characters of problem and solution."""
    return len(text.statement) + text.given.length


def run_jobs(world_model: WorldModel, jobs: Sequence[Job]) -> Sequence[Floats | Verification]:
    """Run jobs of one key in one call of the world model.

    Raises:
        NotFiniteError: a result is not finite; the batcher then runs the jobs alone to find it.
    """
    if jobs[0].kind == VERDICT:
        verdicts = world_model.verify([job.sequence for job in jobs])
        check_finite([np.append(one.wrong, one.right) for one in verdicts])
        return verdicts
    rows = _rows(world_model, jobs)
    check_finite(rows)
    return rows


def _rows(world_model: WorldModel, jobs: Sequence[Job]) -> list[Floats]:
    first, sequences = jobs[0], [job.sequence for job in jobs]
    if first.kind == SURPRISE:
        return world_model.surprise(sequences, first.context)
    if first.kind == PREDICT:
        return world_model.predict(sequences, first.context)
    if first.kind == MASKED:
        return world_model.predict_masked(sequences, [job.masked for job in jobs])
    if first.kind == TARGETS:
        return world_model.targets(sequences)
    return world_model.embeddings(sequences)


def judging(info: WorldModelInfo, sequence: LatentSequence, context: Context) -> list[Job]:
    """Return the jobs that score a sequence: its surprise, and a verdict if there can be one."""
    jobs = [Job(SURPRISE, sequence, context)]
    if info.verifies and not (info.needs_logprobs and sequence.logprobs is None):
        jobs.append(Job(VERDICT, sequence))
    return jobs


async def run_each(
    request: Request,
    scorer: Scorer,
    jobs: Sequence[Sequence[Job]],
    seconds: float,
    pointers: Sequence[str],
) -> list[list[Any]]:
    """Return the results of the jobs of each sequence.

    Raises:
        ProblemError, GoneError: as `results_of`.
    """
    found = iter(
        await results_of(
            request,
            lambda: scorer.latents.submit([job for each in jobs for job in each]),
            seconds,
            [where for where, each in zip(pointers, jobs, strict=True) for _ in each],
        )
    )
    return [[next(found) for _ in each] for each in jobs]


R = TypeVar("R")
# First words of a world model's message about a sequence, and the place in the body they refer to.
_FIELDS = {
    "prompt": "/prompt",
    "domain": "/domain",
    "masked": "/masked",
    "log-probabilities": "/logprobs",
}
_ONE = ("/latents", "/solution")


class GoneError(Exception):
    """The caller has hung up."""


async def results_of(
    request: Request,
    submit: Callable[[], Sequence[asyncio.Future[R]]],
    seconds: float,
    pointers: Sequence[str],
) -> list[R]:
    """Return the results of submitted values, in order.

    Args:
        request: watched; once the caller hangs up, values that still wait are never run.
        submit: puts the values into a queue.
        seconds: time limit, after which values that still wait are never run.
        pointers: JSON pointer to each value in the body.

    Raises:
        ProblemError: the queue is full, it took too long, or the input cannot be processed.
        GoneError: the caller hung up.
    """
    try:
        futures = submit()
    except FullError:
        raise _busy() from None
    except ClosedError:
        raise ProblemError(problems.STOPPING, "no more requests are accepted", close=True) from None
    results = asyncio.gather(*futures, return_exceptions=True)
    # If it is cancelled, nobody else retrieves its error, which asyncio would then log.
    results.add_done_callback(_retrieve)
    gone = asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait((results, gone), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if not results.done():
            if gone.done():
                raise GoneError
            raise ProblemError(problems.LATE, "it was not answered in time")
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
    """Run `call` in a thread of the pool, or in one of the event loop's, and return its result.

    Raises:
        ProblemError, GoneError: as `results_of`.
    """
    loop = asyncio.get_running_loop()
    [found] = await results_of(request, lambda: [loop.run_in_executor(pool, call)], seconds, [""])
    return found


def seconds_left(request: Request, seconds: float) -> float:
    """Return the rest of a request's time limit, which starts when this is first called for it."""
    now = asyncio.get_running_loop().time()
    if not hasattr(request.state, "until"):
        request.state.until = now + seconds
    return max(0.0, float(request.state.until) - now)


async def _hung_up(request: Request) -> None:
    """Return once the caller hangs up; ignore anything else it sends."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _retrieve(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()


def _busy() -> ProblemError:
    return ProblemError(problems.BUSY, "the queue is full; try again later")


def _problem(error: BaseException, pointer: str) -> BaseException:
    """Return an error that the caller can correct as a problem, any other unchanged."""
    if isinstance(error, InputError | UnsupportedError):
        # The message counts the sequence as 0, because the batcher ran it alone.
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
