"""Hand out, take in, redo: the driver over workers that are threads of this process, and die."""

from __future__ import annotations

import queue
import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence

import attrs
import pytest
from rjepa_ray.crew import Crew
from rjepa_ray.dispatch import LOST_WORKER, Dispatch
from rjepa_ray.messages import Answer, Hello, Lost, Parcel
from rjepa_ray.worker import Desk, Worker

from rjepa_core.domain.trace import Work
from rjepa_core.errors import BackendError
from rjepa_core.extraction.engine import open_engine
from rjepa_core.extraction.queue import Pending
from rjepa_core.ports.backend import Room
from rjepa_core.ports.executor import Ending, Progress, Watch
from rjepa_core.ports.scheduler import Decision
from rjepa_core.settings.extraction import ExtractionSettings
from rjepa_core.testing.executor_suite import LAYERS, ROWS, ExecutorContract, Queue, Sink
from rjepa_core.testing.samples import record_differences

SETTINGS = ExecutorContract.settings(delay=0.001)
Dies = Callable[[int, Answer], bool]


class Threads:
    """A pool whose workers are threads; `dies(number, answer)` loses one with its answer."""

    def __init__(self, dies: Dies = lambda number, answer: False) -> None:
        self._dies = dies
        self._workers: dict[int, Worker] = {}
        self._answers: queue.Queue[tuple[int, Answer]] = queue.Queue()
        self.handed: Counter[str] = Counter()
        self.alone: list[str] = []
        self.started = 0

    def start(self, number: int, settings: ExtractionSettings) -> None:
        self.started += 1
        self._workers[number] = worker = Worker()
        self._ask(number, lambda: worker.open(settings))

    def begin(self, number: int, layers: tuple[int, ...]) -> None:
        self._workers[number].begin(layers)

    def exchange(self, number: int, work: Sequence[Work], stop: bool) -> None:
        self.handed.update(item.problem.id for item in work)
        if len(work) == 1:
            self.alone.append(work[0].problem.id)
        worker = self._workers[number]
        self._ask(number, lambda: worker.exchange(work, stop, 0.2))

    def end(self, number: int) -> None:
        self._workers[number].end()

    def wait(self, timeout: float) -> tuple[int, Answer] | None:
        while True:
            try:
                number, answer = self._answers.get(timeout=max(timeout, 0.001))
            except queue.Empty:
                return None
            if number in self._workers:
                return number, answer

    def discard(self, number: int) -> None:
        self._workers.pop(number).end()

    def _ask(self, number: int, call: Callable[[], Answer]) -> None:
        def answer() -> None:
            found = call()
            if self._dies(number, found):
                found = Lost("killed by a test")
            self._answers.put((number, found))

        threading.Thread(target=answer, daemon=True).start()


def run(
    pool: Threads, work: Sequence[Work], workers: int = 3, sink: Sink | None = None
) -> tuple[Sink, Ending, Progress, list[Decision]]:
    sink, decided = sink or Sink(), []
    crew = Crew(pool, SETTINGS, workers, patience=20.0)
    try:
        assert crew.info.name == "contract"
        watch = Watch(decided=decided.append)
        ending, progress = Dispatch(crew, LAYERS, Queue(work), len(work), sink, watch).run()
    finally:
        crew.close()
    return sink, ending, progress, decided


def check(sink: Sink, work: Sequence[Work]) -> None:
    expected = Sink()
    open_engine(SETTINGS).extract(LAYERS, Pending(work), expected, Watch())
    assert sink.records.keys() == expected.records.keys()
    for key, record in expected.records.items():
        assert not record_differences(sink.records[key], record)


@pytest.mark.parametrize(
    "other", [{"tokenizer": "bytes"}, {"end_ids": (1,)}, {"sampler": "x"}, {"reads_clock": True}]
)
def test_a_worker_whose_tokens_are_others_is_refused(other: dict[str, object]) -> None:
    """As on a node with another version of the model's files, or of a package."""

    class Mixed(Threads):
        def wait(self, timeout: float) -> tuple[int, Answer] | None:
            came = super().wait(timeout)
            if came is not None and isinstance(came[1], Hello) and came[0] == 2:
                info = attrs.evolve(came[1].info, **other)
                return came[0], attrs.evolve(came[1], info=info)
            return came

    def greet(crew: Crew) -> None:
        while len(crew.ready) < 2:
            crew.wait(1.0)

    crew = Crew(Mixed(), SETTINGS, 2, patience=20.0)
    with pytest.raises(BackendError, match=f"another model than .*: {next(iter(other))} is "):
        greet(crew)
    crew.close()


def test_workers_that_die_now_and_then() -> None:
    """With and without results in their hands."""
    chance, lock = random.Random(0), threading.Lock()
    deaths = 0

    def dies(number: int, answer: Answer) -> bool:
        nonlocal deaths
        with lock:
            dead = isinstance(answer, Parcel) and deaths < 8 and chance.random() < 0.3
            deaths += dead
        return dead

    work = ExecutorContract.work(300)
    pool = Threads(dies)
    sink, ending, progress, decided = run(pool, work)
    check(sink, work)
    assert deaths == 8
    assert ending is Ending.DONE
    assert progress.records == 300
    assert pool.started == 3 + 8
    told = [one for one in decided if one.reason == LOST_WORKER]
    assert len(told) == 8
    assert "killed by a test" in told[0].detail
    assert sum(pool.handed.values()) > 300, "nothing had to be done again: the test shows nothing"


