"""What every grader promises, as tests that a grader's own tests inherit.

    class TestMyGrader(GraderContract):
        adapter = my_plugin.rjepa_graders()[0]

Each failure names the broken promise.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import pytest

from ..domain.answer import reference_answer
from ..domain.grade import NO_ANSWER, RIGHT, UNGRADED, WRONG, Verdict
from ..domain.problem import Problem
from ..plugins import GraderAdapter
from ..ports.grader import Grader, Submission

_HOSTILE = (
    "9**9**9**9",
    "9^{9^{9^{9}}}",
    "(" * 2000,
    "\\frac{" * 300 + "1",
    "1" * 20_000,
    "\\left" * 500,
    "1e999999999",
    "\ud800 half a pair",
    "\x00",
    " ",
    "$$",
)


class GraderContract:
    """Inherit, and name the adapter.

    Attributes:
        adapter: the descriptor.
        options: its settings; short limits keep the tests fast.
        problem: one that the grader can grade.
        right, wrong: final answers to it, and completions for graders that look at those.
        seconds: the longest that a hostile answer may take.
    """

    adapter: ClassVar[GraderAdapter]
    options: ClassVar[Mapping[str, Any]] = {}
    problem: ClassVar[Problem] = Problem("p", "What is 9 + 9?", answer="18")
    right: ClassVar[Sequence[str]] = ("18",)
    wrong: ClassVar[Sequence[str]] = ("19", "-18", "none of these")
    seconds: ClassVar[float] = 10.0

    @pytest.fixture(scope="class")
    @classmethod
    def grader(cls) -> Iterator[Grader]:
        found = cls.adapter.create(cls.adapter.configure(cls.options, "grader"))
        yield found
        found.close()

    def submit(self, answer: str | None, problem: Problem | None = None) -> Submission:
        """An answer as the grading hands it over."""
        problem = problem or self.problem
        return Submission(problem, reference_answer(problem.answer), answer, answer or "")

    def test_it_says_who_it_is(self, grader: Grader) -> None:
        assert grader.name == self.adapter.name, "a grader has the name that it is asked for by"
        assert isinstance(grader.version, str), "a version is a text"
        assert grader.version, "a version is kept with each grade, so it is not empty"
        again = self.adapter.create(self.adapter.configure(self.options, "grader"))
        again.close()
        assert again.version == grader.version, "equal graders have equal versions"

    def test_it_says_what_it_can_grade(self, grader: Grader) -> None:
        refused = grader.refuses(self.problem)
        assert refused is None, f"refuses() is None for what it can grade: {refused!r}"

    def test_right_and_wrong(self, grader: Grader) -> None:
        answers = [*self.right, *self.wrong]
        found = grader.grade([self.submit(answer) for answer in answers])
        assert len(found) == len(answers), "grade() gives a verdict for each submission"
        for answer, verdict in zip(answers, found, strict=True):
            assert isinstance(verdict, Verdict), f"grade() gives Verdicts: {verdict!r}"
            wanted = RIGHT if answer in self.right else WRONG
            assert verdict.mark == wanted, f"{answer!r} is {wanted}: {verdict}"

    def test_nothing_to_grade(self, grader: Grader) -> None:
        assert list(grader.grade([])) == [], "no submissions have no verdicts"

    def test_no_answer_is_wrong(self, grader: Grader) -> None:
        [verdict] = grader.grade([self.submit(None)])
        assert verdict.mark == WRONG, f"a completion without an answer is not right: {verdict}"
        assert verdict.reason == NO_ANSWER, f"its reason is {NO_ANSWER!r}: {verdict}"

    def test_verdicts_are_in_order_and_depend_on_no_other(self, grader: Grader) -> None:
        answers = [*self.right, *self.wrong, "x^2 + 1", *self.right]
        alone = [grader.grade([self.submit(answer)])[0] for answer in answers]
        for order in (answers, answers[::-1]):
            found = grader.grade([self.submit(answer) for answer in order])
            pairs = dict(zip(order, found, strict=True))
            for answer, verdict in zip(answers, alone, strict=True):
                assert pairs[answer] == verdict, f"{answer!r} is graded alike beside others"

    def test_hostile_answers(self, grader: Grader) -> None:
        for answer in _HOSTILE:
            began = time.perf_counter()
            [verdict] = grader.grade([self.submit(answer)])
            took = time.perf_counter() - began
            assert took <= self.seconds, f"{answer[:20]!r} takes {took:.1f} s: it has a time limit"
            assert verdict.mark != RIGHT, f"{answer[:20]!r} is not right: {verdict}"
            if verdict.mark == UNGRADED:
                assert verdict.reason, "what is ungraded is so for a reason"
        [verdict] = grader.grade([self.submit(self.right[0])])
        assert verdict.mark == RIGHT, "a hostile answer spoils none behind it"

    def test_closing_again_does_nothing(self) -> None:
        found = self.adapter.create(self.adapter.configure(self.options, "grader"))
        found.grade([self.submit(self.right[0])])
        found.close()
        found.close()
