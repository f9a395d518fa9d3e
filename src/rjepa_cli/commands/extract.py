"""`rjepa-cli extract`: problems in, stored step latents out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from rjepa_core.extraction import Extraction, open_extraction, report, resolve_extraction
from rjepa_core.extraction.report import DONE, PROBLEMS_FAILED, STOPPED, exit_code, too_many_failed
from rjepa_core.grading import (
    DEFAULT_GRADER,
    GradeSummary,
    grade,
    open_grader,
    require_grades,
    summarise,
    summary_facts,
    summary_lines,
)
from rjepa_core.plugins import (
    Registry,
)
from rjepa_core.ports.executor import Progress
from rjepa_core.ports.grader import Grader
from rjepa_core.ports.store import LatentStore
from rjepa_core.settings import ExtractionSettings, StoreSettings
from rjepa_core.text import count, duration, shell_word

from ..adapter_flags import Chosen, ExtractCommand
from ..completion import files
from ..config import DEBUG, FIELD, JSON, PRINT_CONFIG, config_options, gather, to_yaml
from ..console import Screen
from ..errors import InterruptedRunError, resume_command
from ..options import FLAGS
from ..program import program
from ..progress import ProgressReport, ToolMeter
from ..signals import Interrupts
from ..wording import wording

OTHER_OPTIONS = (
    FIELD,
    click.Option(
        ["--prompt-template"],
        multiple=True,
        metavar="[DOMAIN=]FILE",
        help="Text with {statement} once in it; without DOMAIN for every domain that has no "
        "template of its own (code has one). Repeatable",
        shell_complete=files,
    ),
    *config_options("Any setting, an adapter's too: backend.my_option=3"),
    click.Option(
        ["--dry-run"],
        is_flag=True,
        help="Try one batch and estimate the run's time and disk space; store nothing",
    ),
    click.Option(
        ["--grade"],
        is_flag=False,
        flag_value=DEFAULT_GRADER,
        metavar="[NAME]",
        help="Grade the answers at the end, as `rjepa-cli grade` does  "
        f"[NAME where none is given: {DEFAULT_GRADER}]",
    ),
    PRINT_CONFIG,
    JSON,
    DEBUG,
)
_GROUPS = {
    "Problems": ["--field"],
    "Prompt": ["--prompt-template"],
    "Run": ["--dry-run", "--grade"],
}
EPILOG = """\b
Examples:
  rjepa-cli extract --problems demo --model smollm2 --store runs/demo
  rjepa-cli extract --problems gsm8k.jsonl --problems math.jsonl \\
      --model Qwen/Qwen3-8B-AWQ --store runs/qwen --batch-size 8 --resume
  rjepa-cli extract --traces given.jsonl --model smollm2 --store runs/given
  rjepa-cli extract --traces runs/given --layer -2 --layer -8 \\
      --model smollm2 --store runs/two-layers
  rjepa-cli extract --config run.yaml --set scheduler.batch_size=16 --dry-run
  rjepa-cli extract --problems gsm8k.jsonl --samples 8 --temperature 0.7 \\
      --model Qwen/Qwen3-8B-AWQ --store runs/samples --grade
  rjepa-cli extract --backend seeded --help     (the flags of another adapter)
