"""Grades: whether the final answer of a trace is right."""

from __future__ import annotations

from typing import Literal, get_args

import attrs

from ..errors import ArgumentError
from ..text import brief
from .trace import RecordKey, check_key

Mark = Literal["right", "wrong", "ungraded"]
RIGHT: Mark = "right"
WRONG: Mark = "wrong"
UNGRADED: Mark = "ungraded"
MARKS: tuple[Mark, ...] = get_args(Mark)

# Reasons that any grader may give.
NO_ANSWER = "no answer"
NO_REFERENCE = "no expected answer"
CODE = "code is not run"


@attrs.frozen
class Verdict:
    """What a grader says of an answer.

    Attributes:
        mark: `right`, `wrong` or `ungraded`.
        reason: why it is ungraded, never empty then; otherwise what else there is to say, such as
            that a completion is wrong because it gives no answer. Short and countable.
    """

    __repr__ = brief

    mark: Mark
    reason: str = ""

    def __attrs_post_init__(self) -> None:
        if self.mark not in MARKS:
            raise ArgumentError(f"mark: got {self.mark!r:.80}, expected one of {', '.join(MARKS)}")
        if self.mark == UNGRADED and not self.reason:
            raise ArgumentError("reason: what is ungraded is so for a reason; got none")


@attrs.frozen
class Grade:
    """A verdict as a store keeps it, beside the record that it is of.

    Attributes:
        key: of the record.
        mark: `right`, `wrong` or `ungraded`.
        reason: why it is ungraded, or what else there is to say; empty if nothing.
        answer: the final answer of the trace as it was graded, None where it gives none.
        grader: name of the grader that said so.
        version: of the grader's rules; another version may grade the same answer otherwise.
    """

    __repr__ = brief

    key: RecordKey
    mark: Mark
    reason: str
    answer: str | None
    grader: str
    version: str


def check_grade(grade: object) -> None:
    """Refuse what is no grade.

    Raises:
        ArgumentError: it is no `Grade`, or its key, mark or texts are not what they should be.
    """
    if not isinstance(grade, Grade):
        raise ArgumentError(f"grade: got {grade!r:.80}, expected a Grade")
    check_key(grade.key, "the grade's key")
    Verdict(grade.mark, grade.reason)
    for name in ("reason", "grader", "version"):
        if not isinstance(getattr(grade, name), str):
            raise ArgumentError(f"{grade.key}: {name} of its grade is no string")
    if grade.answer is not None and not isinstance(grade.answer, str):
        raise ArgumentError(f"{grade.key}: answer of its grade is neither a string nor None")
