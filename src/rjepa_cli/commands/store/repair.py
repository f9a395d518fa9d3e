"""`rjepa-cli store repair`: save what can be read into a new store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import click

from rjepa_core.errors import UsageError
from rjepa_core.plugins import Registry, StorePlace, locate
from rjepa_core.ports.maintenance import RepairReport
from rjepa_core.text import count

from ...completion import stores
from ...console import Screen
from ...help import GroupedCommand
from ...progress import ToolMeter
from ...signals import Interrupts
from .options import DAMAGED, LEAVING, damage_lines, opened, usual_options
from .resume import commands

Facts = dict[str, Any]


@click.command(
    "repair",
    cls=GroupedCommand,
    epilog="""\b
Examples:
  rjepa-cli store repair runs/qwen runs/qwen-repaired

\b
Exit codes: 0 sound, and nothing was lost; 3 damaged.
""",
)
@click.argument("store", metavar="STORE", shell_complete=stores)
@click.argument("target", metavar="TARGET", shell_complete=stores)
@usual_options
def command(store: str, target: str, as_json: bool) -> int:
    """Save every readable record of STORE into the new store TARGET.

    STORE is not changed. What is lost is listed, with the command that computes it again.
    """
    screen = Screen()
    with screen, Interrupts(LEAVING):
        registry = Registry()
        place, new = locate(store, registry), locate(target, registry)
        _same_kind(place, new)
        with ToolMeter(screen) as meter:
            report = place.maintenance().repair(place.place, new.place, meter)
        with opened(new) as repaired:
            again = commands(repaired, target)
    code = 0 if report.sound else DAMAGED
    if as_json:
        screen.json({**_report_facts(report), "compute_again": again, "exit_code": code})
    else:
        screen.result(*_repair_lines(report, again, store, target))
    return code


def _same_kind(place: StorePlace, new: StorePlace) -> None:
    if place.adapter.name != new.adapter.name:
        raise UsageError(
            f"{new.path}: a store of kind {place.adapter.name!r} is repaired into one of its kind, "
            f"not into {new.adapter.name!r}"
        )


def _report_facts(report: RepairReport) -> Facts:
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
            whole += [f"{store} is damaged all the same:", *damage_lines(report.damages)]
        return whole
    lost = len(report.lost) + (report.missing or 0)
    if report.missing is None:
        named = f"{lost:,} lost, and " if lost else ""
        more = "how many more" if lost else "how many are lost"
        lines = [f"{named}{more} is unknown; {saved} saved into {target}"]
    else:
        lines = [f"{lost:,} lost; {saved} saved into {target}"]
    lines += damage_lines([*report.damages, *report.lost])
    if report.missing:
        lines.append(f"  {count(report.missing, 'record')} of which nothing could be read")
    if again:
        lines.append("compute what is lost again, from where the run was started:")
        lines += [f"  {line}" for line in again]
    else:
        lines.append(f"{store} has no run that can be resumed; import or merge the records again")
    return lines
