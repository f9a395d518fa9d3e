"""`rjepa-cli`: find a command by name, run it, and exit with its exit code.

The library is not imported before a command is called, so that `--help` is instant.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn

import click

from .lazy_group import LazyGroup
from .streams import LastingStream, take_over
from .wording import Wording

# name: (module, one line for --help). The module holds a click command named `command`.
COMMANDS = {
    "demo": ("rjepa_cli.commands.demo", "A tour of a few minutes, on a CPU."),
    "extract": ("rjepa_cli.commands.extract", "Extract step latents from problems into a store."),
    "show": ("rjepa_cli.commands.show", "Show what a store holds, or one of its records."),
    "store": (
        "rjepa_cli.commands.store.group",
        "Look after stores: verify, repair, merge, export and more.",
    ),
    "grade": (
        "rjepa_cli.commands.grade",
        "Compare the answers in a store with the expected ones.",
    ),
    "damage": (
        "rjepa_cli.commands.damage",
        "Make damaged solutions, for a verifier to learn from.",
    ),
    "train": ("rjepa_cli.commands.train", "Train a world model on the latents of stores."),
    "evaluate": (
        "rjepa_cli.commands.evaluate",
        "Compare a trained world model with its baselines.",
    ),
    "score": (
        "rjepa_cli.commands.score",
        "Score each step of stored records or solutions by surprise.",
    ),
    "rank": (
        "rjepa_cli.commands.rank",
        "Order the solutions of each problem, the least surprising first.",
    ),
    "serve": ("rjepa_cli.commands.serve", "Serve a world model over HTTP, with a page to look at."),
    "bench": ("rjepa_cli.commands.bench", "Measure how many rows at a time are fastest here."),
    "plugins": (
        "rjepa_cli.commands.plugins",
        "List the plugins: adapters, versions, what failed and why.",
    ),
    "doctor": (
        "rjepa_cli.commands.doctor",
        "Show versions, devices and memory: what would run here.",
    ),
}

TITLES = {
    "Make latents": ("extract", "show", "store", "grade"),
    "Learn from them": ("damage", "train", "evaluate"),
    "Use what was learned": ("score", "rank", "serve"),
    "This installation": ("demo", "bench", "plugins", "doctor"),
}

# The shell's request for what a word could become, as click names it.
COMPLETION = "_RJEPA_CLI_COMPLETE"

# Commands that have `--resume`.
RESUMABLE = ("extract", "train")

EPILOG = """\b
Examples:
  rjepa-cli demo
  rjepa-cli extract --problems demo --model smollm2 --store runs/first
  rjepa-cli extract --problems a.jsonl --model smollm2 --store s1 --dry-run
  rjepa-cli show runs/first
  rjepa-cli store verify runs/first
  rjepa-cli train --store runs/first --out runs/world-model
  rjepa-cli doctor

\b
Exit codes: 0 done, 1 could not continue, 2 bad usage or input, 3 done but
problems failed (store: damage was found), 4 stopped by --max-hours,
130 interrupted.

\b
Completion of commands, options, stores, ids and models with Tab:
  eval "$(_RJEPA_CLI_COMPLETE=bash_source rjepa-cli)"
(zsh_source and fish_source for these; in the shell's own start-up file.)
"""


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from rjepa_core import __version__

        click.echo(f"rjepa-cli {__version__}")
        ctx.exit()


class Cli(LazyGroup):
    """All commands; whatever ends one becomes an exit code."""

    table = COMMANDS
    titles = TITLES

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = "rjepa-cli",
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> NoReturn:
        """Run a command and exit with its exit code; an error is one line on stderr."""
        arguments = list(sys.argv[1:] if args is None else args)
        if COMPLETION in os.environ:
            # Whatever goes wrong must not be written between the words of a command.
            with suppress(Exception):
                super().main(arguments, prog_name, COMPLETION, obj=Wording())
            sys.exit(1)
        take_over()
        wording = Wording()
        try:
            code = super().main(
                arguments, prog_name, complete_var, standalone_mode=False, obj=wording, **extra
            )
        except BaseException as error:
            from .errors import exit_code

            called = next((word for word in arguments if not word.startswith("-")), "")
            code = exit_code(error, wording, "--debug" in arguments, called in RESUMABLE)
        if args is None and threading.current_thread() is threading.main_thread():
            # All is done and said; an interrupt has nothing left to break off but the exit itself.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        sys.exit(_checked_output(code if isinstance(code, int) else 0))


def _checked_output(code: int) -> int:
    """Return the exit code of a command, after reporting output that stdout did not take."""
    out = sys.stdout
    if not isinstance(out, LastingStream) or not out.lost or out.reader_gone:
        return code
    from rjepa_core.extraction.report import FAILED

    from .errors import say

    if out.given:
        say(f"stdout: {out.reason}; what belongs there is not whole", head="error: ")
        return code or FAILED
    say("warning: stdout is closed; what belongs there is lost")
    return code


@click.group(
    "rjepa-cli",
    cls=Cli,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show the version and exit.",
)
@click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks.")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Extract step latents of an LLM's reasoning, and learn a world model from them.

    A frozen LLM solves problems step by step; the hidden states of each step, pooled to one vector,
    are kept in a store.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