def test_a_problem_that_kills_its_worker_fails_and_no_other() -> None:
    held: dict[int, set[str]] = {}

    class Deadly(Threads):
        def exchange(self, number: int, work: Sequence[Work], stop: bool) -> None:
            held.setdefault(number, set()).update(item.problem.id for item in work)
            super().exchange(number, work, stop)

    work = ExecutorContract.work(60)
    pool = Deadly(lambda number, answer: "p017" in held.get(number, ()))
    sink, ending, progress, _ = run(pool, work)
    assert {key.problem_id for key in sink.failures} == {"p017"}
    [failure] = sink.failures.values()
    assert failure.reason == LOST_WORKER
    assert "killed by a test" in failure.detail
    assert len(sink.records) == 59
    assert (ending, progress.failures) == (Ending.DONE, 1)
    assert progress.reasons == {LOST_WORKER: 1}
    assert pool.handed["p017"] == 4
    assert "p017" in pool.alone


def test_workers_that_always_die_end_the_run() -> None:
    pool = Threads(lambda number, answer: isinstance(answer, Parcel))
    with pytest.raises(BackendError, match=r"12 workers were lost .* killed by a test"):
        run(pool, ExecutorContract.work(60))


def test_a_worker_that_dies_while_loading_is_replaced() -> None:
    pool = Threads(lambda number, answer: isinstance(answer, Hello) and number < 3)
    work = ExecutorContract.work(20)
    check(run(pool, work, workers=2)[0], work)


def test_another_model_is_refused() -> None:
    class Mixed(Threads):
        def _ask(self, number: int, call: Callable[[], Answer]) -> None:
            def other() -> Answer:
                answer = call()
                if number == 2 and isinstance(answer, Hello):
                    info = attrs.evolve(answer.info, compute_dtype="bfloat16")
                    return attrs.evolve(answer, info=info, place="elsewhere")
                return answer

            super()._ask(number, other)

    with pytest.raises(BackendError, match=r"compute_dtype is b?float\d\d there and"):
        run(Mixed(), ExecutorContract.work(200), workers=2)


def test_work_that_was_not_given_is_refused() -> None:
    class Repeats(Threads):
        kept: Parcel | None = None

        def wait(self, timeout: float) -> tuple[int, Answer] | None:
            came = super().wait(timeout)
            if came and isinstance(came[1], Parcel) and came[1].records:
                if self.kept is not None:
                    return came[0], self.kept
                self.kept = came[1]
            return came

    with pytest.raises(BackendError, match="was not given, or twice"):
        run(Repeats(), ExecutorContract.work(60), workers=1)


def test_a_session_that_loses_work_ends_the_run() -> None:
    class Lossy(Threads):
        def wait(self, timeout: float) -> tuple[int, Answer] | None:
            came = super().wait(timeout)
            if came and isinstance(came[1], Parcel):
                return came[0], attrs.evolve(came[1], records=came[1].records[1:])
            return came

    with pytest.raises(BackendError, match=r"session of worker 1 .* lost \d"):
        run(Lossy(), ExecutorContract.work(10), workers=1)


def test_towards_the_end_everyone_has_a_part() -> None:
    given: dict[int, int] = {}
    both = threading.Barrier(2)

    class Counting(Threads):
        def exchange(self, number: int, work: Sequence[Work], stop: bool) -> None:
            given[number] = given.get(number, 0) + len(work)
            super().exchange(number, work, stop)

        def _ask(self, number: int, call: Callable[[], Answer]) -> None:
            def together() -> Answer:
                answer = call()
                if isinstance(answer, Hello):
                    both.wait(10)
                return answer

            super()._ask(number, together)

    run(Counting(), ExecutorContract.work(2 * ROWS), workers=2)
    assert set(given.values()) == {ROWS}


def test_the_desk_admits_nothing_once_it_is_closed() -> None:
    desk, work = Desk(4), ExecutorContract.work(6)
    desk.swap(work, False, 0.0)
    assert desk
    assert len(desk.take(Room(2, None, 0, 0), lambda item: 1)) == 2
    desk.swap((), True, 0.0)
    assert desk.stopped
    assert not desk
    assert desk.take(Room(2, None, 0, 0), lambda item: 1) == []
    desk.end()
    left = desk.swap((), True, 0.0)
    assert isinstance(left, Parcel)
    assert left.ended
    assert len(left.given_back) == 4


def test_results_leave_with_the_counts_that_contain_them() -> None:
    desk, sink = Desk(4), Sink()
    open_engine(SETTINGS).extract(LAYERS, Pending(ExecutorContract.work(3)), sink, Watch())
    desk.write(list(sink.records.values()))
    early = desk.swap((), False, 0.0)
    assert isinstance(early, Parcel)
    assert not early.records
    desk.update(Progress(records=3, new_tokens=7))
    parcel = desk.swap((), False, 0.0)
    assert isinstance(parcel, Parcel)
    assert len(parcel.records) == 3
    assert parcel.progress.new_tokens == 7
