"""Callers who hang up or wait too long: what still waits is never run, and nothing is logged."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from rjepa_adapters.service.batching import Batcher
from rjepa_adapters.service.edge import Metrics
from rjepa_adapters.service.problem_details import ProblemError
from rjepa_adapters.service.scorer import GoneError, Scorer, results_of
from rjepa_adapters.service.settings import HttpSettings
from rjepa_core.domain.problem import GivenSolution
from rjepa_core.scoring.text_encoder import Solution


class Caller:
    """A request that was read; it hangs up once `gone` is set."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    async def receive(self) -> dict[str, str]:
        await self.gone.wait()
        return {"type": "http.disconnect"}


def told(main: Callable[[list[str]], Any]) -> list[str]:
    """What the loop's exception handler is told while `main` runs, and when all is collected."""
    messages: list[str] = []

    async def watched() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: messages.append(context["message"]))
        await main(messages)
        await asyncio.sleep(0.05)
        gc.collect()
        await asyncio.sleep(0)

    asyncio.run(watched())
    return messages


@pytest.mark.parametrize("hangs_up", [True, False])
def test_who_gives_up_leaves_nothing_to_run_and_nothing_on_the_log(hangs_up: bool) -> None:
    batches: list[list[int]] = []
    held = threading.Event()

    def run(values: list[int]) -> Sequence[int]:
        batches.append(values)
        assert held.wait(10)
        if 9 in values:
            raise ValueError("nobody asks for this")
        return values

    async def main(messages: list[str]) -> None:
        batcher: Batcher[int, int] = Batcher(run, most_cost=2, most_waiting=100)
        caller: Any = Caller()
        seconds = 30.0 if hangs_up else 0.2
        pointers = [f"/solutions/{i}" for i in range(7)]

        def submit() -> list[asyncio.Future[int]]:
            return batcher.submit([9, 8, 1, 2, 3, 4, 5])

        asking = asyncio.ensure_future(results_of(caller, submit, seconds, pointers))
        await asyncio.sleep(0.1)
        if hangs_up:
            caller.gone.set()
        with pytest.raises(GoneError if hangs_up else ProblemError):
            await asking
        held.set()
        assert [future.result() for future in await _done(batcher.submit([70]))] == [70]
        await batcher.close()

    assert told(main) == []
    # The batch that ran is run in halves, as one of it is at fault; nothing else was.
    assert batches == [[9, 8], [9], [8], [70]]


async def _done(futures: list[asyncio.Future[int]]) -> list[asyncio.Future[int]]:
    await asyncio.wait(futures, timeout=10)
    return futures


def test_long_texts_wait_for_their_own_pass_and_short_ones_share_one() -> None:
    """Whoever gives up is at most one pass of the LLM too late."""
    batches: list[list[int]] = []

    class Encoder:
        encode_tokens = 1000

        def encode(self, texts: Sequence[Solution], most_steps: int) -> list[object]:
            assert most_steps == 7
            batches.append([text.given.length for text in texts])
            time.sleep(0.02)
            return [object()] * len(texts)

    async def main() -> None:
        encoder, model = Encoder(), object()
        limits = HttpSettings(steps=7, batch_texts=4)
        scorer = Scorer(model, encoder, limits, Metrics())  # type: ignore[arg-type]
        assert scorer.texts is not None
        first = scorer.texts.submit([solution(10)])
        await asyncio.sleep(0.005)
        futures = scorer.texts.submit([solution(2000)] * 3 + [solution(10)] * 5)
        await asyncio.wait([*first, *futures], timeout=10)
        await scorer.close()

    asyncio.run(main())
    # A pass is 3,000 characters: one long text and a quarter for a short one.
    assert batches == [[10], [2000, 10], [2000, 10], [2000, 10], [10, 10]]


def solution(characters: int) -> Solution:
    return Solution("p", GivenSolution("x" * characters), "math")
