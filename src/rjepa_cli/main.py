"""`rjepa-cli`: finds a command by name and turns whatever ends it into an exit code.

Nothing of the library is imported here before a command is called, so that `--help` stays instant.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Collection, Sequence
from typing import Any, NoReturn

import click

from .errors import Wording
from .streams import LastingStream, take_over

# name: (module, one line for --help). The module holds a click command named `command`.
COMMANDS = {
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

# What knows `--resume`.
RESUMABLE = ("extract", "train")

EPILOG = """\b
Examples:
  rjepa-cli extract --problems demo --model smollm2 --store runs/first
  rjepa-cli extract --problems gsm8k.jsonl --model Qwen/Qwen3-8B-AWQ --store s1 --dry-run
  rjepa-cli show runs/first
  rjepa-cli store verify runs/first
  rjepa-cli train --store runs/first --out runs/world-model
  rjepa-cli doctor

\b
Exit codes: 0 done, 1 could not go on, 2 bad usage or input, 3 done but problems
failed (store: damage was found), 4 stopped by --max-hours, 130 interrupted.
"""


def unknown_command(name: str, known: Collection[str], ctx: click.Context) -> click.UsageError:
    """The error for a command that there is not, with the nearest one that there is."""
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
    return click.UsageError(f"no such command: {name}; {hint}", ctx)


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from rjepa_core import __version__

        click.echo(f"rjepa-cli {__version__}")
        ctx.exit()


class Cli(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(COMMANDS[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise unknown_command(args[0], COMMANDS, ctx)
        return super().resolve_command(ctx, args)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = "rjepa-cli",
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> NoReturn:
        """Run, and leave with an exit code; a mistake is one line on stderr."""
        arguments = list(sys.argv[1:] if args is None else args)
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
        sys.exit(_with_output(code if isinstance(code, int) else 0))


def _with_output(code: int) -> int:
    """The exit code of a command that wrote what it had to say to stdout, or could not."""
    out = sys.stdout
    if not isinstance(out, LastingStream) or not out.lost or out.reader_gone:
        return code
    from rjepa_core.extraction.report import FAILED

    from .errors import say

    if out.given:
        say(f"error: stdout: {out.reason}; what belongs there is not whole")
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
    """Step latents of an LLM's reasoning: extract, store, look, and learn a world model.

    A frozen LLM solves problems step by step; the hidden states of each step, pooled to one vector,
    are kept in a store.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
