"""The use cases as Prefect tasks. One that is tried again goes on with what the last try kept."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import attrs
from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.runtime import flow_run, task_run

from rjepa_core import ExtractionSettings, Registry, TrainSettings
from rjepa_core.errors import ProblemsFailedError
from rjepa_core.evaluation import EvaluateRunSettings, EvaluationWatch
from rjepa_core.evaluation import evaluate as evaluate_world_models
from rjepa_core.evaluation.text import heading
from rjepa_core.extraction import Extraction, Summary, open_extraction
from rjepa_core.extraction.report import (
    PROBLEMS_FAILED,
    exit_code,
    may_pass,
    outcome,
    outcome_lines,
    plan,
    plan_lines,
    too_many_failed,
    warnings_of,
)
from rjepa_core.plugins import WorldModelAdapter
from rjepa_core.ports.progress import ToolProgress
from rjepa_core.ports.trainer import TrainSummary, TrainWatch
from rjepa_core.text import count
from rjepa_core.training import DEFAULT_TRAINER
from rjepa_core.training import train_world_model as train_into
from rjepa_core.training.report import ending_line, epoch_line, facts_of

from . import summaries
from .following import ExtractionReport, Log, Meter, PhaseReport, TrainingReport, run_log
from .parameters import Values, evaluation_of, extraction_of, training_of
from .signals import Wish, shielded

_SOON_HOURS = 1e-9


def may_help(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether another try may succeed: where the command line ends with exit code 1."""
    error: object = state.result(raise_on_failure=False)
    return isinstance(error, BaseException) and may_pass(error)


def again() -> bool:
    """Whether this task, or the flow that it belongs to, was begun before."""
    counts: tuple[int, int] = (task_run.run_count, flow_run.run_count)
    return max(counts) > 1


def patient(task: Task[Any, Any], retries: int, delay: float) -> Task[Any, Any]:
    """The same task, tried again where that may help.

    Args:
        task: any of those below.
        retries: further tries.
        delay: seconds before each.
    """

    def worth_it(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:
        return run.run_count <= retries and may_help(task, run, state)

    # Of a task that has no retries at all Prefect logs a traceback in place of asking.
    return task.with_options(
        retries=max(1, retries), retry_delay_seconds=delay, retry_condition_fn=worth_it
    )


@task(name="extract", retry_condition_fn=may_help, cache_policy=NO_CACHE)
def extract(values: Values, began: float) -> Values:
    """Do what the store lacks.

    Args:
        values: of `ExtractionSettings`.
        began: when the flow did, in seconds of `time.time`: `run.max_hours` are those of all tries.

    Returns:
        the facts of `rjepa-cli extract --json`.

    Raises:
        ProblemsFailedError: more failed than `run.allow_failures`.
    """
    log, registry = run_log(), Registry()
    settings = extraction_of(values, registry)
    if again():
        log.info("going on with what %s holds", settings.store.path)
        settings = attrs.evolve(settings, run=_going_on(settings, began))

    def work(wish: Wish) -> tuple[Summary, Values]:
        def say(line: str) -> None:
            wish.check()
            log.info("%s …", line)

        with open_extraction(settings, registry, say) as opened:
            planned = plan(opened)
            for line in plan_lines(planned):
                log.info(line)
            for line in warnings_of(opened, settings):
                log.warning(line)
            return _run(opened, "extraction", wish, log), planned

    summary, planned = shielded(work)
    code = exit_code(summary, settings.run.allow_failures)
    facts = outcome(summary, code)
    for line in outcome_lines(facts, planned, settings.store):
        log.info(line)
    text = summaries.extraction_text(facts, planned, settings.store)
    summaries.keep(summaries.EXTRACTION, text, f"Extraction into {settings.store.path}")
    if code == PROBLEMS_FAILED:
        raise ProblemsFailedError(too_many_failed(summary, settings))
    return {**facts, "store": settings.store.path, "plan": planned}


def _going_on(settings: ExtractionSettings, began: float) -> Any:
    run = attrs.evolve(settings.run, resume=True)
    if run.max_hours is not None:
        left = run.max_hours - (time.time() - began) / 3600
        run = attrs.evolve(run, max_hours=max(left, _SOON_HOURS))
    return run


def _run(opened: Extraction, what: str, wish: Wish, log: Log) -> Summary:
    report = ExtractionReport(Meter("rjepa-progress", what, log), opened.before.missing, log)
    return opened.run(report, wish.check, decided=report.decided)


@task(name="train", retry_condition_fn=may_help, cache_policy=NO_CACHE)
def train(values: Values, out: str, resume: bool) -> Values:
    """Train a world model into the folder `out`.

    Args:
        values: of `TrainSettings`.
        out: the run's folder.
        resume: go on with the run that is there, if one is.

    Returns:
        the facts of `rjepa-cli train --json`.
    """
    log, registry = run_log(), Registry()
    settings: TrainSettings = training_of(values, out)
    begun = registry.find(WorldModelAdapter, DEFAULT_TRAINER).claims(out)

    def work(wish: Wish) -> TrainSummary:
        watch = TrainWatch(
            resume=(resume or again()) and begun,
            say=log.info,
            warn=log.warning,
            report=TrainingReport(Meter("rjepa-progress", "training", log)),
            kept=lambda row: log.info(epoch_line(row)),
            # A checkpoint is written first.
            stop=lambda: bool(wish),
        )
        return train_into(out, settings, watch, registry)

    summary = shielded(work)
    facts = facts_of(summary)
    log.info(ending_line(facts))
    summaries.keep(summaries.TRAINING, summaries.training_text(facts), f"World model in {out}")
    return facts


@task(name="evaluate", retry_condition_fn=may_help, cache_policy=NO_CACHE)
def evaluate(values: Values) -> Values:
    """Compare world models with their baselines.

    Args:
        values: of `EvaluateRunSettings`.

    Returns:
        the facts of `rjepa-cli evaluate --json`.
    """
    log = run_log()
    settings: EvaluateRunSettings = evaluation_of(values)
    phases = PhaseReport(log)

    def work(wish: Wish) -> Values:
        def report(progress: ToolProgress) -> None:
            wish.check()
            phases(progress)

        def encode(opened: Extraction) -> None:
            failures = _run(opened, "encoding", wish, log).progress.failures
            if failures:
                failed = count(failures, "solution")
                log.warning("%s could not be encoded and will be left out", failed)

        watch = EvaluationWatch(say=log.info, warn=log.warning, report=report, encode=encode)
        return evaluate_world_models(settings, Registry(), watch).to_json()

    facts = shielded(work)
    for line in heading(facts):
        log.info(line)
    names = ", ".join(Path(name).name for name in settings.evaluate.world_models)
    summaries.keep(summaries.EVALUATION, summaries.evaluation_text(facts), f"Evaluation of {names}")
    return facts
