"""The problem source port: yields problems, with or without solutions, in order."""

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
        solutions: its solutions, if the source has any; several become samples 0, 1, ….
        where: file and line, for messages.
    """

    problem: Problem
    solutions: tuple[GivenSolution, ...] = ()
    where: str = ""


class ProblemSource(Protocol):
    """A source that can be streamed more than once."""

    def rows(self) -> Iterator[SourceRow]:
        """Yield the rows in the source's order.

        Raises:
            InputError: a row cannot be read; the message names file and line.
        """
        ...
