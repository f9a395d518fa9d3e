"""A correct solution, and what it became."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import attrs

from .equations import read_step
from .recompute import Solution, read_solution, rewritten


@attrs.frozen
class Edit:
    """A solution that was edited.

    Attributes:
        bodies: of its steps.
        wrong: the step that is wrong; None where the solution is still correct.
        statement: another statement that it belongs to, if it does.
        others: values that became others, by which the answer is another.
        donor: the trace that a step was taken from, if one was.
    """

    bodies: tuple[str, ...]
    wrong: int | None
    statement: str | None = None
    others: tuple[tuple[Fraction, Fraction], ...] = ()
    donor: str = ""

    def answer(self, own: str | None) -> str | None:
        """The line with the answer, with what has become of its number."""
        if own is None:
            return None
        return rewritten(read_step(own), dict(self.others)) or own


@attrs.frozen
class Clean:
    """A correct solution.

    Attributes:
        name: of its trace.
        problem: hash of its statement.
        statement: of its problem.
        bodies: of its steps.
        solution: the same, read.
    """

    name: str
    problem: str
    statement: str
    bodies: tuple[str, ...]
    solution: Solution

    @classmethod
    def of(cls, name: str, problem: str, statement: str, bodies: Sequence[str]) -> Clean:
        """Read a solution."""
        return cls(name, problem, statement, tuple(bodies), read_solution(statement, bodies))
