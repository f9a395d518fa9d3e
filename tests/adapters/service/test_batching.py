"""Batches: who comes together, who fails alone, who is dropped, and what stopping finishes."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rjepa_adapters.service.batching import Batcher, ClosedError, FullError


class Runs:
    """Doubles numbers and remembers the batches; may be held, and chokes on negative ones."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.open = threading.Event()
        self.open.set()
        self.began = threading.Event()

    def __call__(self, values: list[int]) -> Sequence[int]:
        self.began.set()
        assert self.open.wait(10)
        self.batches.append(values)
        if any(value < 0 for value in values):
            raise ValueError(f"negative among {values}")
        return [2 * value for value in values]


def batcher(run: Any, **options: Any) -> Batcher[int, int]:
    return Batcher(run, **{"most_cost": 8, "most_waiting": 100, **options})


async def held(runs: Runs, made: Batcher[int, int]) -> asyncio.Future[int]:
    """A batch that runs until `runs.open` is set, so that others gather behind it."""
    runs.open.clear()
    [first] = made.submit([0])
    while not runs.began.is_set():
        await asyncio.sleep(0.001)
    return first


def test_those_who_wait_together_run_together() -> None:
    async def main() -> None:
        runs = Runs()
        made = batcher(runs)
        first = await held(runs, made)
        futures = [made.submit([value])[0] for value in range(1, 6)]
        runs.open.set()
        assert await asyncio.gather(first, *futures) == [0, 2, 4, 6, 8, 10]
        assert runs.batches == [[0], [1, 2, 3, 4, 5]]
        await made.close()

    asyncio.run(main())


def test_batches_are_of_one_key_the_oldest_first_and_no_larger_than_allowed() -> None:
    async def main() -> None:
        runs = Runs()
        made = batcher(runs, key=lambda value: value % 2, cost=lambda value: value, most_cost=10)
        await held(runs, made)
        values = [3, 4, 5, 6, 1, 7, 20]
        futures = made.submit(values)
        runs.open.set()
        assert await asyncio.gather(*futures) == [2 * value for value in values]
        assert runs.batches == [[0], [3, 5, 1], [4, 6], [7], [20]]
        await made.close()

    asyncio.run(main())


@given(st.lists(st.integers(-3, 30), min_size=1, max_size=24))
def test_whoever_is_at_fault_fails_alone(values: list[int]) -> None:
    async def main() -> None:
        made = batcher(Runs(), most_cost=100)
        results = await asyncio.gather(*made.submit(values), return_exceptions=True)
        for value, result in zip(values, results, strict=True):
            if value < 0:
                assert isinstance(result, ValueError)
                assert str(result) == f"negative among [{value}]"
            else:
                assert result == 2 * value
        await made.close()

    asyncio.run(main())


def test_a_batch_with_too_few_results_is_nobody_s_answer() -> None:
    async def main() -> None:
        made = batcher(lambda values: values[1:])
        results = await asyncio.gather(*made.submit([1, 2, 3]), return_exceptions=True)
        assert all(isinstance(result, RuntimeError) for result in results)
        await made.close()

    asyncio.run(main())


def test_a_full_queue_takes_all_or_nothing() -> None:
    async def main() -> None:
        runs = Runs()
        made = batcher(runs, most_waiting=3)
        first = await held(runs, made)
        waiting = made.submit([1, 2])
        with pytest.raises(FullError):
            made.submit([3, 4])
        assert len(made) == 2
        [third] = made.submit([3])
        with pytest.raises(FullError):
            made.submit([4])
        # Whoever has gone makes room.
        waiting[0].cancel()
        [fourth] = made.submit([4])
        runs.open.set()
        assert await asyncio.gather(first, waiting[1], third, fourth) == [0, 4, 6, 8]
        assert runs.batches == [[0], [2, 3, 4]]
        await made.close()

    asyncio.run(main())


def test_a_small_request_does_not_wait_for_all_of_a_large_one() -> None:
    async def main() -> None:
        runs = Runs()
        made = batcher(runs, most_cost=2)
        await held(runs, made)
        large = made.submit(list(range(10, 20)))
        other = made.submit(list(range(20, 30)))
        [small] = made.submit([1])
        runs.open.set()
        await small
        # With the first of each, or right behind them.
        assert any(1 in batch for batch in runs.batches[:3])
        await asyncio.gather(*large, *other)
        await made.close()

    asyncio.run(main())


def test_many_small_requests_do_not_keep_a_large_one_waiting() -> None:
    async def main() -> None:
        made = batcher(Runs(), cost=lambda value: value, most_cost=1)
        stop = False

        async def ask() -> None:
            while not stop:
                assert await made.submit([1])[0] == 2

        asking = [asyncio.create_task(ask()) for _ in range(3)]
        await asyncio.sleep(0.01)
        assert await asyncio.wait_for(made.submit([50])[0], 10) == 100
        stop = True
        await asyncio.gather(*asking)
        await made.close()

    asyncio.run(main())


def test_whoever_waits_with_much_more_makes_room() -> None:
    async def main() -> None:
        runs = Runs()
        made = batcher(runs, most_waiting=10)
        await held(runs, made)
        large, middle = made.submit([1] * 6), made.submit([2] * 4)
        with pytest.raises(FullError):
            made.submit([3] * 3)
        small = made.submit([4] * 2)
        runs.open.set()
        found = await asyncio.gather(*large, return_exceptions=True)
        assert all(isinstance(error, FullError) for error in found)
        assert await asyncio.gather(*middle, *small) == [4] * 4 + [8] * 2
        assert runs.batches == [[0], [2] * 4 + [4] * 2]
        await made.close()

    asyncio.run(main())


def test_who_has_gone_is_dropped_from_the_batch() -> None:
    async def main() -> None:
        runs = Runs()
        made = batcher(runs)
        first = await held(runs, made)
        futures = made.submit([1, 2, 3])
        futures[1].cancel()
        first.cancel()
        runs.open.set()
        assert await asyncio.gather(futures[0], futures[2]) == [2, 6]
        assert runs.batches == [[0], [1, 3]]
        await made.close()

    asyncio.run(main())


def test_closing_finishes_what_was_taken() -> None:
    async def main() -> None:
        runs = Runs()
        made = batcher(runs, key=lambda value: value)
        await held(runs, made)
        futures = made.submit([1, 2, 3])
        closing = asyncio.create_task(made.close())
        await asyncio.sleep(0.01)
        with pytest.raises(ClosedError):
            made.submit([4])
        runs.open.set()
        assert await asyncio.gather(*futures) == [2, 4, 6]
        await closing

    asyncio.run(main())


def test_who_comes_alone_never_waits_and_who_had_company_does() -> None:
    async def main() -> None:
        runs = Runs()
        made = batcher(runs, wait=0.05)
        began = time.perf_counter()
        for value in range(20):
            assert await made.submit([value])[0] == 2 * value
        assert time.perf_counter() - began < 20 * 0.05 / 2
        assert runs.batches == [[value] for value in range(20)]
        # Three came together; the next three are awaited.
        await asyncio.gather(*made.submit([1, 2, 3]))
        later = []
        for value in (4, 5, 6):
            later += made.submit([value])
            await asyncio.sleep(0.002)
        await asyncio.gather(*later)
        assert runs.batches[-2:] == [[1, 2, 3], [4, 5, 6]]
        await made.close()

    asyncio.run(main())
