"""The group of the store commands."""

from __future__ import annotations

import importlib
from typing import Any

import click

from ...main import unknown_command

# name: (module, one line for --help).
COMMANDS = {
    "verify": ("verify", "Read everything and name each damaged record."),
    "repair": ("repair", "Save what can be read into a new store."),
    "compact": ("compact", "Free the space that removed records left."),
    "rm": ("rm", "Remove records or failures, to compute them again."),
    "export": ("export", "Write shards, or a Hugging Face dataset."),
    "import": ("import_", "Read shards into a new store."),
    "merge": ("merge", "Add the records of other stores to one."),
}

EPILOG = """\b
Examples:
  rjepa-cli store verify runs/qwen
  rjepa-cli store repair runs/qwen runs/qwen-repaired
  rjepa-cli store merge runs/all runs/machine-1 runs/machine-2
  rjepa-cli store export runs/qwen shards
  rjepa-cli store rm runs/qwen --reason "out of memory"
"""


class StoreGroup(click.Group):
    """A group that imports its commands when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _ = COMMANDS[cmd_name]
        loaded: Any = importlib.import_module(f"rjepa_cli.commands.store.{module}").command
        assert isinstance(loaded, click.Command)
        return loaded

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise unknown_command(args[0], COMMANDS, ctx)
        return super().resolve_command(ctx, args)


@click.group("store", cls=StoreGroup, epilog=EPILOG, invoke_without_command=True)
@click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks.")
@click.pass_context
def command(ctx: click.Context) -> None:
    """Look after whole stores: verify, repair, move, merge, prune.

    STORE is a directory (LMDB), or NAME:PLACE for another adapter.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
