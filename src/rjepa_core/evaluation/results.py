"""What an evaluation found, as tables of figures with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from ..text import count, shortened
from .statistics import Drawn, Estimate, Figure, Resampler
from .text import lines, markdown


@attrs.frozen
class Line:
    """One method of a table.

    Attributes:
        method: its name.
        kind: `world model`, `baseline` or `combined`.
        figures: by column.
        differences: by baseline, then by column: this method's figure less the baseline's.
        of: the methods whose worst, or best, figures these are; none where they are its own.
    """

    method: str
    kind: str
    figures: Mapping[str, Estimate]
    differences: Mapping[str, Mapping[str, Estimate]] = attrs.field(factory=dict)
    of: tuple[str, ...] = ()

    def __repr__(self) -> str:
        figures = ", ".join(f"{name} {one.value:.4g}" for name, one in self.figures.items())
        return f"Line({self.method!r}: {shortened(figures, 150)})"


@attrs.frozen
class Table:
    """One comparison of methods on the same items.

    Attributes:
        part: `prediction`, `damage`, ….
        name: of the table, unique.
        title: one line for people.
        columns: names of the figures, in order.
        items, problems: that the figures are of.
        chance: what guessing would get, by column.
        lines: the methods.
        notes: sentences that belong to it.
        lower: columns in which less is better.
        leads: columns that a summary begins with; none where others say more.
        use: what such figures can be used for.
        facts: counts and settings that belong to it.
    """

    part: str
    name: str
    title: str
    columns: tuple[str, ...]
    items: int
    problems: int
    chance: Mapping[str, float]
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()
    lower: tuple[str, ...] = ()
    leads: tuple[str, ...] = ()
    use: str = ""
    facts: Mapping[str, Any] = attrs.field(factory=dict)

    def __repr__(self) -> str:
        methods, figures = count(len(self.lines), "method"), count(len(self.columns), "figure")
        return (
            f"Table({self.name!r}: {methods}, {figures}, {count(self.items, 'item')} of "
            f"{count(self.problems, 'problem')})"
        )

    def line(self, method: str) -> Line:
        """The line of a method.

        Raises:
            KeyError: there is none.
        """
        for line in self.lines:
            if line.method == method:
                return line
        raise KeyError(method)


@attrs.frozen
class Evaluation:
    """All that was found.

    Attributes:
        world_models: by the name that the tables use: location, objective, quantiles left out.
        stores: their places.
        split: whose figures these are.
        seed, draws: of the bootstrap.
        tables: in order.
        facts: of the data and the baselines.
    """

    world_models: Mapping[str, Mapping[str, Any]]
    stores: tuple[str, ...]
    split: str
    seed: int
    draws: int
    tables: tuple[Table, ...]
    facts: Mapping[str, Any] = attrs.field(factory=dict)

    def __repr__(self) -> str:
        names = ", ".join(table.name for table in self.tables)
        return (
            f"Evaluation({count(len(self.world_models), 'world model')}, {self.split} of "
            f"{count(len(self.stores), 'store')}: {shortened(names, 120)}; print it for the tables)"
        )

    def table(self, name: str) -> Table:
        """The table of that name.

        Raises:
            KeyError: there is none.
        """
        for table in self.tables:
            if table.name == name:
                return table
        raise KeyError(name)

    def __str__(self) -> str:
        return "\n".join(lines(self.to_json()))

    def _repr_markdown_(self) -> str:
        return markdown(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Plain values; None where a figure has no value."""
        found: dict[str, Any] = _plain(attrs.asdict(self))
        return found


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@attrs.frozen
class Seeds:
    """Methods that differ in their seeds alone.

    Attributes:
        name: of their line.
        members: the methods.
        best: the line is of the best of them, figure by figure: for what others are compared with.
            Else it is of the worst.
    """

    name: str
    members: tuple[str, ...]
    best: bool = False


class TableBuilder:
    """Collects figures of several methods over the same problems.

    Args:
        resampler: draws the problems.
        lower: columns in which less is better.
    """

    def __init__(self, resampler: Resampler, lower: Sequence[str] = ()) -> None:
        self._resampler, self._lower = resampler, lower
        self._kinds: dict[str, str] = {}
        self._drawn: dict[str, dict[str, Drawn]] = {}
        self._against: dict[str, tuple[str, ...]] = {}
        self._of: dict[str, tuple[str, ...]] = {}

    def add(
        self, method: str, kind: str, figures: Mapping[str, Figure], against: tuple[str, ...] = ()
    ) -> None:
        """A method; its differences to those of `against` that are there are told, too."""
        self._kinds[method] = kind
        self._drawn[method] = {
            column: self._resampler.draw(figure) for column, figure in figures.items()
        }
        self._against[method] = against

    def add_seeds(self, seeds: Seeds) -> None:
        """The worst, or best, of several methods that were added, each figure by itself: a line
        after theirs, of their kind, and compared as they are."""
        members = [name for name in seeds.members if name in self._drawn]
        if len(members) < 2:
            return
        found = {}
        for column in self._drawn[members[0]]:
            high = seeds.best != (column in self._lower)
            drawn = [self._drawn[name][column] for name in members]
            found[column] = (max if high else min)(drawn, key=lambda one: one.value)
        self._kinds[seeds.name] = self._kinds[members[0]]
        self._against[seeds.name] = self._against[members[0]]
        self._of[seeds.name] = tuple(members)
        place = list(self._drawn).index(members[-1]) + 1
        lines = list(self._drawn.items())
        self._drawn = dict([*lines[:place], (seeds.name, found), *lines[place:]])

    def lines(self) -> tuple[Line, ...]:
        """The lines, in the order of adding."""
        return tuple(
            Line(
                method,
                self._kinds[method],
                {column: drawn.estimate() for column, drawn in columns.items()},
                {
                    other: self._difference(columns, self._drawn[other])
                    for other in self._against[method]
                    if other in self._drawn
                },
                self._of.get(method, ()),
            )
            for method, columns in self._drawn.items()
        )

    def _difference(
        self, ours: Mapping[str, Drawn], theirs: Mapping[str, Drawn]
    ) -> dict[str, Estimate]:
        return {
            column: drawn.minus(theirs[column])
            for column, drawn in ours.items()
            if column in theirs
        }
