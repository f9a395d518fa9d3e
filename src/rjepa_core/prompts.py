"""Pose a problem: the default templates, and the prompt that a backend is given."""

from __future__ import annotations

from collections.abc import Mapping

from .errors import SettingsError
from .problems import Problem
from .traces import Prompt, RecordKey

PLACEHOLDER = "{statement}"

MATH_TEMPLATE = (
    'Solve the problem below step by step. Start each step on a new line with "Step 1:", '
    '"Step 2:" and so on, and end with a line "Answer:" and the result.\n\n'
    "Problem: {statement}"
)
CODE_TEMPLATE = (
    "Work out the programming task below step by step. Start each step on a new line with "
    '"Step 1:", "Step 2:" and so on, and write the code in the last step.\n\n'
    "Task:\n{statement}"
)
DEFAULT_TEMPLATES: Mapping[str, str] = {"default": MATH_TEMPLATE, "code": CODE_TEMPLATE}


def check_template(template: str, where: str) -> str:
    """A template must hold `{statement}` exactly once; other braces are plain text.

    Raises:
        SettingsError: it does not.
    """
    found = template.count(PLACEHOLDER)
    if found != 1:
        raise SettingsError(
            f"{where}: a prompt template holds {PLACEHOLDER} once, not {found} times"
        )
    return template


def pose(
    problem: Problem,
    sample: int,
    templates: Mapping[str, str],
    system: str | None = None,
    thinking: bool = False,
    date: str | None = None,
) -> Prompt:
    """The prompt of a problem: its domain's template, or the one named `default`."""
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
