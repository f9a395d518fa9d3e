"""Scores of steps without any model."""

from __future__ import annotations

import attrs
import numpy as np

from rjepa_core.domain.problem import Problem
from rjepa_core.domain.trace import StepSpan, Trace
from rjepa_core.evaluation.lexical import strange_words, token_counts, wrong_equations
from rjepa_core.testing.samples import sample_identity, sample_record


def trace(statement: str, *texts: str) -> Trace:
    own = sample_record(sample_identity(), "p", steps=len(texts)).trace
    problem = Problem.make(statement)
    return attrs.evolve(own, problem=problem, step_texts=texts)


def test_words_and_numbers_that_stand_nowhere_else() -> None:
    one = trace("Ann has 3 cats.", "Ann has 3.0 dogs", "So Ann's 3 cats eat", "dogs and 7")
    # dogs stands twice, 3.0 is 3; ann's, so and eat stand once; and, 7.
    assert strange_words(one).tolist() == [0.0, 3 / 5, 2 / 3]
    assert strange_words(trace("a", "…")).tolist() == [0.0]


def test_false_equations_of_each_step() -> None:
    assert wrong_equations(trace("a", "2 + 2 = 5 = 6", "2 + 2 = 4", "x")).tolist() == [
        1.0,
        0.0,
        0.0,
    ]


def test_tokens_of_each_step() -> None:
    one = attrs.evolve(trace("a", "b", "c"), spans=(StepSpan(0, 3), StepSpan(3, 4)))
    assert np.array_equal(token_counts(one), [3.0, 1.0])
