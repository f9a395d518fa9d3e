"""`rjepa-cli score`: the surprise of each step of stored records, or of solutions in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from rjepa_core.domain.trace import Failure
from rjepa_core.errors import UsageError
from rjepa_core.plugins import Registry
from rjepa_core.scoring import ScoredTrace, score_all
from rjepa_core.text import count

from ..console import Screen
from ..out_folder import NewFile
from ..scoring_options import (
    DONE,
    DROPPING,
    OTHER_OPTIONS,
    SCORE_FLAGS,
    SOME_FAILED,
    as_line,
    failed_facts,
    lines_to,
    read_settings,
    solution_facts,
    step_facts,
)
from ..signals import Interrupts

PLOTTED = 40
PLOT = click.Option(
    ["--plot"], metavar="FILE.svg", help=f"Draw the steps of the first {PLOTTED} solutions"
)
EPILOG = """\b
Examples:
  rjepa-cli score runs/gsm8k --world-model runs/wm --limit 10
  rjepa-cli score solutions.jsonl --world-model runs/wm --model smollm2 --plot steps.svg
  rjepa-cli score runs/gsm8k --world-model http://127.0.0.1:8100 --out scores.jsonl
"""


@click.command(
    "score",
    params=[
        click.Argument(["file"]),
        *(flag.option() for flag in SCORE_FLAGS),
        PLOT,
        *OTHER_OPTIONS,
    ],
    epilog=EPILOG,
)
@click.pass_context
def command(ctx: click.Context, /, file: str, plot: str | None, **params: Any) -> int:
    """Surprise of each step of what FILE holds: a store, or solutions as JSON Lines, CSV, ….

    One JSON object per solution, on one line: its mean and largest surprise, its worst step (from
    0), and of each step its text, its surprise and what share of validation's steps surprised less.
    """
    settings = read_settings(ctx, SCORE_FLAGS, file)
    screen = Screen(only_output=True)
    drawn: list[ScoredTrace] = []
    good = failed = 0
    if plot is not None:
        _check_plot(plot)
    with screen, Interrupts(DROPPING):
        found = score_all(settings, Registry(), lambda text: screen.say(f"{text} …"))
        with lines_to(params["out"], screen.out) as lines:
            for one in found:
                if isinstance(one, Failure):
                    failed += 1
                    lines.line(as_line(failed_facts(one)))
                else:
                    good += 1
                    if plot is not None and len(drawn) < PLOTTED:
                        drawn.append(one)
                    lines.line(as_line(solution_facts(one) | {"steps": step_facts(one)}))
                drawing = plot is not None and len(drawn) < PLOTTED
                if lines is screen.out and screen.out.lost and not drawing:
                    # Nobody takes the others.
                    break
        if plot is not None:
            _draw(plot, drawn)
    if not screen.out.lost:
        screen.say(
            f"{count(good, 'solution')} scored" + (f", {failed:,} could not be" if failed else "")
        )
    return SOME_FAILED if failed else DONE


def _check_plot(plot: str) -> None:
    place = Path(plot)
    if place.suffix.lower() != ".svg":
        raise UsageError(f"--plot {plot}: an SVG picture is drawn; name it FILE.svg")
    if place.exists():
        raise UsageError(f"--plot {plot}: is there already; name another file")
    if not place.parent.is_dir():
        raise UsageError(f"--plot {plot}: there is no folder {place.parent}")


def _draw(plot: str, drawn: list[ScoredTrace]) -> None:
    from rjepa_adapters.reports.solutions import picture

    with NewFile(Path(plot), f"--plot {plot}") as file:
        file.write(picture(drawn))
