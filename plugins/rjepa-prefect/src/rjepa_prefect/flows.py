"""The flows. Their parameters are plain JSON values, with the keys of `rjepa-cli … --config`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from prefect import Task, flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from rjepa_core import Registry
from rjepa_core.errors import UsageError
from rjepa_core.extraction.report import STOPPED, explain, in_memory

from . import tasks
from .parameters import (
    RetrySettings,
    Values,
    check_places,
    evaluation_of,
    extraction_of,
    plain,
    training_of,
)

RETRIES, RETRY_DELAY_SECONDS = 2, 60.0


@flow(name="extract-latents")
def extract_latents(
    settings: dict[str, Any],
    retries: int = RETRIES,
    retry_delay_seconds: float = RETRY_DELAY_SECONDS,
) -> Any:
    """Problems in, stored step latents out, as `rjepa-cli extract`.

    Args:
        settings: sections and keys of an extraction's settings, as its YAML file has them.
        retries: further tries after an end that may pass; each goes on with the store.
        retry_delay_seconds: before each of them.

    Returns:
        the facts of `rjepa-cli extract --json`. The run ends as `Stopped` after `run.max_hours`,
        and as `Failed` where more failed than `run.allow_failures`.
    """

    def work() -> Values:
        retry = RetrySettings.of(retries, retry_delay_seconds)
        extraction = extraction_of(settings, Registry())
        return _extract(plain(extraction), retry)

    return _settled(work)


@flow(name="train-world-model")
def train_world_model(
    settings: dict[str, Any],
    out: str,
    resume: bool = False,
    retries: int = RETRIES,
    retry_delay_seconds: float = RETRY_DELAY_SECONDS,
) -> Any:
    """Return the latents of stores in, a trained world model out, as `rjepa-cli train`.

    Args:
        settings: sections and keys of a training run's settings, as its YAML file has them.
        out: folder of the run, new unless `resume`.
        resume: go on with the run that `out` holds, if it holds one.
        retries: further tries after an end that may pass; each goes on at the last checkpoint.
        retry_delay_seconds: before each of them.

    Returns:
        the facts of `rjepa-cli train --json`.
    """

    def work() -> Values:
        retry = RetrySettings.of(retries, retry_delay_seconds)
        return _train(plain(training_of(settings, out)), out, resume, retry)

    return _settled(work)


@flow(name="evaluate")
def evaluate(
    settings: dict[str, Any],
    retries: int = RETRIES,
    retry_delay_seconds: float = RETRY_DELAY_SECONDS,
) -> Any:
    """Trained world models beside their baselines, as `rjepa-cli evaluate`.

    Args:
        settings: sections and keys of an evaluation's settings, as its YAML file has them.
        retries: further tries after an end that may pass; solutions that were encoded are kept.
        retry_delay_seconds: before each of them.

    Returns:
        the facts of `rjepa-cli evaluate --json`.
    """

    def work() -> Values:
        retry = RetrySettings.of(retries, retry_delay_seconds)
        return _evaluate(plain(evaluation_of(settings)), retry)

    return _settled(work)


@flow(name="extract-then-train")
def extract_then_train(
    extract: dict[str, Any],
    train: dict[str, Any],
    out: str,
    evaluate: dict[str, Any] | None = None,
    resume: bool = False,
    retries: int = RETRIES,
    retry_delay_seconds: float = RETRY_DELAY_SECONDS,
) -> Any:
    """Return an extraction, then a training run on its store, then an evaluation if one is asked for.

    All settings and places are checked before anything begins.

    Args:
        extract: an extraction's settings.
        train: a training run's settings; where `data.stores` names none, the extraction's store.
        out: folder of the training run, new unless `resume`.
        evaluate: an evaluation's settings; None evaluates nothing. What it does not name is what
            was extracted and trained here.
        resume: go on with the store and the run that are there, if they are.
        retries: further tries of each part after an end that may pass.
        retry_delay_seconds: before each of them.

    Returns:
        the facts of the parts. After `run.max_hours` the run ends as `Stopped`, and nothing is
        trained on what is not whole.
    """

    def work() -> Values:
        retry = RetrySettings.of(retries, retry_delay_seconds)
        registry = Registry()
        extraction = extraction_of(extract, registry, resume)
        if in_memory(extraction.store):
            raise UsageError("store.path: a store in memory ends with the extraction; name a place")
        training = training_of(train, out, extraction.store.path)
        evaluation = None if evaluate is None else evaluation_of(evaluate, extraction, out)
        again = resume or tasks.again()
        check_places(extraction.store.path, training, out, evaluation, again, registry)
        found = {"extract": _extract(plain(extraction), retry)}
        if found["extract"]["exit_code"] == STOPPED:
            return found
        found["train"] = _train(plain(training), out, resume, retry)
        if evaluation is not None:
            found["evaluate"] = _evaluate(plain(evaluation), retry)
        return found

    return _settled(work)


def _extract(values: Values, retry: RetrySettings) -> Values:
    found: Values = _patient(tasks.extract, retry)(values, time.time())
    return found


def _train(values: Values, out: str, resume: bool, retry: RetrySettings) -> Values:
    found: Values = _patient(tasks.train, retry)(values, out, resume)
    return found


def _evaluate(values: Values, retry: RetrySettings) -> Values:
    found: Values = _patient(tasks.evaluate, retry)(values)
    return found


def _patient(task: Task[Any, Any], retry: RetrySettings) -> Callable[..., Any]:
    return tasks.patient(task, retry.retries, retry.retry_delay_seconds)


def _settled(work: Callable[[], Values]) -> Values | State[Any]:
    """Return what was done; or the state to end with: one line for an error that a user can meet.

    Whoever called the flow gets the error itself.
    """
    try:
        found = work()
    except Exception as error:
        text, _ = explain(error, resumable=True)
        if text is None:
            raise
        get_run_logger().error(text)
        return Failed(message=text, data=error)
    extracted = found.get("extract", found)
    if extracted.get("exit_code") == STOPPED:
        store = extracted["store"]
        return Completed(
            name="Stopped",
            message=f"run.max_hours are over; go on by another run with resume: {store}",
            data=found,
        )
    return found
