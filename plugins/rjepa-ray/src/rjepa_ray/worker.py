"""A worker: an engine, and the ordinary extraction loop around it, in a process of its own.

The loop runs in a thread of its own; the driver's calls come in another. Both share the `Desk`,
which is the loop's queue and its sink.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import attrs

from rjepa_core.domain.latents import LatentRecord
from rjepa_core.domain.trace import Failure, RecordKey, Work
from rjepa_core.extraction import Engine, Pending, open_engine
from rjepa_core.ports.backend import Room
from rjepa_core.ports.executor import Progress, Watch
from rjepa_core.ports.scheduler import Decision
from rjepa_core.settings import ExtractionSettings

from .messages import Answer, Broken, Hello, Parcel, broken

# Room for given solutions is counted in tokens, not rows; so many are held ahead of the loop.
GIVEN_ROWS = 64


class Desk:
    """The exchange of work and results between the loop and the driver; safe for these two threads.

    The loop uses it as `WorkQueue`, `RecordSink` and `Watch`, the driver by `swap`.
    """

    def __init__(self, rows: int) -> None:
        self._changed = threading.Condition()
        self._inbox = Pending(())
        self._buffered: set[RecordKey] = set()
        self._at_work = 0
        self._rows = rows
        self._written: list[LatentRecord] = []
        self._failed: list[Failure] = []
        self._records: list[LatentRecord] = []
        self._failures: list[Failure] = []
        self._decisions: list[Decision] = []
        self._progress = Progress()
        self._waiting = self._closed = self._ended = False
        self._error: Broken | None = None

    # --- the driver's side --------------------------------------------------------------------

    def swap(self, work: Sequence[Work], stop: bool, timeout: float) -> Parcel | Broken:
        """Hand in work and return what is finished, as soon as there is any or after `timeout`."""
        with self._changed:
            self._put(work)
            self._closed = self._closed or stop
            self._changed.notify_all()
            self._changed.wait_for(self._has_news, timeout)
            if self._error is not None:
                return self._error
            parcel = Parcel(
                tuple(self._records),
                tuple(self._failures),
                tuple(self._leave()) if self._ended else (),
                tuple(self._decisions),
                self._progress,
                self._rows,
                self._waiting and not self._buffered,
                self._ended,
            )
            self._records, self._failures, self._decisions = [], [], []
            return parcel

    def close(self) -> None:
        """Tell the loop that no more work will come."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _has_news(self) -> bool:
        return bool(self._records or self._failures or self._ended or self._error)

    # --- the loop's side: queue ---------------------------------------------------------------

    def __bool__(self) -> bool:
        """Wait until there is work or the desk is closed; return whether it is open."""
        with self._changed:
            self._waiting = True
            self._changed.wait_for(lambda: self._buffered or self._closed)
            self._waiting = False
            return not self._closed

    def take(
        self, room: Room, cost: Callable[[Work], int], at_least_one: bool = False
    ) -> list[Work]:
        """See `WorkQueue`."""
        with self._changed:
            if self._closed and not at_least_one:
                return []
            taken = self._inbox.take(room, cost, at_least_one)
            given = any(work.given is not None for work in taken)
            self._buffered.difference_update(work.key for work in taken)
            # The rows that there is room for and those at work; as many again are held ahead.
            self._rows = max(GIVEN_ROWS if given else 1, room.rows + self._at_work)
            self._at_work += len(taken)
            return taken

    def put_back(self, work: Sequence[Work]) -> None:
        """See `WorkQueue`."""
        with self._changed:
            self._at_work -= len(work)
            self._put(work)

    def _put(self, work: Sequence[Work]) -> None:
        self._inbox.put_back(work)
        self._buffered.update(item.key for item in work)

    def _leave(self) -> list[Work]:
        """Return all work that was never begun."""
        every = Room(len(self._buffered), None, len(self._buffered), 0)
        left: list[Work] = []
        while self._inbox:
            left += self._inbox.take(every, lambda work: 1)
        self._buffered.clear()
        return left

    # --- the loop's side: sink and watch ------------------------------------------------------

    def write(self, records: Sequence[LatentRecord], failures: Sequence[Failure] = ()) -> None:
        """See `RecordSink`.

        This never waits: the driver hands out work no faster than it takes results, so that no more
        than the work handed in can accumulate. Results leave with the counts that include them.
        """
        with self._changed:
            self._written.extend(records)
            self._failed.extend(failures)
            self._at_work -= len(records) + len(failures)

    def commit(self) -> None:
        """Do nothing: the driver commits."""

    def update(self, progress: Progress) -> None:
        """Take the counts after a step."""
        with self._changed:
            self._records.extend(self._written)
            self._failures.extend(self._failed)
            self._written, self._failed = [], []
            self._progress = attrs.evolve(progress, reasons=dict(progress.reasons))
            self._changed.notify_all()

    def decided(self, decision: Decision) -> None:
        """Keep a change of size for the driver."""
        with self._changed:
            self._decisions.append(decision)

    @property
    def stopped(self) -> bool:
        """Whether nothing more is to be begun."""
        return self._closed

    def end(self, error: Broken | None = None) -> None:
        """Tell the driver that the loop has ended."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()


class Worker:
    """The object in a worker's process. The engine is used in one thread only, whoever calls."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "engine")
        self._engine: Engine | None = None
        self._desk: Desk | None = None

    def open(self, settings: ExtractionSettings) -> Answer:
        """Load the model and return a `Hello`, or the error."""
        try:
            engine = self._thread.submit(open_engine, settings).result()
        except Exception as error:
            return broken(error)
        self._engine = engine
        return Hello(engine.info, engine.rows, f"{socket.gethostname()}, process {os.getpid()}")

    def begin(self, layers: tuple[int, ...]) -> None:
        """Begin a run, to which `exchange` then hands work."""
        engine, before = self._engine, self._desk
        assert engine is not None
        if before is not None:
            before.close()
        self._desk = desk = Desk(engine.rows)
        self._thread.submit(_loop, engine, layers, desk)

    def exchange(self, work: Sequence[Work], stop: bool, timeout: float) -> Answer:
        """See `Desk.swap`."""
        assert self._desk is not None
        return self._desk.swap(work, stop, timeout)

    def end(self) -> None:
        """End the run; another may begin."""
        if self._desk is not None:
            self._desk.close()


def _loop(engine: Engine, layers: tuple[int, ...], desk: Desk) -> None:
    watch = Watch(report=desk.update, decided=desk.decided, stop=lambda: desk.stopped)
    try:
        engine.extract(layers, desk, desk, watch)
    except BaseException as error:
        desk.end(broken(error))
    else:
        desk.end()
