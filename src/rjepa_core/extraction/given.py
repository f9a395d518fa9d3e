"""Problems that a caller holds in Python, as a source that can be read like a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from ..domain.problem import DEFAULT_DOMAIN, Problem, derived_id
from ..errors import ArgumentError
from ..ports.source import SourceRow
from ..settings import ProblemSettings

# What the run history calls such problems.
PYTHON = "python"
GivenProblem = str | Mapping[str, Any] | Problem
# Our fields, and their usual names; the first one present is used, as in files.
_NAMES = {
    "statement": ("statement", "question", "problem", "prompt", "input", "instruction"),
    "id": ("problem_id", "id", "uid", "unique_id", "task_id"),
    "domain": ("domain",),
    "subdomain": ("subdomain", "type", "subject"),
    "answer": ("final_answer", "answer", "expected_answer", "ground_truth", "correct_answer"),
}
# GSM8K's answers end with it and the answer proper.
_ANSWER_MARK = "####"


@attrs.frozen
class GivenSource:
    """A `ProblemSource` over problems that were given; what it yields was checked before."""

    problems: tuple[Problem, ...]

    @classmethod
    def of(cls, problems: Iterable[GivenProblem], settings: ProblemSettings) -> GivenSource:
        """Return the source of problems, dicts with the usual fields, or statements.

        Raises:
            ArgumentError: there is none, or one cannot be understood; the message names its place.
        """
        if isinstance(problems, str | Mapping | Problem) or not isinstance(problems, Iterable):
            raise ArgumentError(
                f"problems: got {type(problems).__name__}, expected a list of dicts with a "
                "question, of Problems, or of statements"
            )
        found = tuple(_problem(one, n, settings) for n, one in enumerate(problems))
        if not found:
            raise ArgumentError("problems: got none, expected one or more")
        return cls(found)

    def rows(self) -> Iterator[SourceRow]:
        """Yield each problem, without solutions."""
        for place, problem in enumerate(self.problems):
            yield SourceRow(problem, where=f"problems[{place}]")


def _problem(given: GivenProblem, place: int, settings: ProblemSettings) -> Problem:
    where = f"problems[{place}]"
    if isinstance(given, Problem):
        return given if settings.domain is None else attrs.evolve(given, domain=settings.domain)
    if isinstance(given, str):
        given = {"statement": given}
    if not isinstance(given, Mapping):
        raise ArgumentError(
            f"{where}: got {type(given).__name__}, expected a dict with a question, a Problem, or "
            "a statement"
        )
    left = {str(name): value for name, value in given.items() if value is not None}
    values: dict[str, str] = {}
    for ours, usual in _NAMES.items():
        named = settings.fields.get(ours)
        names = usual if named is None else (named,)
        name = next((one for one in names if one in left), None)
        if name is not None:
            values[ours] = _text(left.pop(name), f"{where}.{name}")
    statement = values.get("statement", "")
    if not statement.strip():
        raise ArgumentError(
            f"{where}: has no statement; it has {', '.join(map(str, given)) or 'nothing'}; "
            f"expected one of {', '.join(_NAMES['statement'])}"
        )
    domain = settings.domain or values.get("domain") or DEFAULT_DOMAIN
    answer = values.get("answer")
    if answer is not None and _ANSWER_MARK in answer:
        answer = answer.rpartition(_ANSWER_MARK)[2].strip()
    return Problem(
        id=values.get("id") or derived_id(domain, statement),
        statement=statement,
        domain=domain,
        subdomain=values.get("subdomain"),
        answer=answer,
        metadata={name: _text(value, f"{where}.{name}") for name, value in left.items()},
    )


def _text(value: Any, where: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    # numpy's numbers, too.
    if isinstance(value, str | int | float) or getattr(value, "shape", None) == ():
        return str(value)
    raise ArgumentError(
        f"{where}: got {type(value).__name__}, expected a text or a number; choices, chats and "
        "solutions are read from a file (problems.sources)"
    )
