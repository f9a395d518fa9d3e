"""The problem source port: problems, or problems with solutions, one by one and in order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import attrs

from ..domain.problem import GivenSolution, Problem


@attrs.frozen
class SourceRow:
    """One row of a source.

    Attributes:
        problem: the problem.
        solutions: its solutions, where the source holds any; several become samples 0, 1, ….
        where: file and line, for messages.
    """

    problem: Problem
    solutions: tuple[GivenSolution, ...] = ()
    where: str = ""


class ProblemSource(Protocol):
    """A source that can be read more than once, streaming."""

    def rows(self) -> Iterator[SourceRow]:
        """The rows in the source's order.

        Raises:
            InputError: naming file and line.
        """
        ...
