"""A grader: an answer is right that has the same digits as what is expected."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from rjepa_core.domain.grade import NO_ANSWER, NO_REFERENCE, RIGHT, WRONG, Verdict
from rjepa_core.domain.problem import Problem
from rjepa_core.ports.grader import Submission


class TemplateGrader:
    """Holds nothing. One that runs code has a sandbox here, and looks at `completion`."""

    name = "template"
    version = "1"

    def __init__(self, settings: Any) -> None:
        pass

    def refuses(self, problem: Problem) -> str | None:
        return NO_REFERENCE if problem.answer is None else None

    def grade(self, submissions: Sequence[Submission]) -> list[Verdict]:
        return [_grade(one) for one in submissions]

    def close(self) -> None:
        pass


def _grade(one: Submission) -> Verdict:
    if one.answer is None:
        return Verdict(WRONG, NO_ANSWER)
    same = _digits(one.answer) == _digits(one.expected or "")
    return Verdict(RIGHT if same else WRONG)


def _digits(text: str) -> list[str]:
    return re.findall(r"-?\d", text)
