"""Run requests that arrive together in batches. No framework, no sockets: asyncio alone.

One thread runs one batch after the other while the next requests arrive. A batch holds values of
one key, up to a cost. Fair queueing decides the order: first comes what would finish first if all
requests ran at once, so that a small one never waits for all of a large one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

import attrs

T = TypeVar("T")
R = TypeVar("R")
# A batch older than this says nothing about the requests to expect now.
_RECENT_SECONDS = 0.1


class FullError(Exception):
    """The queue is full."""


class ClosedError(Exception):
    """The service is stopping."""


@attrs.define(eq=False)
class _Item(Generic[T, R]):
    key: Hashable
    cost: int
    value: T
    future: asyncio.Future[R]
    turn: float
    request: object


class Batcher(Generic[T, R]):
    """Runs values in batches, in a thread of its own; created and used in a running event loop.

    Args:
        run: turns values of one key into as many results, in order. If it raises, the values are
            run again in halves, so that only those that cause the error fail.
        key: returns a value's key; values of one key may share a batch.
        cost: returns a value's cost.
        most_cost: most cost of a batch; a value that costs more is run alone.
        most_waiting: most values that may wait.
        wait: seconds that the first of a batch waits for more, if the last batch held several.
        ran: called with the number of values and the cost of each batch.
        name: of the thread.
    """

    def __init__(
        self,
        run: Callable[[list[T]], Sequence[R]],
        *,
        key: Callable[[T], Hashable] = lambda value: None,
        cost: Callable[[T], int] = lambda value: 1,
        most_cost: int,
        most_waiting: int,
        wait: float = 0.0,
        ran: Callable[[int, int], None] = lambda values, cost: None,
        name: str = "batches",
    ) -> None:
        self._run, self._key, self._cost = run, key, cost
        self._most_cost, self._most_waiting, self._wait = most_cost, most_waiting, wait
        self._ran = ran
        self._waiting: list[_Item[T, R]] = []
        self._arrived = asyncio.Event()
        self._closing = False
        # The cost each request would have been served by now, if all that wait ran at once.
        self._served = 0.0
        self._company, self._ended = 0, 0.0
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._task = self._loop.create_task(self._work())

    def __len__(self) -> int:
        """Return how many values wait, including cancelled ones that were not yet noticed."""
        return len(self._waiting)

    def submit(self, values: Sequence[T]) -> list[asyncio.Future[R]]:
        """Accept all the values or none; a future that is cancelled in time is never run.

        If they do not fit, the request with the most waiting values is dropped, provided that it
        has more than twice as many: its futures end with `FullError`.

        Raises:
            FullError, ClosedError: the values are not accepted.
        """
        if self._closing:
            raise ClosedError
        while len(self._waiting) + len(values) > self._most_waiting:
            if not self._drop_done() and not self._make_room(len(values)):
                raise FullError
        request, turn = object(), self._served
        items: list[_Item[T, R]] = []
        for value in values:
            cost = self._cost(value)
            turn += cost
            future = self._loop.create_future()
            items.append(_Item(self._key(value), cost, value, future, turn, request))
        self._waiting += items
        self._arrived.set()
        return [item.future for item in items]

    async def close(self) -> None:
        """Accept nothing more, finish what was accepted, and end the thread."""
        self._closing = True
        self._arrived.set()
        await self._task
        self._thread.shutdown()

    async def _work(self) -> None:
        while True:
            while not self._waiting:
                if self._closing:
                    return
                self._arrived.clear()
                await self._arrived.wait()
                await self._await_company()
            batch = self._take()
            if not batch:
                continue
            values = [item.value for item in batch]
            results = await self._loop.run_in_executor(self._thread, self._run_isolated, values)
            self._company, self._ended = len(batch), self._loop.time()
            self._ran(len(batch), sum(item.cost for item in batch))
            for item, result in zip(batch, results, strict=True):
                if item.future.done():
                    continue
                if isinstance(result, _Failed):
                    item.future.set_exception(result.error)
                else:
                    item.future.set_result(result)

    async def _await_company(self) -> None:
        """Wait for as many values as the last batch held, if that was a moment ago."""
        began = self._loop.time()
        if self._company < 2 or began - self._ended > _RECENT_SECONDS or self._closing:
            return
        until = began + self._wait
        while not self._closing and len(self._waiting) < self._company:
            left = until - self._loop.time()
            if left <= 0:
                return
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), left)
            except TimeoutError:
                return

    def _drop_done(self) -> bool:
        """Drop values whose futures are done; return whether there were any."""
        before = len(self._waiting)
        self._waiting = [item for item in self._waiting if not item.future.done()]
        return len(self._waiting) < before

    def _make_room(self, wanted: int) -> bool:
        """Drop the request with the most values, if more than twice `wanted`; return whether."""
        counts = Counter(item.request for item in self._waiting)
        for request, count in counts.most_common(1):
            if count > 2 * wanted:
                for item in self._waiting:
                    if item.request is request:
                        item.future.set_exception(FullError())
                return self._drop_done()
        return False

    def _take(self) -> list[_Item[T, R]]:
        """Remove and return the value whose turn it is, and others of its key that fit."""
        self._drop_done()
        chosen: set[_Item[T, R]] = set()
        key, cost = None, 0
        for item in sorted(self._waiting, key=lambda item: item.turn):
            if not chosen:
                key = item.key
            elif item.key != key or cost + item.cost > self._most_cost:
                continue
            chosen.add(item)
            cost += item.cost
        self._served += cost / max(1, len({item.request for item in self._waiting}))
        batch = [item for item in self._waiting if item in chosen]
        self._waiting = [item for item in self._waiting if item not in chosen]
        return batch

    def _run_isolated(self, values: list[T]) -> list[R | _Failed]:
        """Run values in the thread and return a result or a failure for each."""
        try:
            results = self._run(values)
            if len(results) != len(values):
                raise RuntimeError(f"{len(values)} values, but {len(results)} results")
            return list(results)
        except Exception as error:
            if len(values) == 1:
                return [_Failed(error)]
        half = len(values) // 2
        return self._run_isolated(values[:half]) + self._run_isolated(values[half:])


@attrs.frozen(eq=False)
class _Failed:
    error: Exception
