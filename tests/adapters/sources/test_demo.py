"""The demo's problems: their answers, worked out again."""

from __future__ import annotations

import math

import pytest

from rjepa_core.errors import InputError
from rjepa_core.extraction.work import Worklist

# Each as arithmetic, in the problems' order.
MATH_ANSWERS = [
    14 * 12 - 95,
    10 - 3 * 2.50 - 1.75,
    6 * 60 * 5 / 20,
    45 - 45 * 2 / 5 - 9 + 4,
    80 * 0.75 * 0.9,
    (24 * 60 - (21 * 60 + 40)) + (6 * 60 + 25) - 35,
    2 * (18 + 11) - 3,
    26 / (5 - 3) * (3 + 5),
    next(4 * n for n in range(99) if 4 * n + 6 == 3 * (n + 6)),
    5 * 85 - 4 * 83,
    math.comb(9, 2) - 1,
    1000 % 12,
    63 / (16 + 20) * 60,
    3 * 8 / 5 * 60,
    12 + 0.04 * (410 - 150),
    1500 - 21 * 240 / 6,
    sum(2 * row + 1 for row in range(11)),
    (228 - 228 / 3) / 2,
    16 * math.sqrt(49) + 15 * 0.5,
    next(g for g in range(31) if 4 * g + 2 * (30 - g) == 86),
]
CODE_CHECKS = {
    "demo-21": "assert count_vowels('Otter and EEL') == 5 and count_vowels('') == 0",
    "demo-22": "assert running_max([3, 1, 4, 1]) == [3, 3, 4, 4] and running_max([]) == []",
    "demo-23": "assert digit_sum(-907) == 16 and digit_sum(0) == 0",
    "demo-24": "assert invert({'b': 1, 'a': 1, 'c': 2}) == {1: ['a', 'b'], 2: ['c']}",
}


def test_two_dozen_problems_with_their_own_ids(read):
    problems = [row.problem for row in read("demo")]
    assert [p.id for p in problems] == [f"demo-{n:02}" for n in range(1, 25)]
    assert len({p.statement for p in problems}) == 24
    assert [p.domain for p in problems] == ["math"] * 20 + ["code"] * 4


def test_the_answers_are_right(read):
    answers = {row.problem.id: row.problem.answer for row in read("demo")}
    for number, expected in enumerate(MATH_ANSWERS, 1):
        assert float(answers[f"demo-{number:02}"]) == pytest.approx(expected), number
    for name, check in CODE_CHECKS.items():
        exec(f"{answers[name]}\n{check}", {})


def test_fields_named_for_other_files_do_not_break_it(read):
    assert len(read("demo", fields={"statement": "body"})) == 24


def test_it_goes_through_a_worklist(open_source):
    survey = Worklist([open_source("demo")], samples=2, limit=22).survey()
    assert (survey.problems, survey.work, survey.available) == (22, 44, 24)
    assert survey.domains == {"math": 20, "code": 2}


def test_it_has_no_solutions(read):
    with pytest.raises(InputError, match=r"demo:1: no solution for problems\.traces"):
        read("demo", traces=("demo",))
