"""Requests that come together are run together. No framework, no sockets: asyncio alone.

One thread runs one batch after the other; meanwhile the next ones gather. A batch holds what has
the same key, up to a cost. Whose turn it is, fair queueing decides: first comes what would end
first if all requests were run at once, so that a small one never waits for all of a large one.
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
# A batch older than this says nothing of who may come now.
_RECENT_SECONDS = 0.1


class FullError(Exception):
    """As much waits as may; come again later."""


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
    """Runs values in batches, in a thread of its own.

    Made and used within a running event loop.

    Args:
        run: values of one key to as many results, in order. Where it raises, the values are run
            again in halves, so that whoever is at fault fails alone.
        key: values of one key may share a batch.
        cost: of a value.
        most_cost: of a batch; a value that costs more is run alone.
        most_waiting: values that wait.
        wait: seconds that the first of a batch waits for company, where the one before had any.
        ran: told the number of values and the cost of each batch.
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
        # What each request would have had by now, if all that wait were run at once.
        self._served = 0.0
        self._company, self._ended = 0, 0.0
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._task = self._loop.create_task(self._work())

    def __len__(self) -> int:
        """Values that wait, those whose callers have gone included until they are met."""
        return len(self._waiting)

    def submit(self, values: Sequence[T]) -> list[asyncio.Future[R]]:
        """Take all the values or none; a future that is cancelled in time is never run.

        Where they do not fit, the request that waits with most values, if more than twice as many,
        makes room: its futures end with `FullError`.

        Raises:
            FullError, ClosedError: they are not taken.
        """
        if self._closing:
            raise ClosedError
        while len(self._waiting) + len(values) > self._most_waiting:
            if not self._forget_gone() and not self._make_room(len(values)):
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
        """Take nothing more, finish what was taken, and end the thread."""
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
            results = await self._loop.run_in_executor(self._thread, self._apart, values)
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
        """Wait for as many as came together last time, if that was a moment ago."""
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

    def _forget_gone(self) -> bool:
        """Whether anyone has gone."""
        before = len(self._waiting)
        self._waiting = [item for item in self._waiting if not item.future.done()]
        return len(self._waiting) < before

    def _make_room(self, wanted: int) -> bool:
        """Whether a request had so many values more that it had to go."""
        counts = Counter(item.request for item in self._waiting)
        for request, count in counts.most_common(1):
            if count > 2 * wanted:
                for item in self._waiting:
                    if item.request is request:
                        item.future.set_exception(FullError())
                return self._forget_gone()
        return False

    def _take(self) -> list[_Item[T, R]]:
        """The value whose turn it is, and others of its key that fit; the rest waits on."""
        self._forget_gone()
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

    def _apart(self, values: list[T]) -> list[R | _Failed]:
        """In the thread: a result or a failure a value."""
        try:
            results = self._run(values)
            if len(results) != len(values):
                raise RuntimeError(f"{len(values)} values, but {len(results)} results")
            return list(results)
        except Exception as error:
            if len(values) == 1:
                return [_Failed(error)]
        half = len(values) // 2
        return self._apart(values[:half]) + self._apart(values[half:])


@attrs.frozen(eq=False)
class _Failed:
    error: Exception
