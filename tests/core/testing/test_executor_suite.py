"""The executors' contract finds what is wrong with executors that break a promise."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import attrs
import pytest

from rjepa_core.domain.latents import LatentRecord
from rjepa_core.domain.trace import Failure, Work
from rjepa_core.extraction.engine import Engine, open_engine
from rjepa_core.ports.backend import ModelInfo, Room
from rjepa_core.ports.executor import Ending, Progress, Watch, WorkQueue
from rjepa_core.ports.store import RecordSink
from rjepa_core.settings.extraction import ExtractionSettings
from rjepa_core.testing.executor_suite import ExecutorContract


class Plain:
    """The loop, with a sink and a queue that a subclass may spoil."""

    def __init__(self, settings: ExtractionSettings) -> None:
        self.engine: Engine = open_engine(settings)

    @property
    def info(self) -> ModelInfo:
        return self.engine.info

    @property
    def rows(self) -> int:
        return self.engine.rows

    def run(
        self,
        layers: tuple[int, ...],
        pending: WorkQueue,
        missing: int,
        sink: RecordSink,
        watch: Watch,
    ) -> tuple[Ending, Progress]:
        return self.engine.extract(layers, self.queue(pending), self.sink(sink), self.watch(watch))

    def queue(self, pending: WorkQueue) -> WorkQueue:
        return pending

    def sink(self, sink: RecordSink) -> RecordSink:
        return sink

    def watch(self, watch: Watch) -> Watch:
        return watch

    def close(self) -> None:
        self.engine.close()


@attrs.define
class Through:
    """A sink in front of a sink."""

    inner: RecordSink

    def write(self, records: Sequence[LatentRecord], failures: Sequence[Failure] = ()) -> None:
        self.inner.write(records, failures)

    def commit(self) -> None:
        self.inner.commit()


class Loses(Plain):
    def sink(self, sink: RecordSink) -> RecordSink:
        class Lossy(Through):
            def write(
                self, records: Sequence[LatentRecord], failures: Sequence[Failure] = ()
            ) -> None:
                super().write(records[1:], failures)

        return Lossy(sink)


class Repeats(Plain):
    def sink(self, sink: RecordSink) -> RecordSink:
        class Twice(Through):
            def write(
                self, records: Sequence[LatentRecord], failures: Sequence[Failure] = ()
            ) -> None:
                super().write(records, failures)
                super().write(records[:1])

        return Twice(sink)


class Swaps(Plain):
    def sink(self, sink: RecordSink) -> RecordSink:
        class Mixed(Through):
            def write(
                self, records: Sequence[LatentRecord], failures: Sequence[Failure] = ()
            ) -> None:
                vectors = [record.prompt_latent for record in records][::-1]
                mixed = [
                    attrs.evolve(record, prompt_latent=vector)
                    for record, vector in zip(records, vectors, strict=True)
                ]
                super().write(mixed, failures)

        return Mixed(sink)


class DropsFailures(Plain):
    def sink(self, sink: RecordSink) -> RecordSink:
        class Silent(Through):
            def write(
                self, records: Sequence[LatentRecord], failures: Sequence[Failure] = ()
            ) -> None:
                super().write(records)

        return Silent(sink)


class WritesElsewhere(Plain):
    def sink(self, sink: RecordSink) -> RecordSink:
        class Threaded(Through):
            def write(
                self, records: Sequence[LatentRecord], failures: Sequence[Failure] = ()
            ) -> None:
                raised: list[BaseException] = []

                def write() -> None:
                    try:
                        self.inner.write(records, failures)
                    except BaseException as error:
                        raised.append(error)

                thread = threading.Thread(target=write)
                thread.start()
                thread.join()
                for error in raised:
                    raise error

        return Threaded(sink)


class Greedy(Plain):
    """Takes everything at once."""

    def queue(self, pending: WorkQueue) -> WorkQueue:
        class Hoard:
            def __init__(self) -> None:
                self.held = pending.take(Room(10**6, None, 10**6, 0), lambda work: 1)

            def __bool__(self) -> bool:
                return bool(self.held)

            def take(
                self, room: Room, cost: Callable[[Work], int], at_least_one: bool = False
            ) -> list[Work]:
                taken, self.held = self.held[: room.rows], self.held[room.rows :]
                return taken

            def put_back(self, work: Sequence[Work]) -> None:
                self.held += work

        return Hoard()


class NeverStops(Plain):
    def watch(self, watch: Watch) -> Watch:
        return attrs.evolve(watch, stop=lambda: False)


class Uninterruptible(Plain):
    def watch(self, watch: Watch) -> Watch:
        return Watch(report=watch.report, stop=watch.stop)


class ForgetsToCommit(Plain):
    def sink(self, sink: RecordSink) -> RecordSink:
        class Open(Through):
            def commit(self) -> None:
                pass

        return Open(sink)


@pytest.mark.parametrize(
    ("mutant", "test", "promise"),
    [
        (Loses, "test_the_records_are_those_of_one_process", "lost: "),
        (Repeats, "test_the_records_are_those_of_one_process", "reached the sink twice"),
        (Swaps, "test_the_records_are_those_of_one_process", "differs from one process"),
        (DropsFailures, "test_failures_reach_the_sink", "failures are lost"),
        (WritesElsewhere, "test_the_records_are_those_of_one_process", "another thread"),
        (Greedy, "test_the_sink_is_never_outrun", "were taken and not written"),
        (NeverStops, "test_when_it_is_stopped_what_is_in_flight_is_finished", "told to stop"),
        (
            Uninterruptible,
            "test_an_interrupt_commits_and_is_raised_again",
            "an interrupt is raised again",
        ),
        (
            Uninterruptible,
            "test_it_waits_only_where_an_interrupt_may_be_raised",
            "would wait for the end",
        ),
        (ForgetsToCommit, "test_an_interrupt_commits_and_is_raised_again", "not committed"),
    ],
)
def test_the_suite_names_the_broken_promise(mutant: type[Plain], test: str, promise: str) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception), match=promise):
        getattr(ExecutorContract(), test)(mutant)


def test_the_plain_loop_passes() -> None:
    for name in dir(ExecutorContract):
        if name.startswith("test_"):
            getattr(ExecutorContract(), name)(Plain)
