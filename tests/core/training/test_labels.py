"""What is known about a solution, from its record."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest

from rjepa_core.domain.grade import Grade, Mark
from rjepa_core.domain.problem import statement_hash
from rjepa_core.domain.trace import Trace
from rjepa_core.evaluation import corruption
from rjepa_core.settings import DAMAGE, EDITS, DataSettings
from rjepa_core.testing.samples import sample_identity, sample_record
from rjepa_core.training.labels import (
    OTHER_KIND,
    UNGRADED,
    UNLABELLED,
    Labels,
    labels_of,
    original_of,
    problem_of,
)

NAN = float("nan")


def trace_of(**metadata: str) -> Trace:
    return attrs.evolve(sample_record(sample_identity(), steps=4).trace, metadata=metadata)


def known(trace: Trace, mark: Mark | None = None, **data: Any) -> Labels | str:
    reason = "code is not run" if mark == "ungraded" else ""
    grade = None if mark is None else Grade(trace.key, mark, reason, None, "math", "1")
    return labels_of(trace, 4, grade, DataSettings(**data))


def check(found: Labels | str, wrong: list[float], right: bool | None, kind: str) -> None:
    assert isinstance(found, Labels)
    np.testing.assert_array_equal(found.wrong, np.array(wrong, np.float32))
    assert (found.right, found.kind) == (right, kind)


def test_the_kinds_are_those_that_are_made() -> None:
    assert tuple(corruption.KINDS) == DAMAGE
    assert tuple(corruption.EDITS) == EDITS


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_step_is_wrong_and_what_follows_unknown(kind: str) -> None:
    found = known(trace_of(kind=kind, wrong_step="2"))
    check(found, [0, 0, 1, NAN], False, kind)
    check(known(trace_of(kind=kind, wrong_step="0")), [1, NAN, NAN, NAN], False, kind)


@pytest.mark.parametrize("written", ["", "4", "-1", "two"])
def test_a_damaged_step_that_is_not_there(written: str) -> None:
    check(known(trace_of(kind="result", wrong_step=written)), [NAN] * 4, False, "result")


@pytest.mark.parametrize("kind", ["clean", *EDITS])
def test_what_stays_correct_is_right_in_all(kind: str) -> None:
    check(known(trace_of(kind=kind)), [0, 0, 0, 0], True, kind)
    # Left out are kinds of damage alone.
    check(known(trace_of(kind=kind), damage=("order",)), [0, 0, 0, 0], True, kind)


def test_kinds_that_are_left_out() -> None:
    trace = trace_of(kind="result", wrong_step="1")
    assert known(trace, damage=("order", "operation")) == OTHER_KIND
    assert isinstance(known(trace, damage=("order", "result")), Labels)


def test_grades() -> None:
    check(known(trace_of(), "right"), [0, 0, 0, 0], True, "graded")
    check(known(trace_of(), "right", right_steps=False), [NAN] * 4, True, "graded")
    check(known(trace_of(), "wrong"), [NAN] * 4, False, "graded")
    assert known(trace_of(), "ungraded") == UNGRADED
    assert known(trace_of()) == UNLABELLED


@pytest.mark.parametrize(("said", "right"), [("true", True), ("False", False), ("1", True)])
def test_a_label_goes_before_a_grade(said: str, right: bool) -> None:
    steps = [0.0] * 4 if right else [NAN] * 4
    check(known(trace_of(correct=said)), steps, right, "labelled")
    check(known(trace_of(correct=said), "wrong"), steps, right, "labelled")
    check(known(trace_of(correct=said), "ungraded"), steps, right, "labelled")
    assert known(trace_of(correct="perhaps")) == UNLABELLED


def test_a_kind_that_somebody_else_means() -> None:
    assert known(trace_of(kind="geometry")) == UNLABELLED
    check(known(trace_of(kind="geometry", correct="true")), [0, 0, 0, 0], True, "labelled")


def test_an_edited_solution_is_of_the_problem_that_it_was_made_from() -> None:
    other = statement_hash("another")
    told = trace_of(kind="renamed", of="p-1", of_problem=other)
    assert problem_of(told) == other
    own = trace_of().problem.statement_hash
    assert problem_of(trace_of(kind="result", of="p-1")) == own
    assert problem_of(trace_of()) == own
    # Written by an older version.
    old = trace_of(kind="renamed", of="p-1")
    assert problem_of(old, {"p-1": other}) == other
    assert problem_of(old, {}) == problem_of(old) == statement_hash("p-1")
    assert original_of(trace_of(kind="clean", of="p-1")) == ("p-1", own)
    assert original_of(old) is None
    assert original_of(trace_of()) is None


def test_a_hash_that_is_none_is_hashed() -> None:
    assert problem_of(trace_of(of_problem="x\ny")) == statement_hash("x\ny")
