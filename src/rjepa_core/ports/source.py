"""The problem source port: yields problems, with or without solutions, in order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

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


@runtime_checkable
class Fingerprints(Protocol):
    """An optional ability of a source: to tell cheaply whether its rows are still the same.

    With it, a run that is resumed with nothing left to do ends without reading them.
    """

    def fingerprint(self) -> str | None:
        """Return a text that differs if any row does; None if that cannot be told.

        It depends on the content and on how it is read, never on the time of a change alone.

        Raises:
            InputError: the source cannot be read.
        """
        ...
