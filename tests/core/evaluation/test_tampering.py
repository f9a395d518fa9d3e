"""Damaged solutions: one step is another, everything else is as it was."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from rjepa_core.domain.problem import GivenSolution, Problem
from rjepa_core.domain.prompt import pose
from rjepa_core.domain.segmentation import cut_completion, make_trace
from rjepa_core.domain.trace import Trace
from rjepa_core.evaluation.settings import FOREIGN, SLIP
from rjepa_core.evaluation.tampering import CHANGED, DONOR, pool_of, tamper
from rjepa_core.settings.extraction import ModelSettings
from rjepa_core.settings.templates import MATH_TEMPLATE
from rjepa_core.testing.seeded import SeededBackend, SeededSettings

BACKEND = SeededBackend(ModelSettings(name="m"), SeededSettings())


def trace_of(number: int, solution: GivenSolution | str, strategy: str = "auto") -> Trace:
    """As an extraction reads it."""
    given = GivenSolution(solution) if isinstance(solution, str) else solution
    problem = Problem.make(f"Problem {number}?")
    prompt = pose(problem, 0, {"default": MATH_TEMPLATE})
    completion = BACKEND.read([prompt], [given])[0]
    return make_trace(problem, 0, completion, cut_completion(completion, strategy))


SEATS = "First 2 + 3 = 5 seats\nThen 5 * 4 = 20 rows\nSo 20 - 1 = $19 are left\n#### 19"
OTHERS = [
    "Ann eats 1 apple = 9 left\nBob eats 2 = 7 left\nNobody eats = 7",
    "A day has 24 hours\nTwo days have 48 hours",
]


def again(trace: Trace, solution: GivenSolution) -> Trace:
    return trace_of(int(trace.problem.statement.split()[1][:-1]), solution)


@pytest.mark.parametrize("kind", [FOREIGN, SLIP])
@pytest.mark.parametrize("seed", range(8))
def test_one_step_changes_and_the_cut_stays(kind: str, seed: int) -> None:
    trace = trace_of(0, SEATS)
    pool = pool_of([trace, *(trace_of(i + 1, text) for i, text in enumerate(OTHERS))])
    damaged = tamper(trace, kind, pool, seed)
    assert damaged is not None
    found = again(trace, damaged.solution)
    assert len(found.step_texts) == len(trace.step_texts)
    assert found.answer == trace.answer
    different = [
        i for i, (a, b) in enumerate(zip(trace.step_texts, found.step_texts, strict=True)) if a != b
    ]
    assert different == [damaged.changed]
    assert damaged.solution.metadata[CHANGED] == str(damaged.changed)
    new = found.step_texts[damaged.changed].strip()
    if kind == FOREIGN:
        assert new in "\n".join(OTHERS).split("\n")
        assert damaged.solution.metadata[DONOR] != str(trace.key)
    else:
        old = trace.step_texts[damaged.changed].strip()
        assert old.partition("=")[0] == new.partition("=")[0]
        assert sum(a != b for a, b in zip(old, new, strict=True)) == 1


def test_unchanged_tokens_before_the_change_are_the_same() -> None:
    trace = trace_of(0, SEATS)
    damaged = tamper(trace, SLIP, [], 0)
    assert damaged is not None
    found = again(trace, damaged.solution)
    start = trace.spans[damaged.changed].start
    assert np.array_equal(found.completion_ids[:start], trace.completion_ids[:start])


def test_the_same_seed_and_key_damage_the_same() -> None:
    trace = trace_of(0, SEATS)
    pool = pool_of([trace, *(trace_of(i + 1, text) for i, text in enumerate(OTHERS))])
    assert tamper(trace, FOREIGN, pool, 3) == tamper(trace, FOREIGN, pool_of([*_traces()]), 3)
    found = [tamper(trace, FOREIGN, pool, seed) for seed in range(12)]
    assert len({one.solution.steps for one in found if one}) > 3


def _traces() -> list[Trace]:
    return [
        *(trace_of(i + 1, text) for i, text in reversed(list(enumerate(OTHERS)))),
        trace_of(0, SEATS),
    ]


def test_what_cannot_be_damaged_is_left() -> None:
    one_step = trace_of(0, "Only 1 + 1 = 2")
    no_result = trace_of(1, "We think\nWe guess x = y\n#### 3")
    own = trace_of(2, SEATS)
    pool = pool_of([one_step, no_result, own])
    assert tamper(one_step, FOREIGN, pool, 0) is None
    assert tamper(one_step, SLIP, pool, 0) is None
    assert tamper(no_result, SLIP, pool, 0) is None
    assert tamper(own, FOREIGN, pool_of([own]), 0) is None
    assert tamper(own, FOREIGN, [], 0) is None
    with pytest.raises(ValueError, match="no such damage"):
        tamper(own, "other", pool, 0)


@pytest.mark.parametrize(
    "result", ["= 1,234.50 dollars", "= $7", "=0", "= 0.5 cups.", "= -12", "≈ 3 = €40"]
)
def test_results_of_many_forms(result: str) -> None:
    trace = trace_of(0, f"x {result}\nNothing here")
    for seed in range(10):
        damaged = tamper(trace, SLIP, [], seed)
        assert damaged is not None
        assert damaged.changed == 0
        text = damaged.solution.steps[0]
        assert len(text) == len(f"x {result}")
        assert text != f"x {result}"


def test_steps_that_are_no_lines_keep_their_text() -> None:
    text = "He has 2 + 2 = 4 apples. Then he eats 1. So 4 - 1 = 3 are left."
    trace = trace_of(0, text)
    assert trace.strategy == "sentences"
    damaged = tamper(trace, SLIP, [], 1)
    assert damaged is not None
    assert damaged.solution.text is not None
    assert len(damaged.solution.text) == len(text)
    assert len(again(trace, damaged.solution).spans) == 3


def test_markers_keep_their_numbers() -> None:
    ours = trace_of(0, "Step 1: a = 1\n\nStep 2: b = 2\n\nStep 3: c = 3\n\nAnswer: 3")
    theirs = trace_of(1, "Step 1: k = 7\n\nStep 2: l = 8\n\nStep 3: m = 9\n\nAnswer: 9")
    for seed in range(6):
        damaged = tamper(ours, FOREIGN, pool_of([ours, theirs]), seed)
        assert damaged is not None
        found = again(ours, damaged.solution)
        assert [t.split(":")[0] for t in found.step_texts] == ["Step 1", "Step 2", "Step 3"]
        step = damaged.changed
        assert found.step_texts[step].strip() == theirs.step_texts[step].strip()


def test_a_solution_whose_last_step_looks_like_an_answer_keeps_it() -> None:
    trace = trace_of(0, "2 + 2 = 4\nAnswer: 4 = 4\n#### 4")
    assert len(trace.spans) == 2
    damaged = tamper(trace, SLIP, [], 0)
    assert damaged is not None
    assert len(again(trace, damaged.solution).spans) == 2


def test_a_trace_without_its_text_is_left() -> None:
    """As an import may leave it."""
    trace = attrs.evolve(trace_of(0, SEATS), completion="")
    assert tamper(trace, SLIP, [], 0) is None
