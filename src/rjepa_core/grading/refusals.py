"""What no grader of answers can grade."""

from __future__ import annotations

from ..domain.answer import reference_answer
from ..domain.grade import CODE, NO_REFERENCE
from ..domain.problem import Problem

CODE_DOMAIN = "code"


def needs_reference(problem: Problem) -> str | None:
    """Why a grader that compares answers cannot grade those to a problem; None if it can."""
    if problem.domain == CODE_DOMAIN:
        return CODE
    if reference_answer(problem.answer) is None:
        return NO_REFERENCE
    return None
