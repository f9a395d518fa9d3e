"""The grader port. What a grader promises is tested by `rjepa_core.testing.grader_suite`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import attrs

from ..domain.grade import Verdict
from ..domain.problem import Problem


@attrs.frozen
class Submission:
    """What is graded.

    Attributes:
        problem: with its expected answer, if it has one.
        expected: that answer as it is compared (`rjepa_core.domain.answer.reference_answer`).
        answer: the completion's final answer (`answer_of`), None where it gives none.
        completion: the whole text, for graders that look at more than the answer.
    """

    problem: Problem
    expected: str | None
    answer: str | None
    completion: str = ""


class Grader(Protocol):
    """Says whether answers are right. Answers are untrusted input.

    An answer can make no grader raise, hang or grow: what takes too long or cannot be read is
    ungraded by name, and so is a kind of problem that the grader knows nothing of.
    """

    @property
    def name(self) -> str:
        """By which it was asked for; kept with each grade."""
        ...

    @property
    def version(self) -> str:
        """Of what it says: another version may grade differently, and grades again."""
        ...

    def refuses(self, problem: Problem) -> str | None:
        """Why it cannot grade any answer to this problem; None if it can."""
        ...

    def grade(self, submissions: Sequence[Submission]) -> Sequence[Verdict]:
        """A verdict for each submission, in their order.

        The verdict of one depends on no other. A submission without an answer is wrong, unless the
        grader looks at more than the answer.
        """
        ...

    def close(self) -> None:
        """Let go of what it holds, such as processes; closing again does nothing."""
        ...
