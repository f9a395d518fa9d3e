"""A problem source: a text file, one problem per paragraph; a solution follows a line `---`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from rjepa_core.domain.problem import DEFAULT_DOMAIN, GivenSolution, Problem
from rjepa_core.errors import InputError
from rjepa_core.ports.source import SourceRow
from rjepa_core.settings import ProblemSettings

SUFFIX = ".problems.txt"


class TemplateSource:
    """A source that streams its file, and can be read more than once."""

    def __init__(self, location: str, problems: ProblemSettings, settings: Any) -> None:
        self._location = location
        self._domain = problems.domain or DEFAULT_DOMAIN
        # With problems.traces every row must have a solution.
        self._given = bool(problems.traces)

    def rows(self) -> Iterator[SourceRow]:
        try:
            with open(self._location, encoding="utf-8") as file:
                for line, paragraph in _paragraphs(file):
                    yield self._row(f"{self._location}:{line}", paragraph)
        except OSError as error:
            raise InputError(f"{self._location}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise InputError(f"{self._location}: not UTF-8; convert it") from None

    def fingerprint(self) -> str:
        """Of the content and of how it is read; a source that cannot tell leaves this out."""
        try:
            with open(self._location, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise InputError(f"{self._location}: {error.strerror}") from None
        return f"{digest} {self._domain} {self._given}"

    def _row(self, where: str, paragraph: list[str]) -> SourceRow:
        statement, _, solution = "\n".join(paragraph).partition("\n---\n")
        if self._given and not solution.strip():
            raise InputError(f"{where}: no solution for problems.traces; add it after a line ---")
        # A problem without an id gets one from domain and statement, never a number.
        problem = Problem.make(statement, self._domain)
        solutions = (GivenSolution(text=solution),) if self._given else ()
        return SourceRow(problem, solutions, where)


def _paragraphs(lines: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of the first line, and the lines, of each paragraph."""
    begun, paragraph = 0, list[str]()
    for number, line in enumerate(lines, 1):
        if line.strip():
            begun = begun if paragraph else number
            paragraph.append(line.rstrip("\n"))
        elif paragraph:
            yield begun, paragraph
            paragraph = []
    if paragraph:
        yield begun, paragraph