"""


@click.command(
    "extract",
    cls=ExtractCommand,
    groups=_GROUPS,
    params=[*(flag.option() for flag in FLAGS), *OTHER_OPTIONS],
    epilog=EPILOG,
)
@click.pass_context
def command(ctx: click.Context, /, **params: Any) -> int:
    """Extract step latents from problems into a store.

    The LLM solves each problem, or reads the solutions given with --traces; each step becomes one
    vector, and records are stored as they are finished. Ctrl-C keeps what is finished; --resume
    continues.
    """
    chosen = ctx.find_object(Chosen)
    assert chosen is not None
    tree = gather(ctx, ExtractionSettings, [*FLAGS, *chosen.flags])
    wording(ctx).learn({"name another place": "--store", "a smaller batch size": "--batch-size"})
    settings, plain = resolve_extraction(tree, chosen.registry)
    if params["print_config"]:
        if params["json"]:
            Screen(only_output=True).json(plain)
        else:
            click.echo(to_yaml(plain).rstrip())
        return 0
    screen = Screen()
    if params["dry_run"]:
        return try_out(settings, chosen.registry, screen, params["json"])
    return run(settings, chosen.registry, screen, chosen.arguments, params["json"], params["grade"])


def run(
    settings: ExtractionSettings,
    registry: Registry,
    screen: Screen,
    arguments: Sequence[str],
    as_json: bool,
    grader_name: str | None = None,
) -> int:
    """Do what the store lacks and return the exit code."""
    with screen, Interrupts() as interrupts, _grader(grader_name, registry) as grader:
        try:
            with (
                open_extraction(settings, registry, screen.busy) as it,
                screen.noted(it.store.add_history),
            ):
                planned = _show_plan(it, settings, screen)
                if grader is not None:
                    require_grades(it.store)
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
                grades = _graded(it.store, grader, screen, interrupts)
                if as_json:
                    graded = {} if grades is None else {"grades": summary_facts(grades)}
                    screen.json({**facts, **graded, "plan": planned})
                else:
                    lines = report.outcome_lines(facts, planned, settings.store)
                    lines = [wording().replaced(line) for line in lines]
                    lines += [] if grades is None else summary_lines(grades)
                    screen.result(*lines, _look(settings.store))
        except KeyboardInterrupt:
            hint = f"; continue with: {resume_command(arguments)}"
            raise InterruptedRunError(
                "interrupted" + ("" if report.in_memory(settings.store) else hint)
            ) from None
    if code == STOPPED and not report.in_memory(settings.store):
        screen.say(f"continue with: {resume_command(arguments)}")
    if code == PROBLEMS_FAILED:
        see = (
            "" if report.in_memory(settings.store) else f"; see: {_show(settings.store)} --failures"
        )
        screen.say(wording()(too_many_failed(summary, settings)) + see)
    return code


@contextmanager
def _grader(name: str | None, registry: Registry) -> Iterator[Grader | None]:
    """The grader of that name, opened before hours are spent; None where none is asked for."""
    if name is None:
        yield None
        return
    grader = open_grader(name, registry)
    try:
        yield grader
    finally:
        grader.close()


def _graded(
    store: LatentStore, grader: Grader | None, screen: Screen, interrupts: Interrupts
) -> GradeSummary | None:
    """What the grades of the store come to, once what has none is graded."""
    if grader is None:
        return None
    with ToolMeter(screen, interrupts, len(store)) as meter, interrupts.holding():
        grade(store, grader, report=meter, computing=interrupts.computing)
    return summarise(store)


def try_out(settings: ExtractionSettings, registry: Registry, screen: Screen, as_json: bool) -> int:
    """Run one batch without storing it, and show what the whole run would take (`--dry-run`)."""
    latest = Progress()

    def seen(progress: Progress) -> None:
        nonlocal latest
        latest = progress

    with (
        screen,
        Interrupts("a dry run stores nothing"),
        open_extraction(settings, registry, screen.busy, dry=True) as it,
    ):
        planned = _show_plan(it, settings, screen)
        if it.trial_rows:
            screen.busy(f"measuring one batch of {_batch(it)}")
        began = time.monotonic()
        try:
            trial = it.trial(seen)
        except KeyboardInterrupt:
            so_far = f"{latest.records + latest.failures:,} of {count(it.trial_rows, 'row')}"
            raise InterruptedRunError(
                f"interrupted after {duration(time.monotonic() - began)} of measuring: {so_far} "
                f"done, {count(latest.new_tokens or latest.tokens, 'token')}; nothing was stored"
            ) from None
        facts = report.forecast(it, trial)
        for line in report.room_warnings(facts):
            screen.warn(line)
    if as_json:
        screen.json({"ending": "dry run", **facts, "plan": planned})
    else:
        screen.result(*report.forecast_lines(facts))
    return DONE


def _batch(it: Extraction) -> str:
    if it.settings.problems.traces:
        return count(it.trial_rows, "given solution")
    longest = count(it.settings.sampling.max_new_tokens, "token")
    return f"{count(it.trial_rows, 'row')} (up to {longest} each)"


def _look(store: StoreSettings) -> str:
    if report.in_memory(store):
        return "the store was in memory and ends with this command; to keep one, name a directory"
    return f"look at it: {_show(store)}"


def _show(store: StoreSettings) -> str:
    return f"{program()} show {shell_word(store.path)}"


def _show_plan(it: Extraction, settings: ExtractionSettings, screen: Screen) -> report.Facts:
    planned = report.plan(it)
    for line in report.plan_lines(planned):
        screen.say(line)
    for line in report.warnings_of(it, settings):
        screen.warn(line)
    return planned
