"""`rjepa-cli store verify`, `repair`, `compact` and `rm`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import attrs
import click

from rjepa_core.errors import UsageError
from rjepa_core.plugins import Registry, StorePlace, locate
from rjepa_core.ports.maintenance import Damage, RepairReport, VerifyReport
from rjepa_core.stores import Selection, select
from rjepa_core.text import count, duration, shell_word, size, visible

from ...console import Screen
from ...errors import InterruptedRunError
from ...progress import ToolMeter
from ...signals import Interrupts
from .options import DAMAGED, LEAVING, opened, usual_options
from .resume import commands

_DAMAGES_SHOWN = 50
Facts = dict[str, Any]


@click.command(
    "verify",
    epilog="""\b
Examples:
  rjepa-cli store verify runs/qwen
  rjepa-cli store verify runs/qwen --json | jq -r '.damages[].name'

\b
Exit codes: 0 sound, 3 damaged.
""",
)
@click.argument("store", metavar="STORE")
@usual_options
def verify(store: str, as_json: bool) -> int:
    """Read everything in STORE and name each damaged record.

    Nothing is changed; a run may go on writing meanwhile.
    """
    screen = Screen()
    with screen, Interrupts(LEAVING):
        place = locate(store)
        with ToolMeter(screen) as meter:
            report = place.maintenance().verify(place.place, meter)
    code = 0 if report.sound else DAMAGED
    if as_json:
        screen.json({"store": store, **_verified(report), "exit_code": code})
    else:
        screen.result(*_verify_lines(report, store))
    return code


def _verified(report: VerifyReport) -> Facts:
    return {
        "sound": report.sound,
        "records": report.records,
        "failures": report.failures,
        "damages": [attrs.asdict(damage) for damage in report.damages],
        "notes": list(report.notes),
        "seconds": round(report.seconds, 3),
    }


def _verify_lines(report: VerifyReport, store: str) -> list[str]:
    held = f"{count(report.records, 'record')} and {count(report.failures, 'failure')}"
    took = f"in {duration(report.seconds)}"
    notes = [f"note: {note}" for note in report.notes]
    if report.sound:
        return [f"sound: {held} in {store}, read {took}", *notes]
    quoted = shell_word(store)
    return [
        f"damaged: {count(len(report.damages), 'damage')} in {store}; {held} sound, read {took}",
        *_damage_lines(report.damages),
        *notes,
        f"save what can be read: rjepa-cli store repair {quoted} NEW_STORE",
    ]


def _damage_lines(damages: Sequence[Damage]) -> list[str]:
    lines = [f"  {damage}" for damage in damages[:_DAMAGES_SHOWN]]
    if len(damages) > _DAMAGES_SHOWN:
        lines.append(f"  … and {len(damages) - _DAMAGES_SHOWN:,} more; --json lists all")
    return lines


@click.command(
    "repair",
    epilog="""\b
Examples:
  rjepa-cli store repair runs/qwen runs/qwen-mended

