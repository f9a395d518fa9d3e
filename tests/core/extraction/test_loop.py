"""The loop: whatever the engine, nothing is lost, repeated, or put into the wrong record."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import attrs
import numpy as np
import pytest
from engines import EMPTY_ID, Cramped, GivesNothing, RefillingBackend, seeded
from hypothesis import given
from hypothesis import strategies as st

from rjepa_adapters.schedulers.fixed import FixedScheduler, FixedSettings
from rjepa_core.domain.latents import Encoding, LatentRecord
from rjepa_core.domain.problem import GivenSolution, Problem
from rjepa_core.domain.prompt import pose
from rjepa_core.domain.segmentation import cut_completion
from rjepa_core.domain.trace import OUT_OF_MEMORY, Failure, RecordKey, Trace, Work
from rjepa_core.errors import BackendError
from rjepa_core.extraction.loop import extract
from rjepa_core.extraction.queue import Pending
from rjepa_core.ports.backend import LLMBackend, Refused, Room, SessionSpec
from rjepa_core.ports.executor import Ending, Progress
from rjepa_core.settings.extraction import EncodingSettings, ModelSettings, SamplingSettings
from rjepa_core.settings.templates import DEFAULT_TEMPLATES
from rjepa_core.testing.seeded import SeededBackend, SeededSettings


class Sink:
    """Keeps everything, and notices what comes twice."""

    def __init__(self) -> None:
        self.records: dict[RecordKey, LatentRecord] = {}
        self.failures: dict[RecordKey, Failure] = {}
        self.commits = 0

    def write(self, records: Sequence[LatentRecord], failures: Sequence[Failure] = ()) -> None:
        for record in records:
            assert record.key not in self.records, f"{record.key} came twice"
            self.records[record.key] = record
        for failure in failures:
            assert failure.key not in self.failures, f"{failure.key} failed twice"
            self.failures[failure.key] = failure

    def commit(self) -> None:
        self.commits += 1


def problems(count: int) -> list[Problem]:
    return [Problem(f"p{i:03}", f"What is {i} + {i}{'?' * (i % 7)}") for i in range(count)]


def spec(**encoding: Any) -> SessionSpec:
    ticks = iter(range(10**9))
    return SessionSpec(
        sampling=SamplingSettings(max_new_tokens=400),
        encoding=EncodingSettings(layers=(1, 3), **encoding),
        pose=lambda work: pose(work.problem, work.sample, DEFAULT_TEMPLATES),
        cut=cut_completion,
        clock=lambda: float(next(ticks)),
    )


def run(
    backend: LLMBackend,
    work: Iterable[Work],
    batch_size: int = 8,
    encode_tokens: int = 4096,
    **more: Any,
) -> tuple[Sink, Ending, Progress]:
    sink = Sink()
    scheduler = FixedScheduler(FixedSettings(batch_size=batch_size, encode_tokens=encode_tokens))
    session = backend.open_session(more.pop("spec", None) or spec())
    ending, progress = extract(Pending(work), session, scheduler, sink, **more)
    return sink, ending, progress


def work_of(count: int, samples: int = 1) -> list[Work]:
    return [Work(p, s) for p in problems(count) for s in range(samples)]


def same(a: LatentRecord, b: LatentRecord) -> bool:
    return (
        a.key == b.key
        and a.trace.completion == b.trace.completion
        and np.array_equal(a.trace.completion_ids, b.trace.completion_ids)
        and np.array_equal(a.latents, b.latents)
        and np.array_equal(a.prompt_latent, b.prompt_latent)
    )


@pytest.fixture(scope="module")
def reference() -> Sink:
    """Every row alone: what no batch can have mixed up."""
    return run(seeded(), work_of(40, 2), batch_size=1)[0]


def check(sink: Sink, reference: Sink) -> None:
    assert sink.records.keys() == reference.records.keys()
    assert all(same(sink.records[key], reference.records[key]) for key in reference.records)


@pytest.mark.parametrize("batch_size", [1, 3, 8, 100])
def test_batches_of_any_size(reference: Sink, batch_size: int) -> None:
    sink, ending, progress = run(seeded(), work_of(40, 2), batch_size)
    check(sink, reference)
    assert ending is Ending.DONE
    assert progress.records == 80
    assert sink.commits == 1


def test_an_engine_that_refills_a_slot_as_soon_as_a_row_ends(reference: Sink) -> None:
    engine = RefillingBackend(seeded())
    sink, _, progress = run(engine, work_of(40, 2), batch_size=6)
    check(sink, reference)
    assert engine.sessions[0].most_in_flight == 6
    assert progress.steps == sum(len(r.trace.spans) for r in sink.records.values())


def test_out_of_memory_in_generate(reference: Sink) -> None:
    backend = Cramped(rows=5)
    sink, _, progress = run(backend, work_of(40, 2), batch_size=16)
    check(sink, reference)
    assert progress.out_of_memory > 0
    assert max(backend.generated) == 16
    assert not sink.failures


def test_out_of_memory_in_encode_keeps_what_was_generated(reference: Sink) -> None:
    backend = Cramped(tokens=1200)
    sink, _, progress = run(backend, work_of(40, 2), batch_size=16)
    check(sink, reference)
    assert progress.out_of_memory > 0
    assert sum(backend.generated) == 80, "nothing is generated a second time"
    assert sink.failures == {}


def test_a_row_that_does_not_fit_alone_fails_with_its_reason() -> None:
    backend = Cramped(tokens=300)
    work = [Work(Problem("short", "1 + 1?")), Work(Problem("long", "2 + 2? " * 50))]
    sink, _, _ = run(backend, work)
    assert set(sink.records) | set(sink.failures) == {RecordKey("short"), RecordKey("long")}
    failure = sink.failures[RecordKey("long")]
    assert failure.reason == OUT_OF_MEMORY
    assert failure.needed_bytes
    sink, _, _ = run(Cramped(rows=0), work_of(3))
    assert len(sink.failures) == 3


def test_an_empty_completion_is_a_failure_and_its_neighbours_are_not() -> None:
    backend = GivesNothing(ModelSettings(name="tests"), SeededSettings())
    work = [*work_of(5), Work(Problem(EMPTY_ID, "Say nothing."))]
    sink, _, progress = run(backend, work)
    assert len(sink.records) == 5
    assert sink.failures[RecordKey(EMPTY_ID)].reason == "empty completion"
    assert progress.reasons == {"empty completion": 1}


@pytest.mark.parametrize(("value", "reason"), [(np.nan, "not finite"), (1e6, "out of range")])
def test_vectors_that_cannot_be_stored_fail_alone(value: float, reason: str) -> None:
    class Broken(SeededBackend):
        def encode(self, traces: Any, encoding: Any) -> Sequence[Encoding | Refused]:
            answers = list(super().encode(traces, encoding))
            for trace, answer in zip(traces, answers, strict=True):
                if trace.problem.id == "p003" and isinstance(answer, Encoding):
                    answer.latents[0, 0, 0] = value
            return answers

    sink, _, _ = run(Broken(ModelSettings(name="tests"), SeededSettings()), work_of(6))
    assert sink.failures[RecordKey("p003")].reason == reason
    assert len(sink.records) == 5


def test_given_solutions_are_bounded_by_tokens() -> None:
    backend = Cramped()
    text = "Step 1: add.\nStep 2: add again.\nAnswer: 4"
    work = [Work(p, 0, GivenSolution(text)) for p in problems(50)]
    sink, _, _ = run(backend, work, batch_size=1, encode_tokens=2000)
    assert len(sink.records) == 50
    assert not backend.generated
    assert 1000 < max(backend.encoded) <= 2000
    assert all(r.trace.finish_reason == "given" for r in sink.records.values())


def test_stored_traces_are_encoded_again_as_they_are(reference: Sink) -> None:
    work = [Work(r.trace.problem, r.trace.sample, r.trace) for r in reference.records.values()]
    backend = Cramped()
    sink, _, _ = run(backend, work, encode_tokens=3000)
    check(sink, reference)
    assert not backend.generated


def test_a_stop_commits_what_is_finished() -> None:
    seen: list[int] = []
    sink, ending, _ = run(
        seeded(), work_of(40), report=lambda p: seen.append(p.records), stop=lambda: seen[-1] >= 8
    )
    assert ending is Ending.STOPPED
    assert len(sink.records) == 8
    assert sink.commits == 1


def test_an_interrupt_commits_what_is_finished() -> None:
    def interrupt(progress: Progress) -> None:
        if progress.records >= 8:
            raise KeyboardInterrupt

    sink = Sink()
    session = seeded().open_session(spec())
    with pytest.raises(KeyboardInterrupt):
        extract(
            Pending(work_of(40)),
            session,
            FixedScheduler(FixedSettings()),
            sink,
            report=interrupt,
        )
    assert len(sink.records) == 8
    assert sink.commits == 1


def test_a_scheduler_without_room_is_an_error_and_not_an_endless_loop() -> None:
    class Full(FixedScheduler):
        def room(self, in_flight: Any) -> Room:
            return Room(0, None, 0, 1)

    with pytest.raises(BackendError, match="no room"):
        extract(Pending(work_of(2)), seeded().open_session(spec()), Full(FixedSettings()), Sink())


def test_a_backend_that_answers_too_little_is_named() -> None:
    class Forgetful(SeededBackend):
        def generate(self, prompts: Any, sampling: Any) -> Any:
            return super().generate(prompts, sampling)[1:]

    with pytest.raises(BackendError, match="asked for 4 completions and returned 3"):
        run(Forgetful(ModelSettings(name="tests"), SeededSettings()), work_of(4))


def test_wrong_shapes_are_the_backends_fault() -> None:
    class Short(SeededBackend):
        def encode(self, traces: Any, encoding: Any) -> Any:
            return [
                attrs.evolve(a, latents=a.latents[:, :0]) for a in super().encode(traces, encoding)
            ]

    with pytest.raises(BackendError, match="broke its promise"):
        run(Short(ModelSettings(name="tests"), SeededSettings()), work_of(2))


@given(
    count=st.integers(1, 30),
    samples=st.integers(1, 3),
    batch_size=st.integers(1, 20),
    encode_tokens=st.integers(1, 3000),
    rows=st.integers(1, 12),
    tokens=st.integers(400, 2000),
)
def test_nothing_is_lost_or_repeated(
    count: int, samples: int, batch_size: int, encode_tokens: int, rows: int, tokens: int
) -> None:
    work = work_of(count, samples)
    sink, ending, progress = run(Cramped(rows, tokens), work, batch_size, encode_tokens)
    assert ending is Ending.DONE
    assert {w.key for w in work} == sink.records.keys() | sink.failures.keys()
    assert not sink.records.keys() & sink.failures.keys()
    assert progress.records + progress.failures == len(work)
    for key, record in sink.records.items():
        assert isinstance(record.trace, Trace)
        assert record.trace.problem.id == key.problem_id
        assert str(int(key.problem_id[1:])) in record.trace.prompt_text


class Drops(RefillingBackend):
    """Loses a row that had finished."""

    def open_session(self, spec: SessionSpec) -> Any:
        session = super().open_session(spec)
        advance = session.advance

        def dropping(room: Room) -> Any:
            step = advance(room)
            return attrs.evolve(step, finished=step.finished[1:])

        session.advance = dropping
        return session


def test_a_row_that_a_session_drops_ends_the_run() -> None:
    with pytest.raises(BackendError, match="did not return p00"):
        run(Drops(seeded()), work_of(6), batch_size=2)
