"""The grader `exact`: the same text, marks around it and capitals aside."""

from __future__ import annotations

from collections.abc import Sequence

from rjepa_core.domain.grade import NO_ANSWER, RIGHT, UNGRADED, WRONG, Verdict
from rjepa_core.domain.problem import Problem
from rjepa_core.grading import comparable, needs_reference, same_text
from rjepa_core.ports.grader import Submission

from .compare import TOO_LONG

VERSION = "1"
_LONGEST = 10_000


class ExactGrader:
    """See `Grader`."""

    name = "exact"
    version = VERSION

    def refuses(self, problem: Problem) -> str | None:
        return needs_reference(problem)

    def grade(self, submissions: Sequence[Submission]) -> list[Verdict]:
        return [_grade(one) for one in submissions]

    def close(self) -> None:
        pass


def _grade(one: Submission) -> Verdict:
    if one.answer is None:
        return Verdict(WRONG, NO_ANSWER)
    if max(len(one.expected or ""), len(one.answer)) > _LONGEST:
        same = (one.expected or "").strip() == one.answer.strip()
        return Verdict(RIGHT) if same else Verdict(UNGRADED, TOO_LONG)
    same = same_text(comparable(one.expected or ""), comparable(one.answer))
    return Verdict(RIGHT if same else WRONG)
