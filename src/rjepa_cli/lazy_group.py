"""A group of commands that are imported when they are used, so that `--help` stays fast."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Collection, Mapping

import click
from click.shell_completion import CompletionItem

from .help import write_groups

COMMANDS = "Commands"


class LazyGroup(click.Group):
    """A click group whose commands stand in modules of their own.

    Attributes:
        table: name: (module with a click command named `command`, one line for `--help`).
        titles: the names that stand under a title in `--help`; others stand under `Commands`.
    """

    table: Mapping[str, tuple[str, str]] = {}
    titles: Mapping[str, Collection[str]] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.table:
            return None
        command = importlib.import_module(self.table[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        titled = {name: title for title, names in self.titles.items() for name in names}
        lines = [(titled.get(name, COMMANDS), (name, self.table[name][1])) for name in self.table]
        write_groups(formatter, lines, [*self.titles, COMMANDS])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a command without importing them all for their help."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [
            CompletionItem(name, help=line)
            for name, (_, line) in self.table.items()
            if name.startswith(incomplete)
        ]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        unknown = args and args[0] not in self.table and not args[0].startswith("-")
        if unknown and not ctx.resilient_parsing:
            raise unknown_command(args[0], self.table, ctx)
        return super().resolve_command(ctx, args)


def unknown_command(name: str, known: Collection[str], ctx: click.Context) -> click.UsageError:
    """Return the error for an unknown command, with the nearest known one."""
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
    return click.UsageError(f"no such command: {name}; {hint}", ctx)