\b
Exit codes: 0 sound, and nothing was lost; 3 damaged.
""",
)
@click.argument("store", metavar="STORE")
@click.argument("target", metavar="TARGET")
@usual_options
def repair(store: str, target: str, as_json: bool) -> int:
    """Save every readable record of STORE into the new store TARGET.

    STORE is not touched. What is lost is listed, with the command that computes it again.
    """
    screen = Screen()
    with screen, Interrupts(LEAVING):
        registry = Registry()
        place, new = locate(store, registry), locate(target, registry)
        _same_kind(place, new)
        with ToolMeter(screen) as meter:
            report = place.maintenance().repair(place.place, new.place, meter)
        with opened(new) as mended:
            again = commands(mended, target)
    code = 0 if report.sound else DAMAGED
    if as_json:
        screen.json({**_repaired(report), "compute_again": again, "exit_code": code})
    else:
        screen.result(*_repair_lines(report, again, store, target))
    return code


def _same_kind(place: StorePlace, new: StorePlace) -> None:
    if place.adapter.name != new.adapter.name:
        raise UsageError(
            f"{new.path}: a store of kind {place.adapter.name!r} is repaired into one of its kind, "
            f"not into {new.adapter.name!r}"
        )


def _repaired(report: RepairReport) -> Facts:
    return {
        "store": report.location,
        "target": report.target,
        "records": report.records,
        "failures": report.failures,
        "lost": [attrs.asdict(damage) for damage in report.lost],
        "missing": report.missing,
        "damages": [attrs.asdict(damage) for damage in report.damages],
    }


def _repair_lines(report: RepairReport, again: Sequence[str], store: str, target: str) -> list[str]:
    saved = f"{count(report.records, 'record')} and {count(report.failures, 'failure')}"
    if not report.lost and report.missing == 0:
        whole = [f"nothing lost: {saved} saved into {target}"]
        if report.damages:
            whole += [f"{store} is damaged all the same:", *_damage_lines(report.damages)]
        return whole
    lost = len(report.lost) + (report.missing or 0)
    if report.missing is None:
        named = f"{lost:,} lost, and " if lost else ""
        more = "how many more" if lost else "how many are lost"
        lines = [f"{named}{more} is unknown; {saved} saved into {target}"]
    else:
        lines = [f"{lost:,} lost; {saved} saved into {target}"]
    lines += _damage_lines([*report.damages, *report.lost])
    if report.missing:
        lines.append(f"  {count(report.missing, 'record')} of which nothing could be read")
    if again:
        lines.append("compute what is lost again, from where the run was started:")
        lines += [f"  {line}" for line in again]
    else:
        lines.append(f"{store} tells of no run that could be resumed; bring the records again")
    return lines


@click.command(
    "compact",
    epilog="""\b
Examples:
  rjepa-cli store compact runs/qwen
""",
)
@click.argument("store", metavar="STORE")
@usual_options
def compact(store: str, as_json: bool) -> int:
    """Rewrite STORE without the room that removed and replaced records left.

    It takes as much room again while it works, and nobody else may have the store open.
    """
    screen = Screen()
    with screen, Interrupts(LEAVING) as interrupts:
        place = locate(store)
        maintenance = place.maintenance()
        place.require()
        with ToolMeter(screen, interrupts) as meter, interrupts.holding():
            saved = maintenance.compact(place.place, meter)
        with opened(place) as after:
            stats = after.stats()
    if as_json:
        screen.json({"store": store, "bytes_saved": saved, "bytes": stats.bytes_on_disk})
    else:
        screen.result(
            f"compacted: {store} takes {size(stats.bytes_on_disk)}, {size(max(0, saved))} less; "
            f"{count(stats.records, 'record')}"
        )
    return 0


@click.command(
    "rm",
    epilog="""\b
Examples:
  rjepa-cli store rm runs/qwen gsm8k-17 gsm8k-18      (all samples of two problems)
  rjepa-cli store rm runs/qwen gsm8k-17#2             (its sample 2 alone)
  rjepa-cli store rm runs/qwen --reason "out of memory" --yes
  rjepa-cli show runs/qwen --failures                 (the reasons that there are)
""",
)
@click.argument("store", metavar="STORE")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option(
    "--reason",
    "reasons",
    multiple=True,
    metavar="REASON",
    help="Remove the failures of this reason. Repeatable.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@usual_options
def remove(
    store: str, ids: tuple[str, ...], reasons: tuple[str, ...], yes: bool, as_json: bool
) -> int:
    """Remove records and failures, so that a run with --resume does them again."""
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
    """Go on only if someone says so."""
    if not (screen.terminal and sys.stdin is not None and sys.stdin.isatty()):
        raise UsageError(f"{question} There is no terminal to ask on; say --yes")
    screen.err.write(visible(f"{question} [y/N] "))
    screen.err.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise InterruptedRunError("nothing was removed")
