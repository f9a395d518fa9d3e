"""`--help` whose options stand in groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

# Options that mean the same wherever they are.
SETTINGS, OUTPUT, OTHER = "Settings", "Output", "Other"
_SHARED = {
    "--config": SETTINGS,
    "--set": SETTINGS,
    "--print-config": SETTINGS,
    "--out": OUTPUT,
    "--json": OUTPUT,
    "--verbose": OUTPUT,
    "--debug": OTHER,
    "--version": OTHER,
    "--help": OTHER,
}
_LAST = (SETTINGS, OUTPUT, OTHER)


class GroupedCommand(click.Command):
    """A command that shows its options in groups.

    Args:
        groups: names of options by title, in the order of the help; a title of `_LAST` comes last.
    """

    def __init__(
        self, *args: Any, groups: Mapping[str, Sequence[str]] | None = None, **more: Any
    ) -> None:
        super().__init__(*args, **more)
        self.groups = dict(groups or {})

    def title_of(self, parameter: click.Parameter) -> str | None:
        """Return the title that an option stands under; None if nobody gave it one."""
        own = {name: title for title, names in self.groups.items() for name in names}
        titles = [known[o] for known in (own, _SHARED) for o in parameter.opts if o in known]
        return titles[0] if titles else None

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        first = [title for title in self.groups if title not in _LAST]
        write_groups(
            formatter,
            [
                (self.title_of(parameter) or OTHER, line)
                for parameter in self.get_params(ctx)
                if (line := parameter.get_help_record(ctx)) is not None
            ],
            first,
        )


def write_groups(
    formatter: click.HelpFormatter,
    lines: Sequence[tuple[str, tuple[str, str]]],
    first: Sequence[str],
) -> None:
    """Write help lines, given with their titles, under these titles."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for title, line in lines:
        groups.setdefault(title, []).append((line[0], line[1].removesuffix(".")))
    others = sorted(set(groups) - {*first, *_LAST})
    for title in (*first, *others, *_LAST):
        if title in groups:
            with formatter.section(title):
                formatter.write_dl(groups[title])
