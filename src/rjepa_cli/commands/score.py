"""`rjepa-cli score`: surprise and verdict of each step, of stored records or a file's solutions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from rjepa_core.domain.trace import Failure
from rjepa_core.errors import UsageError
from rjepa_core.plugins import Registry
from rjepa_core.scoring import ScoredTrace, score_all, whole
from rjepa_core.text import count

from ..completion import files, traces
from ..console import Screen, short_name
from ..help import GroupedCommand
from ..out_folder import NewFile
from ..scoring_options import (
    DONE,
    DROPPING,
    GROUPS,
    OTHER_OPTIONS,
    SCORE_FLAGS,
    SOME_FAILED,
    failed_facts,
    read_settings,
    rows_to,
    solution_facts,
    step_facts,
)
from ..signals import Interrupts
from ..views.solution import WIDTH, picture, wrapped

PLOTTED = 40
PLOT = click.Option(
    ["--plot"],
    metavar="FILE.svg",
    help=f"Draw the steps of the first {PLOTTED} solutions",
    shell_complete=files,
)
EPILOG = """\b
Examples:
  rjepa-cli score runs/gsm8k --world-model runs/wm --limit 10
  rjepa-cli score given.jsonl --world-model runs/wm --model smollm2 \\
      --plot steps.svg
  rjepa-cli score runs/gsm8k --world-model runs/verifier  (and wrong steps)
  rjepa-cli score runs/gsm8k --world-model http://127.0.0.1:8100 --out s.jsonl

\b
hf:USER/NAME stands for a store, or a world model, on the Hugging Face Hub.
"""


@click.command(
    "score",
    cls=GroupedCommand,
    groups=GROUPS,
    params=[
        click.Argument(["file"], shell_complete=traces),
        *(flag.option() for flag in SCORE_FLAGS),
        PLOT,
        *OTHER_OPTIONS,
    ],
    epilog=EPILOG,
)
@click.pass_context
def command(ctx: click.Context, /, file: str, plot: str | None, **params: Any) -> int:
    """Score each step in FILE by surprise: a store, or solutions as JSON Lines, CSV, ….

    On a terminal each solution is drawn as text, a bar for each step. Piped, or with --out, it is
    one JSON object per solution and line: its mean and largest surprise, its worst step
    (from 0), and for each step its text, its surprise and the percentage of validation steps with
    less surprise. With a verifier also the probability that the answer is `right`, and of each step
    that it is `wrong`.
    """
    settings = read_settings(ctx, SCORE_FLAGS, file)
    screen = Screen(only_output=True)
    drawn: list[ScoredTrace] = []
    gathered: list[dict[str, Any]] | None = [] if params["json"] else None
    out = params["out"]
    width = screen.width if out is None and gathered is None else None
    succeeded = failed = 0
    if plot is not None:
        _check_plot(plot)
    with screen, Interrupts(DROPPING):
        scored = score_all(settings, Registry(), screen.busy)
        with rows_to(out, screen.out, gathered) as put:
            for item in scored:
                if width is not None:
                    screen.result(*_shown(item, min(width, WIDTH)))
                if isinstance(item, Failure):
                    failed += 1
                    if width is None:
                        put(failed_facts(item))
                else:
                    succeeded += 1
                    if plot is not None and len(drawn) < PLOTTED:
                        drawn.append(item)
                    if width is None:
                        put(solution_facts(item) | {"steps": step_facts(item)})
                drawing = plot is not None and len(drawn) < PLOTTED
                if out is None and screen.out.lost and not drawing:
                    # There is no reader for the rest.
                    break
        if plot is not None:
            _draw(plot, drawn)
    if gathered is not None:
        rows = {"out": out} if out is not None else {"solutions": gathered}
        screen.json({"scored": succeeded, "failed": failed, **rows})
    if not screen.out.lost:
        screen.say(
            f"{count(succeeded, 'solution')} scored"
            + (f", {failed:,} could not be" if failed else "")
        )
    return SOME_FAILED if failed else DONE


def _shown(item: ScoredTrace | Failure, width: int) -> Iterator[str]:
    """Yield what a terminal shows of one solution."""
    if isinstance(item, Failure):
        why = f"{item.key}: could not be scored: {item.reason}"
        yield from wrapped(f"{why}; {item.detail}" if item.detail else why, width)
    else:
        yield f"{short_name(item.trace.key)}  surprise {whole(item.surprise):.3g}"
        yield from picture(item, width)
    yield ""


def _check_plot(plot: str) -> None:
    place = Path(plot)
    if place.suffix.lower() != ".svg":
        raise UsageError(f"--plot {plot}: an SVG picture is drawn; name it FILE.svg")
    if place.exists():
        raise UsageError(f"--plot {plot}: already exists; name another file")
    if not place.parent.is_dir():
        raise UsageError(f"--plot {plot}: there is no folder {place.parent}")


def _draw(plot: str, drawn: list[ScoredTrace]) -> None:
    from rjepa_adapters.reports.solutions import picture

    with NewFile(Path(plot), f"--plot {plot}") as file:
        file.write(picture(drawn))
