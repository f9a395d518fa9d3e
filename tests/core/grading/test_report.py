"""What grades come to."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rjepa_core.domain.grade import NO_ANSWER, RIGHT, UNGRADED, WRONG, Grade, Mark
from rjepa_core.domain.trace import RecordKey
from rjepa_core.grading.report import pass_at_k, summarise_grades, summary_lines

MARKS: dict[str, Mark] = {"r": RIGHT, "w": WRONG, "u": UNGRADED, "n": WRONG}


def grades(*problems: str) -> list[Grade]:
    """Grades of problems' samples: `r18` is right, `w17` wrong, `u` ungraded, `n` no answer."""
    return [
        Grade(
            RecordKey(f"p-{i}", j),
            MARKS[one[0]],
            {"u": "time limit", "n": NO_ANSWER}.get(one[0], ""),
            one[1:] or None,
            "math",
            "1",
        )
        for i, samples in enumerate(problems)
        for j, one in enumerate(samples.split())
    ]


@pytest.mark.parametrize(("n", "c", "k"), [(5, 2, 1), (5, 2, 3), (8, 1, 4), (4, 0, 2), (4, 4, 4)])
def test_pass_at_k_is_the_share_of_draws(n: int, c: int, k: int) -> None:
    draws = list(combinations([True] * c + [False] * (n - c), k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(any(draw) for draw in draws) / len(draws))


def test_counts() -> None:
    found = summarise_grades(grades("r18 w17 n u", "u u"), records=8)
    assert (found.right, found.wrong, found.no_answer, found.missing) == (1, 2, 1, 2)
    assert found.ungraded == {"time limit": 3}
    assert found.graders == {"math 1": 6}
    assert found.accuracy is not None
    assert found.accuracy.value == pytest.approx(1 / 3)
    assert found.accuracy.problems == 1


def test_majority() -> None:
    cases = {
        "r18 r18 w17": 1.0,
        "r18 w17 w17": 0.0,
        "r18 w17 w17.0": 0.0,
        "r18 w17 w$17": 0.0,
        "r18 w17 w16": 1 / 3,
        "r18 w17": 0.5,
        "r18 n n": 1.0,
        "n n": 0.0,
        "r18 u u": 1.0,
    }
    for samples, value in cases.items():
        found = summarise_grades(grades(samples, "w1 w1"), records=0)
        assert found.majority is not None
        assert found.majority.value == pytest.approx(value / 2), samples


def test_pass_at_is_told_of_the_problems_with_enough_samples() -> None:
    found = summarise_grades(grades("r w w w", "w w", "r"), records=7)
    assert {k: rate.problems for k, rate in found.pass_at.items()} == {1: 3, 2: 2, 4: 1}
    assert found.pass_at[2].value == pytest.approx((0.5 + 0.0) / 2)
    assert found.pass_at[4].value == 1.0


def test_intervals_are_over_problems() -> None:
    alike = summarise_grades(grades(*["r w"] * 50), records=100)
    assert alike.accuracy is not None
    assert (alike.accuracy.low, alike.accuracy.high) == (0.5, 0.5)
    halves = summarise_grades(grades(*["r r", "w w"] * 50), records=200)
    assert halves.accuracy is not None
    # 100 problems: 1.96 times the square root of a quarter of a hundredth.
    assert halves.accuracy.low == pytest.approx(0.402, abs=0.02)
    assert halves.accuracy.high == pytest.approx(0.598, abs=0.02)
    assert summarise_grades(reversed(grades(*["r r", "w w"] * 50)), 200) == halves


@given(st.integers(1, 200))
def test_what_is_never_seen_is_not_ruled_out(problems: int) -> None:
    none = summarise_grades(grades(*["w w"] * problems), records=2 * problems)
    every = summarise_grades(grades(*["r r"] * problems), records=2 * problems)
    assert none.accuracy is not None
    assert every.accuracy is not None
    assert (none.accuracy.value, none.accuracy.low) == (0.0, 0.0)
    assert (every.accuracy.value, every.accuracy.high) == (1.0, 1.0)
    # So many problems in a row are wrong in one of forty cases.
    assert (1 - none.accuracy.high) ** problems == pytest.approx(0.025)
    assert every.accuracy.low == pytest.approx(1 - none.accuracy.high)


def test_single_samples_have_no_majority() -> None:
    found = summarise_grades(grades("r", "w"), records=2)
    assert found.majority is None
    lines = summary_lines(found)
    assert lines[0] == "grades      1 right, 1 wrong (by math 1)"
    assert lines[1].startswith("accuracy    50.0 % [")
    assert len(lines) == 2


def test_nothing_graded() -> None:
    found = summarise_grades(grades("u"), records=1)
    assert (found.accuracy, found.majority, found.pass_at) == (None, None, {})
    assert summary_lines(found)[1] == "ungraded    1: 1 time limit"
