"""The promises of every executor, as tests that an executor's own tests inherit.

    class TestMyExecutor(ExecutorContract):
        @pytest.fixture
        def make(self):
            opened = []

            def make_one(settings):
                opened.append(MyExecutor(settings, Registry(), MySettings(workers=2)))
                return opened[-1]

            yield make_one
            for executor in opened:
                executor.close()

The work is done by the seeded backend, so that every record is known in advance. Each failure names
the broken promise.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from ..domain.latents import LatentRecord
from ..domain.problem import GivenSolution, Problem
from ..domain.trace import Failure, RecordKey, Work
from ..errors import StoreError, UsageError
from ..extraction import Pending, open_engine
from ..ports.backend import Room
from ..ports.executor import Ending, Executor, Progress, Watch
from ..settings import AdapterSettings, ExtractionSettings
from .promises import raises
from .samples import record_differences

LAYERS = (1, 3)
ROWS = 4
Make = Callable[[ExtractionSettings], Executor]


class Sink:
    """A sink that keeps everything, and refuses repeated keys and calls from another thread."""

    def __init__(self, delay: float = 0.0, full_after: int | None = None) -> None:
        self.records: dict[RecordKey, LatentRecord] = {}
        self.failures: dict[RecordKey, Failure] = {}
        self.commits = 0
        self._delay, self._full_after = delay, full_after
        self._thread = threading.get_ident()

    def write(self, records: Sequence[LatentRecord], failures: Sequence[Failure] = ()) -> None:
        """See `RecordSink`."""
        assert threading.get_ident() == self._thread, "the sink was called from another thread"
        if self._full_after is not None and len(self.records) >= self._full_after:
            raise StoreError("the disk is full")
        time.sleep(self._delay * (len(records) + len(failures)))
        for key in [r.key for r in records] + [f.key for f in failures]:
            assert key not in self.keys(), f"{key} reached the sink twice"
        self.records.update((record.key, record) for record in records)
        self.failures.update((failure.key, failure) for failure in failures)

    def commit(self) -> None:
        """See `RecordSink`."""
        self.commits += 1

    def keys(self) -> set[RecordKey]:
        """Return the keys of everything written."""
        return self.records.keys() | self.failures.keys()


class Queue:
    """A queue that counts what was taken and not put back."""

    def __init__(self, work: Sequence[Work]) -> None:
        self._pending = Pending(work)
        self.out = 0

    def __bool__(self) -> bool:
        return bool(self._pending)

    def take(
        self, room: Room, cost: Callable[[Work], int], at_least_one: bool = False
    ) -> list[Work]:
        """See `WorkQueue`."""
        taken = self._pending.take(room, cost, at_least_one)
        self.out += len(taken)
        return taken

    def put_back(self, work: Sequence[Work]) -> None:
        """See `WorkQueue`."""
        self.out -= len(work)
        self._pending.put_back(work)


class ExecutorContract:
    """Inherit and define a fixture `make`; the class attribute may be changed.

    The fixture returns a function that opens an executor for a run's settings, and closes the
    executors after the test.

    Attributes:
        ahead: most work that may be taken and not yet in the sink, as a multiple of `rows`.
    """

    ahead = 3

    @pytest.fixture
    def make(self) -> Make:
        raise NotImplementedError("define a fixture `make`")

    @staticmethod
    def settings(**backend: Any) -> ExtractionSettings:
        """Return settings for a run of the seeded backend, `ROWS` rows at a time."""
        return ExtractionSettings(
            model="contract",
            store="memory:contract",
            backend=AdapterSettings(name="seeded", options=backend),
            scheduler=AdapterSettings(name="fixed", options={"batch_size": ROWS}),
        )

    @staticmethod
    def work(count: int) -> list[Work]:
        """Return work on `count` problems of several lengths."""
        return [
            Work(Problem(f"p{i:03}", f"What is {i} + {i}{'?' * (i % 7)}")) for i in range(count)
        ]

    def run(
        self, executor: Executor, work: Sequence[Work], sink: Sink, **watch: Any
    ) -> tuple[Ending, Progress, Queue]:
        """Run the executor on the work."""
        queue = Queue(work)
        ending, progress = executor.run(LAYERS, queue, len(work), sink, Watch(**watch))
        return ending, progress, queue

    def test_it_says_what_the_model_is(self, make: Make) -> None:
        settings = self.settings()
        executor, engine = make(settings), open_engine(settings)
        assert executor.info.content == engine.info.content, "info is another model's"
        assert executor.info.hidden_states == engine.info.hidden_states, "info is another model's"
        assert executor.rows >= ROWS, "rows is less than one worker begins with"

    def test_the_records_are_those_of_one_process(self, make: Make) -> None:
        work, settings = self.work(40), self.settings(delay=0.002)
        expected, found = Sink(), Sink()
        open_engine(settings).extract(LAYERS, Pending(work), expected, Watch())
        ending, progress, queue = self.run(make(settings), work, found)
        assert ending is Ending.DONE, f"everything was done, and it says {ending}"
        assert not queue, "work was left"
        lost = expected.keys() - found.keys()
        assert not lost, f"lost: {sorted(lost)}"
        for key, record in expected.records.items():
            differing = record_differences(found.records[key], record)
            assert not differing, f"{key} differs from one process: {', '.join(differing)}"
        assert progress.records == len(found.records), "the counts are not those of the sink"
        steps = sum(len(record.trace.spans) for record in found.records.values())
        assert progress.steps == steps, "the steps are not those of the sink"
        assert progress.new_tokens >= progress.tokens, "tokens are not counted"
        assert found.commits, "what was finished was not committed"

    def test_failures_reach_the_sink(self, make: Make) -> None:
        given = [
            Work(
                work.problem,
                0,
                GivenSolution("" if i % 5 == 0 else f"Step 1: add {i}.\nStep 2: so"),
            )
            for i, work in enumerate(self.work(20))
        ]
        sink = Sink()
        _, progress, _ = self.run(make(self.settings()), given, sink)
        empty = {work.key for i, work in enumerate(given) if i % 5 == 0}
        assert sink.failures.keys() == empty, "failures are lost or made up"
        assert sink.records.keys() == {work.key for work in given} - empty, "records are lost"
        counts = (progress.records, progress.failures)
        assert counts == (16, 4), f"the counts are not those of the sink: {counts}"
        assert sum(progress.reasons.values()) == progress.failures, "a failure has no reason"

    def test_counts_only_grow_and_end_with_all(self, make: Make) -> None:
        seen: list[int] = []
        caller = threading.get_ident()

        def report(progress: Progress) -> None:
            assert threading.get_ident() == caller, "report was called from another thread"
            seen.append(progress.records)

        self.run(make(self.settings(delay=0.01)), self.work(24), Sink(), report=report)
        assert seen == sorted(seen), f"counts went back: {seen}"
        assert seen[-1] == 24, "the last report does not count everything"
        assert len(seen) > 2, "nothing was reported before the end"

    def test_nothing_to_do(self, make: Make) -> None:
        sink = Sink()
        ending, progress, _ = self.run(make(self.settings()), [], sink)
        assert ending is Ending.DONE, f"everything was done, and it says {ending}"
        assert progress.records == 0, "it counts what was never there"

    def test_it_runs_again(self, make: Make) -> None:
        """As for a trial with a few rows, followed by the run on the same executor."""
        executor, work = make(self.settings()), self.work(20)
        first, second = Sink(), Sink()
        self.run(executor, work[:5], first)
        ending, progress, _ = self.run(executor, work[5:], second)
        assert first.keys() == {item.key for item in work[:5]}, "the first run lost work"
        assert second.keys() == {item.key for item in work[5:]}, "the second run lost work"
        assert ending is Ending.DONE, f"everything was done, and it says {ending}"
        assert progress.records == 15, "the counts of an earlier run were kept"

    def test_when_it_is_stopped_what_is_in_flight_is_finished(self, make: Make) -> None:
        work, sink = self.work(200), Sink()
        ending, progress, queue = self.run(
            make(self.settings(delay=0.02)), work, sink, stop=lambda: len(sink.records) >= 8
        )
        assert ending is Ending.STOPPED, "it was told to stop and did everything"
        assert 8 <= len(sink.keys()) < 200, "it went on"
        assert queue.out == len(sink.keys()), "work is neither in the sink nor pending"
        rest = {item.key for item in queue.take(Room(1000, None, 0, 0), lambda work: 1)}
        while queue:
            rest |= {item.key for item in queue.take(Room(1000, None, 0, 0), lambda work: 1)}
        assert rest | sink.keys() == {item.key for item in work}, "work was lost"
        assert not rest & sink.keys(), "finished work is pending again"
        assert progress.records == len(sink.records), "the counts are not those of the sink"

    def test_the_sink_is_never_outrun(self, make: Make) -> None:
        executor, sink = make(self.settings()), Sink(delay=0.004)
        queue = Queue(self.work(160))
        most = 0

        def report(progress: Progress) -> None:
            nonlocal most
            most = max(most, queue.out - len(sink.keys()))

        executor.run(LAYERS, queue, 160, sink, Watch(report=report))
        bound = self.ahead * executor.rows
        assert most <= bound, f"{most} were taken and not written; at most {bound} may be"

    def test_a_sink_that_fails_ends_the_run(self, make: Make) -> None:
        with raises(StoreError, "a sink that fails ends the run", match="the disk is full"):
            self.run(make(self.settings()), self.work(60), Sink(full_after=20))

    def test_an_interrupt_commits_and_is_raised_again(self, make: Make) -> None:
        sink = Sink()

        @contextmanager
        def computing() -> Iterator[None]:
            if len(sink.records) >= 8:
                raise KeyboardInterrupt
            yield

        with raises(KeyboardInterrupt, "an interrupt is raised again"):
            self.run(make(self.settings(delay=0.02)), self.work(200), sink, computing=computing)
        assert sink.commits, "what was finished was not committed"
        assert len(sink.records) < 200, "the interrupt waited for the end"

    def test_it_waits_only_where_an_interrupt_may_be_raised(self, make: Make) -> None:
        """A write is never interrupted: `computing` is not entered around it."""
        inside, entered = False, 0

        @contextmanager
        def computing() -> Iterator[None]:
            nonlocal inside, entered
            inside, entered = True, entered + 1
            try:
                yield
            finally:
                inside = False

        class Watchful(Sink):
            def write(
                self, records: Sequence[LatentRecord], failures: Sequence[Failure] = ()
            ) -> None:
                assert not inside, "the sink was written to where an interrupt may be raised"
                super().write(records, failures)

        self.run(make(self.settings()), self.work(20), Watchful(), computing=computing)
        assert entered, "`computing` was never entered: an interrupt would wait for the end"

    def test_what_loading_refuses_is_refused(self, make: Make) -> None:
        with raises(UsageError, "what loading refuses is refused", match="no_such_setting"):
            make(self.settings(no_such_setting=1))

    def test_closing_twice(self, make: Make) -> None:
        executor = make(self.settings())
        executor.close()
        executor.close()
