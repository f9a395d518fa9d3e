"""Run an extraction, or try it, with everything that the command line shows around it."""

from __future__ import annotations

from collections.abc import Sequence

from rjepa_core import run_report as report
from rjepa_core.endings import DONE, PROBLEMS_FAILED, STOPPED, exit_code, too_many_failed
from rjepa_core.plugins import Registry
from rjepa_core.runner import Extraction, open_extraction
from rjepa_core.settings import ExtractionSettings
from rjepa_core.showing import command_line

from .failing import InterruptedRunError
from .interrupts import Interrupts
from .progress import ProgressReport
from .screen import Screen


def run(
    settings: ExtractionSettings,
    registry: Registry,
    screen: Screen,
    arguments: Sequence[str],
    as_json: bool,
) -> int:
    """Do what the store lacks; the exit code."""
    with screen, Interrupts() as interrupts:
        try:
            with (
                open_extraction(settings, registry, lambda text: screen.say(f"{text} …")) as it,
                screen.noted(it.store.add_history),
            ):
                planned = _show_plan(it, settings, screen)
                with (
                    ProgressReport(screen, it.before.missing) as progress,
                    interrupts.holding(),
                ):
                    try:
                        summary = it.run(
                            progress, interrupts.check, interrupts.computing, progress.decided
                        )
                    except KeyboardInterrupt:
                        facts = report.progress_facts(progress.latest, progress.seconds)
                        if as_json:
                            screen.json({"ending": "interrupted", **facts, "plan": planned})
                        raise
                code = exit_code(summary, settings.run.allow_failures)
                facts = report.outcome(summary, code)
                if as_json:
                    screen.json({**facts, "plan": planned})
                else:
                    screen.result("\n".join(report.outcome_lines(facts, planned, settings.store)))
        except KeyboardInterrupt:
            again = f"; go on with: {resume_command(arguments)}"
            raise InterruptedRunError(
                "interrupted" + ("" if report.in_memory(settings.store) else again)
            ) from None
    if code == STOPPED and not report.in_memory(settings.store):
        screen.say(f"go on with: {resume_command(arguments)}")
    if code == PROBLEMS_FAILED:
        screen.say(too_many_failed(summary, settings))
    return code


def try_out(settings: ExtractionSettings, registry: Registry, screen: Screen, as_json: bool) -> int:
    """`--dry-run`: one batch that is not stored, and what the whole would take."""
    with (
        screen,
        open_extraction(settings, registry, lambda text: screen.say(f"{text} …"), dry=True) as it,
    ):
        planned = _show_plan(it, settings, screen)
        facts = report.forecast(it, it.trial())
        for line in report.room_warnings(facts):
            screen.warn(line)
    if as_json:
        screen.json({"ending": "dry run", **facts, "plan": planned})
    else:
        screen.result("\n".join(report.forecast_lines(facts)))
    return DONE


def resume_command(arguments: Sequence[str], command: str = "extract") -> str:
    """The command that goes on where this one stopped, ready to be pasted."""
    words = ["rjepa-cli", command, *arguments]
    return command_line(words if "--resume" in words else [*words, "--resume"])


def _show_plan(it: Extraction, settings: ExtractionSettings, screen: Screen) -> report.Facts:
    planned = report.plan(it)
    for line in report.plan_lines(planned):
        screen.say(line)
    for line in report.warnings_of(it, settings):
        screen.warn(line)
    return planned
