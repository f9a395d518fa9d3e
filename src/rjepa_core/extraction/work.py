"""Turn sources into work: what a run is asked for, and what the store still lacks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import attrs

from ..domain.problem import SOLUTION_DIGEST, GivenSolution
from ..domain.trace import Trace, Work
from ..errors import InputError, StatementChangedError, UsageError
from ..ports.source import ProblemSource, SourceRow
from ..ports.store import Entry, LatentStore
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
        available: number of problems in the sources without `limit`; None if not counted.
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
    """

    sources: Sequence[ProblemSource]
    samples: int = 1
    limit: int | None = None
    given: bool = False

    def survey(self) -> Survey:
        """Return counts after reading everything once, to find mistakes before hours are spent.

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
                work += 1
                given = unit.given
                characters += len(row.problem.statement)
                if isinstance(given, GivenSolution):
                    characters += given.length
                    steps += len(given.steps) or given.lines
        if not available:
            raise InputError("the sources hold no problem")
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
        seen: dict[str, _Seen] = {}
        for source in self.sources:
            for row in source.rows():
                digest = row.problem.statement_hash
                known = seen.get(row.problem.id)
                if known is not None and known.digest != digest:
                    raise InputError(
                        f"{row.where}: problem {row.problem.id!r} is there already with another "
                        f"statement ({known.where}); correct the ids, or drop them: "
                        "problems.fields.id=''"
                    )
                first = known is None
                if known is None:
                    known = seen[row.problem.id] = _Seen(digest, len(seen), row.where)
                past = self.limit is not None and known.index >= self.limit
                repeated = not first and not self.given
                yield _Place(first, repeated, not past, past, known.solutions), row
                known.solutions += len(row.solutions)


@attrs.define
class _Seen:
    digest: str
    index: int
    where: str
    solutions: int = 0


@attrs.frozen
class _Place:
    first: bool
    repeated: bool
    wanted: bool
    past_limit: bool
    solutions_before: int


@attrs.frozen
class Remaining:
    """How much of a run's work is stored, failed or missing in a store."""

    stored: int
    failed: int
    missing: int


def missing(work: Iterable[Work], store: LatentStore, retry_failed: bool) -> Iterator[Work]:
    """Yield the work that the store lacks; nothing else records what is done."""
    for item in work:
        entry = store.entry(item.key)
        if entry is None:
            yield item
            continue
        if entry.failed and retry_failed:
            yield item


def remaining(
    work: Iterable[Work], store: LatentStore, retry_failed: bool, check: bool = False
) -> Remaining:
    """Return the counts of what is stored, failed and missing.

    With `check`, what is stored must also match what is asked for. For given solutions this reads
    whole records, because their sample index is only their position in the file.

    Raises:
        StatementChangedError: a known id has another statement, or a known sample another solution.
    """
    stored = failed = lacking = 0
    for item in work:
        entry = store.entry(item.key)
        if check and entry is not None:
            _check_known(item, entry, store)
        stored += entry is not None and not entry.failed
        failed += entry is not None and entry.failed and not retry_failed
        lacking += entry is None or (entry.failed and retry_failed)
    return Remaining(stored, failed, lacking)


def _check_known(item: Work, entry: Entry, store: LatentStore) -> None:
    if entry.statement_hash != item.problem.statement_hash:
        raise StatementChangedError(
            f"problem {item.problem.id!r} is in {store.location} with another statement; "
            "use another store.path, or give the changed problem another id"
        )
    if isinstance(item.given, GivenSolution) and not entry.failed:
        known = store.get(item.key).trace.metadata.get(SOLUTION_DIGEST)
        if known is not None and known != item.given.digest:
            raise StatementChangedError(
                f"solution {item.sample} of problem {item.problem.id!r} is in {store.location} "
                "with another text: it was changed, or the solutions changed places; use "
                "another store.path"
            )


@attrs.define
class StoredTraces:
    """The traces of a store as work to encode again; it can be read repeatedly."""

    store: LatentStore
    limit: int | None = None

    def survey(self) -> Survey:
        """Return counts of problems and traces."""
        domains: dict[str, int] = {}
        problems: dict[str, str] = {}
        work = characters = steps = 0
        for item in self:
            work += 1
            assert isinstance(item.given, Trace)
            characters += len(item.given.completion) + len(item.problem.statement)
            steps += len(item.given.spans)
            if item.problem.id not in problems:
                problems[item.problem.id] = item.problem.domain
                domains[item.problem.domain] = domains.get(item.problem.domain, 0) + 1
        if not work:
            raise UsageError(f"{self.store.location} holds no records to encode")
        available = self.store.stats().problems
        return Survey(len(problems), work, 0, domains, characters, available, steps)

    def __iter__(self) -> Iterator[Work]:
        seen: set[str] = set()
        for key in self.store.keys():  # noqa: SIM118  not a mapping
            if key.problem_id not in seen and len(seen) == self.limit:
                continue
            seen.add(key.problem_id)
            trace = self.store.get(key).trace
            yield Work(trace.problem, trace.sample, trace)
