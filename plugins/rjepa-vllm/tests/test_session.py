"""The session alone, over an engine that answers from a list."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from fake_engine import FakeEngine
from rjepa_vllm.backend import VllmBackend
from rjepa_vllm.engine import LATER, LOST
from rjepa_vllm.session import VllmSession
from rjepa_vllm.settings import VllmSettings

from rjepa_core.domain.problem import GivenSolution, Problem
from rjepa_core.domain.prompt import pose
from rjepa_core.domain.segmentation import cut_completion
from rjepa_core.domain.trace import TOO_LONG, RecordKey, Work
from rjepa_core.errors import BackendError
from rjepa_core.ports.backend import Room, SessionSpec, Step
from rjepa_core.settings import (
    DEFAULT_TEMPLATES,
    EncodingSettings,
    ModelSettings,
    SamplingSettings,
)

ROOM = Room(8, None, 4096, 4096)
TEXT = "Step 1: Ann has 3 apples.\nStep 2: She eats 2, so 5 are left."


@pytest.fixture(scope="module")
def backend(llama_folder: Path) -> Iterator[VllmBackend]:
    with VllmBackend(ModelSettings(name=str(llama_folder)), VllmSettings()) as opened:
        yield opened


@pytest.fixture
def engine(backend: VllmBackend) -> FakeEngine:
    ids = backend.codec.tokenizer(TEXT, add_special_tokens=False).input_ids
    return FakeEngine([*ids, *backend.end_ids], (0, 3))


@pytest.fixture
def session(backend: VllmBackend, engine: FakeEngine) -> VllmSession:
    return open_session(backend, engine)


def open_session(backend: VllmBackend, engine: Any, **sampling: Any) -> VllmSession:
    spec = SessionSpec(
        sampling=SamplingSettings(**{"max_new_tokens": 100, **sampling}),
        encoding=EncodingSettings(layers=(0, 3), logprobs=True, store_dtype="float32"),
        pose=lambda work: pose(work.problem, work.sample, DEFAULT_TEMPLATES),
        cut=cut_completion,
        clock=time.perf_counter,
    )
    return VllmSession(backend, engine, spec)


def problem(number: int) -> Work:
    return Work(Problem.make(f"What is {number} and {number}?"))


def run(session: VllmSession) -> list[Step]:
    steps = []
    while session.in_flight:
        steps.append(session.advance(ROOM))
        assert len(steps) < 100, "no progress"
    return steps


def test_a_row_ends_where_the_text_does(session: VllmSession, engine: FakeEngine) -> None:
    session.admit([problem(1), problem(2)])
    records = [record for step in run(session) for record in step.finished]
    assert len(records) == 2
    for record in records:
        assert record.trace.completion_ids.tolist() == engine.text
        assert record.trace.finish_reason == "stop"
        start = len(record.trace.prompt_ids)
        wanted = [np.arange(s.start, s.stop).mean() + start for s in record.trace.spans]
        assert np.allclose(record.latents[0, :, 0], wanted)
        assert record.logprobs == pytest.approx(-2.0)
    assert len(engine.aborted) == 2
    assert not engine.rows


def test_the_last_token_is_run_if_a_step_has_it(backend: VllmBackend, engine: FakeEngine) -> None:
    """At the length limit the last step ends with the last token, which is then run too."""
    session = open_session(backend, engine, max_new_tokens=len(engine.text) - 3)
    session.admit([problem(1)])
    [record] = [record for step in run(session) for record in step.finished]
    assert record.trace.finish_reason == "length"
    assert record.trace.spans[-1].stop == len(record.trace.completion_ids)
    assert engine.ended["1-x"] == record.trace.length


def test_a_stop_text_ends_a_row(backend: VllmBackend, engine: FakeEngine) -> None:
    session = open_session(backend, engine, stop=("She",))
    session.admit([problem(1)])
    [record] = [record for step in run(session) for record in step.finished]
    assert record.trace.completion == TEXT.partition("She")[0]
    assert record.trace.finish_reason == "stop"


def test_states_that_are_not_there_yet_are_asked_for_again(
    session: VllmSession, engine: FakeEngine
) -> None:
    engine.answers = [LATER, LATER]
    session.admit([problem(1)])
    assert sum(len(step.finished) for step in run(session)) == 1


def test_lost_states_are_made_again_from_the_ids(session: VllmSession, engine: FakeEngine) -> None:
    """vLLM may stop a row to make room for others just as it ends."""
    engine.answers = [LOST]
    session.admit([problem(1)])
    [record] = [record for step in run(session) for record in step.finished]
    assert record.trace.completion_ids.tolist() == engine.text
    # The second request read the ids, and its log-probabilities are of that pass.
    assert record.logprobs == pytest.approx(-1.0)


def test_rows_that_made_room_for_others_are_pressure_and_no_loss(
    session: VllmSession, engine: FakeEngine
) -> None:
    engine.preempted = 1
    session.admit([problem(1), problem(2)])
    steps = run(session)
    assert steps[0].observation is not None
    assert steps[0].observation.out_of_memory
    assert not any(step.given_back for step in steps)
    assert sum(len(step.finished) for step in steps) == 2


def test_given_solutions_are_prompts(session: VllmSession, engine: FakeEngine) -> None:
    given = GivenSolution(steps=("First 3.", "Then 4."))
    work = attrs.evolve(problem(1), given=given)
    session.admit([work])
    assert session.in_flight.rows == 0
    assert session.in_flight.given_tokens > 0
    [step] = [step for step in run(session) if step.finished]
    [record] = step.finished
    assert len(record.trace.spans) == 2
    assert step.observation is not None
    assert step.observation.phase == "encode"
    again = attrs.evolve(work, given=record.trace)
    session.admit([again])
    assert [r.trace.spans for step in run(session) for r in step.finished] == [record.trace.spans]


def test_a_prompt_that_is_too_long_is_a_failure(session: VllmSession) -> None:
    session.admit([Work(Problem.make("How many? " * 600)), problem(1)])
    steps = run(session)
    [failure] = [failure for step in steps for failure in step.failed]
    assert failure.reason == TOO_LONG
    assert "are more than the 511 that vLLM has room for" in failure.detail
    assert sum(len(step.finished) for step in steps) == 1


def test_the_seed_is_the_problems(session: VllmSession) -> None:
    one = session._generating(RecordKey("a"))
    assert one.seed == session._generating(RecordKey("a")).seed
    assert one.seed != session._generating(RecordKey("a", 1)).seed
    assert one.seed != session._generating(RecordKey("b")).seed
    assert 0 <= one.seed < 2**63


def test_closing_lets_everything_go(session: VllmSession, engine: FakeEngine) -> None:
    session.admit([problem(1), problem(2)])
    engine.text = engine.text[:-1]  # goes on
    session.advance(ROOM)
    session.close()
    assert not session.in_flight
    assert not engine.rows
    assert sorted(engine.released) == ["1-x", "2-x"]


def test_an_engine_that_dies_ends_the_run(session: VllmSession, engine: FakeEngine) -> None:
    def die() -> None:
        raise BackendError("vLLM's engine has died")

    engine.fails = die
    session.admit([problem(1)])
    with pytest.raises(BackendError, match="has died"):
        session.advance(ROOM)
    session.close()
