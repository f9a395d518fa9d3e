"""The promises of every problem source, as tests that a source's own tests inherit.

    class TestMySource(SourceContract):
        adapter = my_plugin.rjepa_sources()[0]

        def location(self, tmp_path):
            (tmp_path / "problems.xyz").write_text("...")
            return str(tmp_path / "problems.xyz")

Each failure names the broken promise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from ..domain.problem import DEFAULT_DOMAIN, Problem, derived_id
from ..errors import InputError
from ..plugins import SourceAdapter
from ..ports.source import Fingerprints, ProblemSource, SourceRow
from ..settings import ProblemSettings
from .promises import raises
from .samples import TmpPath


class SourceContract:
    """Inherit and define an adapter and a location with at least two problems.

    Attributes:
        adapter: the descriptor.
        options: the adapter's own settings.
    """

    adapter: ClassVar[SourceAdapter]
    options: ClassVar[Mapping[str, Any]] = {}

    def location(self, tmp_path: TmpPath) -> str:
        """Return a location with two problems or more that the source reads."""
        raise NotImplementedError("implement location()")

    def broken(self, tmp_path: TmpPath) -> str:
        """Return a location that the source claims but cannot read to the end."""
        pytest.skip("broken() is not implemented, which returns an unreadable location")

    def change(self, location: str) -> None:
        """Change one row at a location that `location()` returned."""
        pytest.skip("change() is not implemented, which changes a row")

    def open(self, location: str, **problems: Any) -> ProblemSource:
        """Open the source at a location."""
        settings = self.adapter.configure(self.options, f"problems.{self.adapter.name}")
        return self.adapter.create(location, ProblemSettings(**problems), settings)

    def read(self, location: str, **problems: Any) -> list[SourceRow]:
        """Return all rows of a location."""
        return list(self.open(location, **problems).rows())

    def test_it_claims_its_locations_alone(self, tmp_path: TmpPath) -> None:
        location = self.location(tmp_path)
        assert self.adapter.claims(location), f"claims({location!r}) must be true"
        assert not self.adapter.claims("no/such/place.of-any-kind"), (
            "a location of others is not claimed"
        )

    def test_rows_are_problems(self, tmp_path: TmpPath) -> None:
        rows = self.read(self.location(tmp_path))
        assert len(rows) >= 2, "the location of this test must hold two problems or more"
        for row in rows:
            problem = row.problem
            assert isinstance(problem, Problem), f"a row holds a Problem: {row!r:.80}"
            assert problem.statement.strip(), f"{row.where}: a problem has a statement"
            assert row.where, f"{problem.id}: a row names its place, for messages"
            bad = [k for k, v in problem.metadata.items() if not isinstance(v, str)]
            assert not bad, f"{row.where}: metadata are strings: {bad}"
        wheres = [row.where for row in rows]
        assert len(set(wheres)) == len(wheres), "two rows do not have the same place"

    def test_reading_again_gives_the_same(self, tmp_path: TmpPath) -> None:
        location = self.location(tmp_path)
        source = self.open(location)
        first, second = list(source.rows()), list(source.rows())
        lost = len(first) - len(second)
        assert not lost, f"a source can be read more than once: {lost} rows were lost"
        assert first == second, "a source gives the same rows in the same order each time"
        assert self.read(location) == first, "opened again, it gives the same rows"

    def test_two_readings_at_once(self, tmp_path: TmpPath) -> None:
        source = self.open(self.location(tmp_path))
        whole = list(source.rows())
        one, other = source.rows(), source.rows()
        assert next(one) == whole[0], "a reading begins with the first row"
        assert list(other) == whole, "two readings at once do not disturb each other"
        assert list(one) == whole[1:], "two readings at once do not disturb each other"

    def test_ids_follow_from_the_problem(self, tmp_path: TmpPath) -> None:
        rows = self.read(self.location(tmp_path))
        ids: dict[str, str] = {}
        for row in rows:
            problem = row.problem
            known = ids.setdefault(problem.id, problem.statement_hash)
            assert known == problem.statement_hash, (
                f"{row.where}: the id {problem.id} stands for two statements; a problem without "
                f"an id gets derived_id(): {derived_id(problem.domain, problem.statement)}"
            )

    def test_a_domain_can_be_set(self, tmp_path: TmpPath) -> None:
        rows = self.read(self.location(tmp_path), domain="code")
        domains = {row.problem.domain for row in rows}
        assert domains == {"code"}, f"problems.domain overrides the source's: {domains}"
        usual = self.read(self.location(tmp_path))
        assert all(row.problem.domain for row in usual), f"a domain; {DEFAULT_DOMAIN} by default"

    def test_a_fingerprint_is_of_the_content(self, tmp_path: TmpPath) -> None:
        location = self.location(tmp_path)
        source = self.open(location)
        known = _fingerprint(source)
        if known is None:
            pytest.skip("this source does not tell whether its rows are the same")
        assert _fingerprint(self.open(location)) == known, "equal rows, an equal fingerprint"
        list(source.rows())
        assert _fingerprint(source) == known, "reading does not change the fingerprint"
        other = _fingerprint(self.open(location, domain="code"))
        assert other != known, "rows of another domain have another fingerprint"
        self.change(location)
        assert _fingerprint(source) != known, "a changed row, another fingerprint"
        assert _fingerprint(self.open(location)) != known, "a changed row, another fingerprint"

    def test_solutions_are_there_or_missed(self, tmp_path: TmpPath) -> None:
        location = self.location(tmp_path)
        try:
            rows = self.read(location, traces=(location,))
        except InputError:
            return
        bare = [row.where for row in rows if not row.solutions]
        assert not bare, f"asked for solutions, a row without one is an InputError: {bare[:3]}"

    def test_what_cannot_be_read_is_said(self, tmp_path: TmpPath) -> None:
        location = self.broken(tmp_path)
        with raises(InputError, "what cannot be read is an InputError") as raised:
            self.read(location)
        assert "\n" not in str(raised), "the message is one line"
        name = location.rpartition("/")[2]
        assert name in str(raised), f"the message names the file, {name}: {raised}"


def _fingerprint(source: ProblemSource) -> str | None:
    return source.fingerprint() if isinstance(source, Fingerprints) else None
