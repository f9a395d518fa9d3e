"""Turn a problem into the prompt that a backend gets."""

from __future__ import annotations

from collections.abc import Mapping

from ..settings import PLACEHOLDER
from .problem import Problem
from .trace import Prompt, RecordKey


def pose(
    problem: Problem,
    sample: int,
    templates: Mapping[str, str],
    system: str | None = None,
    thinking: bool = False,
    date: str | None = None,
) -> Prompt:
    """Return the prompt of a problem, from its domain's template or the one named `default`."""
    template = templates.get(problem.domain) or templates["default"]
    before, after = template.split(PLACEHOLDER)
    statement = problem.statement.strip()
    before = before.lstrip()
    user = (before + statement + after).rstrip()
    return Prompt(
        key=RecordKey(problem.id, sample),
        user=user,
        statement_start=len(before),
        statement_stop=len(before) + len(statement),
        system=system,
        thinking=thinking,
        date=date,
    )
