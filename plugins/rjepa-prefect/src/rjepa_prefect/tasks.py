"""The use cases as Prefect tasks. A retry continues with what the last try kept."""

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
from rjepa_core.ports.maintenance import ToolProgress
from rjepa_core.ports.world_model import TrainSummary, TrainWatch
from rjepa_core.text import count
from rjepa_core.training import DEFAULT_TRAINER
from rjepa_core.training import train_world_model as train_into
from rjepa_core.training.report import ending_line, epoch_line, facts_of

from . import summaries
from .following import ExtractionReport, Log, PhaseReport, ProgressMeter, TrainingReport, run_log
from .parameters import Values, evaluation_of, extraction_of, training_of
from .signals import StopRequest, run_shielded

_SOON_HOURS = 1e-9


def may_help(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:
    """Return whether another try may succeed: when the command line would exit with code 1."""
    error: object = state.result(raise_on_failure=False)
    return isinstance(error, BaseException) and may_pass(error)


def was_begun_before() -> bool:
    """Return whether this task, or its flow, was begun before."""
    counts: tuple[int, int] = (task_run.run_count, flow_run.run_count)
    return max(counts) > 1


def with_retries(task: Task[Any, Any], retries: int, delay: float) -> Task[Any, Any]:
    """Return the task, retried when that may help.

    Args:
        task: any of those below.
        retries: further tries.
        delay: seconds before each.
    """

    def worth_it(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:
        return run.run_count <= retries and may_help(task, run, state)

    # With no retries at all, Prefect logs a traceback instead of asking the condition.
    return task.with_options(
        retries=max(1, retries), retry_delay_seconds=delay, retry_condition_fn=worth_it
    )


@task(name="extract", retry_condition_fn=may_help, cache_policy=NO_CACHE)
def extract(values: Values, began: float) -> Values:
    """Extract the latents that the store lacks.

    Args:
        values: of `ExtractionSettings`.
        began: start of the flow, by `time.time`: `run.max_hours` limits all tries together.

    Returns:
        the facts of `rjepa-cli extract --json`.

    Raises:
        ProblemsFailedError: more problems failed than `run.allow_failures`.
    """
    log, registry = run_log(), Registry()
    settings = extraction_of(values, registry)
    if was_begun_before():
        log.info("continuing with what %s holds", settings.store.path)
        settings = attrs.evolve(settings, run=_resumed_run(settings, began))

    def work(request: StopRequest) -> tuple[Summary, Values]:
        def say(line: str) -> None:
            request.check()
            log.info("%s …", line)

        with open_extraction(settings, registry, say) as opened:
            planned = plan(opened)
            for line in plan_lines(planned):
                log.info(line)
            for line in warnings_of(opened, settings):
                log.warning(line)
            return _run(opened, "extraction", request, log), planned

    summary, planned = run_shielded(work)
    code = exit_code(summary, settings.run.allow_failures)
    facts = outcome(summary, code)
    for line in outcome_lines(facts, planned, settings.store):
        log.info(line)
    text = summaries.extraction_text(facts, planned, settings.store)
    summaries.add_to_page(summaries.EXTRACTION, text, f"Extraction into {settings.store.path}")
    if code == PROBLEMS_FAILED:
        raise ProblemsFailedError(too_many_failed(summary, settings))
    return {**facts, "store": settings.store.path, "plan": planned}


def _resumed_run(settings: ExtractionSettings, began: float) -> Any:
    run = attrs.evolve(settings.run, resume=True)
    if run.max_hours is not None:
        left = run.max_hours - (time.time() - began) / 3600
        run = attrs.evolve(run, max_hours=max(left, _SOON_HOURS))
    return run


def _run(opened: Extraction, what: str, request: StopRequest, log: Log) -> Summary:
    report = ExtractionReport(
        ProgressMeter("rjepa-progress", what, log), opened.before.missing, log
    )
    return opened.run(report, request.check, decided=report.decided)


@task(name="train", retry_condition_fn=may_help, cache_policy=NO_CACHE)
def train(values: Values, out: str, resume: bool) -> Values:
    """Train a world model into the folder `out`.

    Args:
        values: of `TrainSettings`.
        out: the run's folder.
        resume: continue an existing run.

    Returns:
        the facts of `rjepa-cli train --json`.
    """
    log, registry = run_log(), Registry()
    settings: TrainSettings = training_of(values, out)
    begun = registry.find(WorldModelAdapter, DEFAULT_TRAINER).claims(out)

    def work(request: StopRequest) -> TrainSummary:
        watch = TrainWatch(
            resume=(resume or was_begun_before()) and begun,
            say=log.info,
            warn=log.warning,
            report=TrainingReport(ProgressMeter("rjepa-progress", "training", log)),
            kept=lambda row: log.info(epoch_line(row)),
            # A checkpoint is written first.
            stop=lambda: bool(request),
        )
        return train_into(out, settings, watch, registry)

    summary = run_shielded(work)
    facts = facts_of(summary)
    log.info(ending_line(facts))
    summaries.add_to_page(
        summaries.TRAINING, summaries.training_text(facts), f"World model in {out}"
    )
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

    def work(request: StopRequest) -> Values:
        def report(progress: ToolProgress) -> None:
            request.check()
            phases(progress)

        def encode(opened: Extraction) -> None:
            failures = _run(opened, "encoding", request, log).progress.failures
            if failures:
                failed = count(failures, "solution")
                log.warning("%s could not be encoded and will be left out", failed)

        watch = EvaluationWatch(say=log.info, warn=log.warning, report=report, encode=encode)
        return evaluate_world_models(settings, Registry(), watch).to_json()

    facts = run_shielded(work)
    for line in heading(facts):
        log.info(line)
    names = ", ".join(Path(name).name for name in settings.evaluate.world_models)
    summaries.add_to_page(
        summaries.EVALUATION, summaries.evaluation_text(facts), f"Evaluation of {names}"
    )
    return facts
