"""The adaptive scheduler in the real loop: nothing lost, nothing twice, always an end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from engines import Cramped, RefillingBackend, seeded
from hypothesis import given
from hypothesis import strategies as st
from scheduler_machines import ArbitrarySession, Outcome

from rjepa_adapters.schedulers.adaptive import AdaptiveScheduler, AdaptiveSettings
from rjepa_core.domain.latents import LatentRecord
from rjepa_core.domain.problem import Problem
from rjepa_core.domain.prompt import pose
from rjepa_core.domain.segmentation import cut_completion
from rjepa_core.domain.trace import Failure, RecordKey, Trace, Work
from rjepa_core.extraction.loop import extract
from rjepa_core.extraction.queue import Pending
from rjepa_core.ports.backend import LLMBackend, Session, SessionSpec
from rjepa_core.ports.executor import Ending
from rjepa_core.ports.probe import MemoryReading
from rjepa_core.ports.scheduler import Decision
from rjepa_core.settings.extraction import EncodingSettings, SamplingSettings
from rjepa_core.settings.templates import DEFAULT_TEMPLATES


class Sink:
    """Keeps the keys, and notices what comes twice."""

    def __init__(self) -> None:
        self.records: set[RecordKey] = set()
        self.failures: set[RecordKey] = set()

    def write(self, records: Sequence[LatentRecord], failures: Sequence[Failure] = ()) -> None:
        for kept, new in ((self.records, records), (self.failures, failures)):
            for item in new:
                assert item.key not in self.records | self.failures, f"{item.key} came twice"
                kept.add(item.key)

    def commit(self) -> None:
        return None


def work_of(count: int) -> list[Work]:
    return [Work(Problem(f"p{i:03}", f"What is {i}{' + 1' * (i % 40)}?")) for i in range(count)]


def finish(work: Work) -> LatentRecord:
    ids = np.zeros(1, np.int32)
    trace = Trace(
        work.problem, work.sample, "", ids, (0, 0), "", ids, (), (), None, "lines", "stop"
    )
    return LatentRecord(trace, np.zeros((1, 1, 1)), np.zeros((1, 1)))


READINGS = st.none() | st.builds(
    MemoryReading,
    used_bytes=st.none() | st.integers(0, 2000),
    limit_bytes=st.none() | st.integers(1, 2000),
    peak_bytes=st.none() | st.integers(0, 2000),
    retries=st.none() | st.integers(0, 2),
    stalled=st.none() | st.floats(0, 1),
    held_bytes=st.none() | st.integers(0, 2000),
)
OUTCOMES = st.lists(
    st.builds(
        Outcome,
        out_of_memory=st.sampled_from([False, False, False, True]),
        seconds=st.sampled_from([0.0, 0.1, 1.0, 1.1, 5.0]),
        memory=READINGS,
        ends=st.integers(1, 70),
    ),
    min_size=1,
    max_size=25,
)
SIZES = st.tuples(st.integers(1, 20), st.integers(1, 20), st.integers(1, 20)).map(sorted)


def run_arbitrary(
    outcomes: list[Outcome], sizes: list[int], count: int, told: bool
) -> tuple[ArbitrarySession, Sink, Ending, list[Decision]]:
    low, start, high = sizes
    settings = AdaptiveSettings(
        batch_size=start, min_batch_size=low, max_batch_size=high, patience=2, memory_limit=1500
    )
    cost = len if told else (lambda statement: 0)
    session = ArbitrarySession(outcomes, finish, lambda work: cost(work.problem.statement))
    sink, decisions = Sink(), list[Decision]()
    ending, progress = extract(
        Pending(work_of(count)),
        session,
        AdaptiveScheduler(settings),
        sink,
        probe=session,
        decided=decisions.append,
    )
    assert progress.records + progress.failures == count
    return session, sink, ending, decisions


@given(OUTCOMES, SIZES, st.integers(1, 300), st.booleans())
def test_nothing_is_lost_or_repeated_whatever_happens(
    outcomes: list[Outcome], sizes: list[int], count: int, told: bool
) -> None:
    session, sink, ending, decisions = run_arbitrary(outcomes, sizes, count, told)
    assert ending is Ending.DONE
    assert sink.records | sink.failures == {work.key for work in work_of(count)}
    assert min(session.sizes) >= 1
    assert max(session.sizes) <= sizes[2]
    assert all(1 <= d.rows_after <= sizes[2] for d in decisions)


@given(OUTCOMES, SIZES, st.integers(1, 300), st.booleans())
def test_the_same_inputs_give_the_same_decisions(
    outcomes: list[Outcome], sizes: list[int], count: int, told: bool
) -> None:
    one, _, _, decisions = run_arbitrary(outcomes, sizes, count, told)
    other, _, _, again = run_arbitrary(outcomes, sizes, count, told)
    assert one.sizes == other.sizes
    assert decisions == again


@given(OUTCOMES, SIZES, st.integers(20, 100))
def test_without_errors_the_rows_keep_to_the_minimum_too(
    outcomes: list[Outcome], sizes: list[int], count: int
) -> None:
    whole = [Outcome(False, o.seconds, o.memory, 10**6) for o in outcomes]
    session, _, _, _ = run_arbitrary(whole, sizes, count, told=False)
    assert min(session.sizes[:-1], default=sizes[0]) >= min(sizes[0], count)


def session_of(backend: LLMBackend) -> Session:
    ticks = iter(range(10**9))
    return backend.open_session(
        SessionSpec(
            sampling=SamplingSettings(max_new_tokens=400),
            encoding=EncodingSettings(layers=(1,)),
            pose=lambda work: pose(work.problem, work.sample, DEFAULT_TEMPLATES),
            cut=cut_completion,
            clock=lambda: float(next(ticks)),
        )
    )


@given(rows=st.integers(1, 20), tokens=st.integers(400, 2000), count=st.integers(1, 60))
def test_a_batch_backend_that_is_cramped_both_ways(rows: int, tokens: int, count: int) -> None:
    backend, sink = Cramped(rows, tokens), Sink()
    decisions: list[Decision] = []
    extract(
        Pending(work_of(count)),
        session_of(backend),
        AdaptiveScheduler(AdaptiveSettings()),
        sink,
        decided=decisions.append,
    )
    assert sink.records | sink.failures == {work.key for work in work_of(count)}
    failed = [size for size in backend.generated if size > rows]
    assert len(failed) <= 5
    told = [d for d in decisions if d.reason == "out of memory" and d.rows_after < d.rows_before]
    assert bool(told) == bool(failed)


def test_an_engine_that_refills_rows() -> None:
    engine, sink = RefillingBackend(seeded()), Sink()
    extract(Pending(work_of(200)), session_of(engine), AdaptiveScheduler(AdaptiveSettings()), sink)
    assert len(sink.records) == 200
    assert engine.sessions[0].most_in_flight == 16


def test_the_batch_session_tells_what_its_rows_may_cost() -> None:
    session = session_of(Cramped(rows=3))
    work = work_of(4)
    session.admit(work)
    expected = sum(session.cost(item) for item in work)
    assert session.in_flight.tokens == expected
    room = AdaptiveScheduler(AdaptiveSettings()).room(session.in_flight)
    seen = session.advance(room).observation
    assert seen is not None
    assert (seen.out_of_memory, seen.rows, seen.tokens) == (True, 4, expected)
    assert session.in_flight.tokens == 0
