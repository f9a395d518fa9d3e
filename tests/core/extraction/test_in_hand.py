"""What a session returns is what it was given, once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from rjepa_core.domain.problem import Problem
from rjepa_core.domain.trace import OUT_OF_MEMORY, Failure, Work
from rjepa_core.errors import BackendError
from rjepa_core.extraction import in_hand
from rjepa_core.extraction.in_hand import InHand
from rjepa_core.ports.backend import Step
from rjepa_core.testing.samples import sample_identity, sample_record

WORK = [Work(Problem(f"p{i}", f"What is {i}?")) for i in range(3)]


def finished(work: Work, **changes: Any) -> Step:
    record = sample_record(sample_identity(), work.problem.id)
    trace = attrs.evolve(record.trace, problem=work.problem, **changes)
    return Step(finished=(attrs.evolve(record, trace=trace),))


def failed(work: Work) -> Step:
    return Step(failed=(Failure(work.key, work.problem.statement_hash, OUT_OF_MEMORY, ""),))


@pytest.mark.parametrize("first", [finished, failed, lambda work: Step(given_back=(work,))])
def test_work_is_returned_once(first: Callable[[Work], Step]) -> None:
    held = InHand()
    held.given(WORK)
    held.returned(first(WORK[0]), in_flight=True)
    with pytest.raises(BackendError, match=r"returned p0, which it does not hold"):
        held.returned(failed(WORK[0]), in_flight=True)
    # What was given back may be given again.
    held.given(WORK[:1])
    held.returned(first(WORK[0]), in_flight=True)


def test_other_work_than_was_given_is_refused() -> None:
    held = InHand()
    held.given(WORK[:2])
    with pytest.raises(BackendError, match="returned p2, which it does not hold: it was never"):
        held.returned(finished(WORK[2]), in_flight=True)
    with pytest.raises(BackendError, match=r"returned p1#7, which it does not hold"):
        held.returned(finished(WORK[1], sample=7), in_flight=True)
    other = attrs.evolve(WORK[1], problem=Problem("p1", "Another statement?"))
    with pytest.raises(BackendError, match="returned p1 with another problem's statement"):
        held.returned(finished(other), in_flight=True)


def test_a_row_that_is_dropped_is_missed() -> None:
    held = InHand()
    held.given(WORK)
    with pytest.raises(BackendError, match="did not return p1, which it was given, nor 1 other"):
        held.returned(finished(WORK[0]), in_flight=False)


def test_a_session_that_halts_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_hand, "_STEPS", 3)
    now = [0.0]
    held = InHand(lambda: now[0])
    held.given(WORK)
    for _ in range(5):
        held.returned(Step(), in_flight=True)
    now[0] = 61.0
    with pytest.raises(BackendError, match="no progress in 6 steps; in flight is p0"):
        held.returned(Step(), in_flight=True)
