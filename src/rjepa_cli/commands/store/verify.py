"""`rjepa-cli store verify`: read everything and name each damaged record."""

from __future__ import annotations

from typing import Any

import attrs
import click

from rjepa_core.plugins import locate
from rjepa_core.ports.maintenance import VerifyReport
from rjepa_core.text import count, duration, shell_word

from ...completion import stores
from ...console import Screen
from ...help import GroupedCommand
from ...program import program
from ...progress import ToolMeter
from ...signals import Interrupts
from .options import DAMAGED, LEAVING, damage_lines, usual_options

Facts = dict[str, Any]


@click.command(
    "verify",
    cls=GroupedCommand,
    epilog="""\b
Examples:
  rjepa-cli store verify runs/qwen
  rjepa-cli store verify runs/qwen --json | jq -r '.damages[].name'

\b
Exit codes: 0 sound, 3 damaged.
""",
)
@click.argument("store", metavar="STORE", shell_complete=stores)
@usual_options
def command(store: str, as_json: bool) -> int:
    """Read everything in STORE and name each damaged record.

    Nothing is changed, and a run may keep writing in the meantime.
    """
    screen = Screen()
    with screen, Interrupts(LEAVING):
        place = locate(store)
        with ToolMeter(screen) as meter:
            report = place.maintenance().verify(place.place, meter)
    code = 0 if report.sound else DAMAGED
    if as_json:
        screen.json({"store": store, **_report_facts(report), "exit_code": code})
    else:
        screen.result(*_verify_lines(report, store))
    return code


def _report_facts(report: VerifyReport) -> Facts:
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
        *damage_lines(report.damages),
        *notes,
        f"save what can be read: {program()} store repair {quoted} NEW_STORE",
    ]
