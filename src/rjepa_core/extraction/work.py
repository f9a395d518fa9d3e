"""Turn sources into work: what a run is asked for."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence

import attrs

from ..domain.problem import GivenSolution
from ..domain.trace import Trace, Work
from ..errors import InputError, UsageError
from ..ports.source import ProblemSource, SourceRow
from ..ports.store import LatentStore
from ..settings import Shard
from ..stores import DigestTable
from ..text import brief


@attrs.frozen
class Survey:
    """Counts of what a run is asked for, from reading the sources before anything is loaded.

    Attributes:
        problems: number of distinct problems, after `limit`.
        work: number of their (problem, sample) pairs.
        duplicates: number of rows that repeat a problem (same id, same statement).
        domains: number of problems by domain.
        characters: of statements, and of given solutions.
        available: number of problems in the sources, or in a shard of them, without `limit`; None
            if not counted.
        steps: of given solutions, or their lines if not cut yet; 0 without any.
    """

    __repr__ = brief

    problems: int
    work: int
    duplicates: int
    domains: dict[str, int]
    characters: int
    available: int | None
    steps: int = 0


@attrs.define
class Worklist:
    """The (problem, sample) pairs of a run, in the sources' order; it can be read repeatedly.

    Attributes:
        sources: read one after the other.
        samples: traces to generate per problem.
        limit: only the first N problems.
        given: whether to encode the sources' solutions instead of generating any.
        shard: only the problems of this part.
    """

    sources: Sequence[ProblemSource]
    samples: int = 1
    limit: int | None = None
    given: bool = False
    shard: Shard | None = None

    def survey(self, each: Callable[[Work], None] = lambda item: None) -> Survey:
        """Return counts after reading everything once, to find mistakes before hours are spent.

        Args:
            each: called with each item of the work.

        Raises:
            InputError: a source cannot be read, holds no problem, or gives an id two statements.
        """
        problems = work = duplicates = characters = available = steps = 0
        domains: dict[str, int] = {}
        for item, row in self._rows():
            available += item.first
            duplicates += item.repeated
            if not item.wanted:
                continue
            if item.first:
                problems += 1
                domain = row.problem.domain
                domains[domain] = domains.get(domain, 0) + 1
            for unit in self._work(item, row):
                each(unit)
                work += 1
                given = unit.given
                characters += len(row.problem.statement)
                if isinstance(given, GivenSolution):
                    characters += given.length
                    steps += len(given.steps) or given.lines
        if not available or not (work or self.given):
            raise _no_problem(self.shard)
        if not work:
            raise InputError(
                "the sources hold no solution; problems.traces needs a solution or steps in "
                "each row"
            )
        return Survey(problems, work, duplicates, domains, characters, available, steps)

    def __iter__(self) -> Iterator[Work]:
        for item, row in self._rows():
            # A later row may hold another solution of an early problem, never a new problem.
            if item.past_limit and not self.given:
                return
            if item.wanted:
                yield from self._work(item, row)

    def _work(self, item: _Place, row: SourceRow) -> Iterator[Work]:
        if self.given:
            for i, solution in enumerate(row.solutions):
                yield Work(row.problem, item.solutions_before + i, solution)
        elif item.first:
            for sample in range(self.samples):
                yield Work(row.problem, sample)

    def _rows(self) -> Iterator[tuple[_Place, SourceRow]]:
        """Yield each row and its place: new problem or repeated, within the limit or not."""
        ids, statements, solutions = DigestTable(), bytearray(), array("I")
        shard = self.shard
        for source in self.sources:
            for row in source.rows():
                ours = shard is None or shard.holds(row.problem.id)
                if not ours and self.limit is None:
                    continue
                statement = bytes.fromhex(row.problem.statement_hash)
                number, first = ids.add(row.problem.id)
                if first:
                    statements += statement
                    solutions.append(0)
                else:
                    start = number * len(statement)
                    if statements[start : start + len(statement)] != statement:
                        raise self._two_statements(row)
                if not ours:
                    continue
                past = self.limit is not None and number >= self.limit
                repeated = not first and not self.given
                yield _Place(first, repeated, not past, past, solutions[number]), row
                solutions[number] += len(row.solutions)

    def _two_statements(self, row: SourceRow) -> InputError:
        # The place of the first row with the id is found by reading again: it is kept for none.
        rows = (known for source in self.sources for known in source.rows())
        first = next(known.where for known in rows if known.problem.id == row.problem.id)
        return InputError(
            f"{row.where}: problem {row.problem.id!r} is there already with another "
            f"statement ({first}); correct the ids, or drop them: "
            "problems.fields.id=''"
        )


def _no_problem(shard: Shard | None) -> InputError:
    if shard is None:
        return InputError("the sources hold no problem")
    return InputError(
        f"problems.shard: no problem of the sources is in shard {shard}; share them out to fewer"
    )


@attrs.frozen
class _Place:
    first: bool
    repeated: bool
    wanted: bool
    past_limit: bool
    solutions_before: int


@attrs.define
class StoredTraces:
    """The traces of a store as work to encode again; it can be read repeatedly."""

    store: LatentStore
    limit: int | None = None
    shard: Shard | None = None

    def survey(self, each: Callable[[Work], None] = lambda item: None) -> Survey:
        """Return counts of problems and traces; `each` is called with each item of the work."""
        domains: dict[str, int] = {}
        problems = DigestTable()
        work = characters = steps = 0
        for item in self:
            each(item)
            work += 1
            assert isinstance(item.given, Trace)
            characters += len(item.given.completion) + len(item.problem.statement)
            steps += len(item.given.spans)
            if problems.add(item.problem.id)[1]:
                domains[item.problem.domain] = domains.get(item.problem.domain, 0) + 1
        stored = self.store.stats().problems
        if not work and self.shard is not None and stored:
            raise _no_problem(self.shard)
        if not work:
            raise UsageError(f"{self.store.location} holds no records to encode")
        available = stored if self.shard is None or self.limit is not None else len(problems)
        return Survey(len(problems), work, 0, domains, characters, available, steps)

    def __iter__(self) -> Iterator[Work]:
        seen = DigestTable()
        for key in self.store.keys():  # noqa: SIM118  not a mapping
            if len(seen) == self.limit and seen.find(key.problem_id) is None:
                continue
            seen.add(key.problem_id)
            if self.shard is not None and not self.shard.holds(key.problem_id):
                continue
            trace = self.store.get(key).trace
            yield Work(trace.problem, trace.sample, trace)
