"""`rjepa-cli store rm`: remove records and failures, to compute them again."""

from __future__ import annotations

import sys

import click

from rjepa_core.errors import UsageError
from rjepa_core.plugins import locate
from rjepa_core.stores import Selection, select
from rjepa_core.text import count, visible

from ... import completion
from ...console import Screen
from ...errors import InterruptedRunError
from ...help import GroupedCommand
from ...signals import Interrupts
from .options import LEAVING, opened, usual_options
from .resume import commands


@click.command(
    "rm",
    cls=GroupedCommand,
    groups={"What is removed": ["--reason", "--yes"]},
    epilog="""\b
Examples:
  rjepa-cli store rm runs/qwen gsm8k-17 gsm8k-18 (all samples of two problems)
  rjepa-cli store rm runs/qwen gsm8k-17#2        (its sample 2 alone)
  rjepa-cli store rm runs/qwen --reason "out of memory" --yes
  rjepa-cli show runs/qwen --failures            (the reasons in the store)
""",
)
@click.argument("store", metavar="STORE", shell_complete=completion.stores)
@click.argument("ids", metavar="[ID]...", nargs=-1, shell_complete=completion.ids)
@click.option(
    "--reason",
    "reasons",
    multiple=True,
    metavar="REASON",
    help="Remove the failures of this reason. Repeatable.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@usual_options
def command(
    store: str, ids: tuple[str, ...], reasons: tuple[str, ...], yes: bool, as_json: bool
) -> int:
    """Remove records and failures, so that a run with --resume computes them again."""
    screen = Screen()
    with screen, Interrupts(LEAVING) as interrupts:
        place = locate(store)
        place.require()
        with opened(place, "write") as target, screen.noted(target.add_history):
            chosen = select(target, ids, reasons)
            what = _counted(chosen)
            if not yes:
                _ask(f"remove {what} from {store}?", screen)
            with interrupts.holding():
                removed = target.delete(chosen.keys)
                target.add_history({"kind": "rm", "removed": removed, "reasons": list(reasons)})
            again = commands(target, store)
    if as_json:
        screen.json(
            {
                "store": store,
                "removed": removed,
                "records": list(map(str, chosen.records)),
                "failures": list(map(str, chosen.failures)),
                "compute_again": again,
            }
        )
    else:
        lines = [f"removed {what} from {store}"]
        lines += [f"compute again: {line}" for line in again]
        screen.result(*lines)
    return 0


def _counted(chosen: Selection) -> str:
    parts = [(chosen.records, "record"), (chosen.failures, "failure")]
    return " and ".join(count(len(keys), noun) for keys, noun in parts if keys)


def _ask(question: str, screen: Screen) -> None:
    """Return only if the user agrees."""
    if not (screen.terminal and sys.stdin is not None and sys.stdin.isatty()):
        raise UsageError(f"{question} There is no terminal to ask on; add --yes")
    screen.err.write(visible(f"{question} [y/N] "))
    screen.err.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise InterruptedRunError("nothing was removed")
