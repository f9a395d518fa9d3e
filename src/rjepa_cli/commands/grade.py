"""`rjepa-cli grade`: whether the answers in a store are right."""

from __future__ import annotations

from typing import Any

import click

from rjepa_core.config import structure
from rjepa_core.grading import (
    GradeSettings,
    grade,
    open_grader,
    require_grades,
    summarise,
    summary_facts,
    summary_lines,
)
from rjepa_core.plugins import Registry, locate
from rjepa_core.settings import AdapterSettings
from rjepa_core.text import count, shell_word

from ..completion import stores
from ..config import CONFIG_OPTIONS, JSON, gather
from ..console import Screen
from ..errors import InterruptedRunError
from ..help import GroupedCommand
from ..options import Flag
from ..program import program
from ..progress import ToolMeter
from ..signals import Interrupts
from .store.options import opened

GRADE_FLAGS = (
    Flag(
        "--grader",
        "grader.name",
        AdapterSettings,
        metavar="[math|exact|NAME]",
        extra="[default: math]",
    ),
)
AGAIN = click.Option(["--again"], is_flag=True, help="Grade all of it anew")
OTHER_OPTIONS = (AGAIN, JSON, *CONFIG_OPTIONS)

_GROUPS = {
    "Grades": ["--grader", "--again"],
}
EPILOG = """\b
Examples:
  rjepa-cli grade runs/qwen
  rjepa-cli grade runs/qwen --grader exact
  rjepa-cli grade runs/qwen --set grader.seconds=10 --again
  rjepa-cli grade runs/qwen --json | jq .accuracy

\b
Exit codes: 0 graded, whatever the grades; 130 interrupted: the same command
goes on.
"""


@click.command(
    "grade",
    cls=GroupedCommand,
    groups=_GROUPS,
    params=[
        click.Argument(["store"], metavar="STORE", shell_complete=stores),
        *(flag.option() for flag in GRADE_FLAGS),
        *OTHER_OPTIONS,
    ],
    epilog=EPILOG,
)
@click.pass_context
def command(ctx: click.Context, /, store: str, **params: Any) -> int:
    """Compare the answers in STORE with the expected ones, and keep the grades beside the records.

    What has a grade of the same grader and version is left as it is. What cannot be graded is
    ungraded by name: code is not run, and a problem may have no expected answer.
    """
    settings = structure(GradeSettings, gather(ctx, GradeSettings, GRADE_FLAGS))
    screen = Screen()
    with screen, Interrupts() as interrupts:
        registry = Registry()
        place = locate(store, registry)
        place.require()
        grader = open_grader(settings, registry)
        try:
            with opened(place, "write") as target, screen.noted(target.add_history):
                require_grades(target)
                try:
                    with (
                        ToolMeter(screen, interrupts, len(target)) as meter,
                        interrupts.holding(),
                    ):
                        done = grade(
                            target,
                            grader,
                            again=params["again"],
                            report=meter,
                            computing=interrupts.computing,
                        )
                except KeyboardInterrupt:
                    target.commit()
                    raise InterruptedRunError(
                        "interrupted; what was graded is kept, and the same command goes on"
                    ) from None
                summary = summarise(target)
        finally:
            grader.close()
    if params["json"]:
        facts = summary_facts(summary) if summary is not None else {}
        screen.json({"store": store, "graded": done.graded, "kept": done.kept, **facts})
        return 0
    kept = f", {done.kept:,} had their grades" if done.kept else ""
    lines = [f"graded: {count(done.graded, 'record')} of {store} by {done.grader}{kept}"]
    lines += summary_lines(summary) if summary is not None else []
    screen.result(*lines, f"look at it: {program()} show {shell_word(store)}")
    return 0
