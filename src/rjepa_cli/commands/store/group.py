"""The group of the store commands."""

from __future__ import annotations

import click

from ...lazy_group import LazyGroup

# name: (module, one line for --help).
COMMANDS = {
    "verify": ("rjepa_cli.commands.store.verify", "Read everything and name each damaged record."),
    "repair": ("rjepa_cli.commands.store.repair", "Save what can be read into a new store."),
    "compact": ("rjepa_cli.commands.store.compact", "Free the space that removed records left."),
    "rm": ("rjepa_cli.commands.store.rm", "Remove records or failures, to compute them again."),
    "export": ("rjepa_cli.commands.store.export", "Write shards, or a Hugging Face dataset."),
    "import": ("rjepa_cli.commands.store.import_", "Read shards into a new store."),
    "merge": ("rjepa_cli.commands.store.merge", "Add the records of other stores to one."),
}

EPILOG = """\b
Examples:
  rjepa-cli store verify runs/qwen
  rjepa-cli store repair runs/qwen runs/qwen-repaired
  rjepa-cli store merge runs/all runs/machine-1 runs/machine-2
  rjepa-cli store export runs/qwen shards
  rjepa-cli store rm runs/qwen --reason "out of memory"
"""


class StoreGroup(LazyGroup):
    """The commands for whole stores."""

    table = COMMANDS


@click.group("store", cls=StoreGroup, epilog=EPILOG, invoke_without_command=True)
@click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks.")
@click.pass_context
def command(ctx: click.Context) -> None:
    """Look after whole stores: verify, repair, move, merge, prune.

    STORE is a directory (LMDB), or NAME:PLACE for another adapter.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
