"""The grading use case: whether the answers in a store are right."""

from .grade import (
    DEFAULT_GRADER,
    Graded,
    GradeSettings,
    grade,
    grade_line,
    needs_reference,
    open_grader,
    require_grades,
)
from .normalise import comparable, said, same_text
from .report import (
    GradeSummary,
    Rate,
    summarise,
    summarise_grades,
    summary_facts,
    summary_lines,
)

__all__ = [
    "DEFAULT_GRADER",
    "GradeSettings",
    "GradeSummary",
    "Graded",
    "Rate",
    "comparable",
    "grade",
    "grade_line",
    "needs_reference",
    "open_grader",
    "require_grades",
    "said",
    "same_text",
    "summarise",
    "summarise_grades",
    "summary_facts",
    "summary_lines",
]
