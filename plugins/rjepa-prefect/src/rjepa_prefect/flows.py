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
    """Extract step latents of problems into a store, as `rjepa-cli extract` does.

    Args:
        settings: sections and keys of an extraction's settings, as in its YAML file.
        retries: further tries after a temporary failure; each continues with the store.
        retry_delay_seconds: delay before each of them.

    Returns:
        the facts of `rjepa-cli extract --json`. The run ends as `Stopped` after `run.max_hours`,
        and as `Failed` if more problems failed than `run.allow_failures`.
    """

    def work() -> Values:
        retry = RetrySettings.of(retries, retry_delay_seconds)
        extraction = extraction_of(settings, Registry())
        return _extract(plain(extraction), retry)

    return _end_state(work)


@flow(name="train-world-model")
def train_world_model(
    settings: dict[str, Any],
    out: str,
    resume: bool = False,
    retries: int = RETRIES,
    retry_delay_seconds: float = RETRY_DELAY_SECONDS,
) -> Any:
    """Train a world model on the latents of stores, as `rjepa-cli train` does.

    Args:
        settings: sections and keys of a training run's settings, as in its YAML file.
        out: folder of the run, new unless `resume`.
        resume: continue the run that `out` holds, if any.
        retries: further tries after a temporary failure; each continues at the last checkpoint.
        retry_delay_seconds: delay before each of them.

    Returns:
        the facts of `rjepa-cli train --json`.
    """

    def work() -> Values:
        retry = RetrySettings.of(retries, retry_delay_seconds)
        return _train(plain(training_of(settings, out)), out, resume, retry)

    return _end_state(work)


@flow(name="evaluate")
def evaluate(
    settings: dict[str, Any],
    retries: int = RETRIES,
    retry_delay_seconds: float = RETRY_DELAY_SECONDS,
) -> Any:
    """Compare trained world models with their baselines, as `rjepa-cli evaluate` does.

    Args:
        settings: sections and keys of an evaluation's settings, as in its YAML file.
        retries: further tries after a temporary failure; solutions that were encoded are kept.
        retry_delay_seconds: delay before each of them.

    Returns:
        the facts of `rjepa-cli evaluate --json`.
    """

    def work() -> Values:
        retry = RetrySettings.of(retries, retry_delay_seconds)
        return _evaluate(plain(evaluation_of(settings)), retry)

    return _end_state(work)


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
    """Run an extraction, then a training run on its store, then an evaluation if wanted.

    All settings and paths are checked before anything begins.

    Args:
        extract: an extraction's settings.
        train: a training run's settings; if `data.stores` is empty, the extraction's store is used.
        out: folder of the training run, new unless `resume`.
        evaluate: an evaluation's settings; None evaluates nothing. What it does not name defaults
            to what is extracted and trained here.
        resume: continue with an existing store and run.
        retries: further tries of each part after a temporary failure.
        retry_delay_seconds: delay before each of them.

    Returns:
        the facts of the parts. After `run.max_hours` the run ends as `Stopped`, and nothing is
        trained on an incomplete store.
    """

    def work() -> Values:
        retry = RetrySettings.of(retries, retry_delay_seconds)
        registry = Registry()
        extraction = extraction_of(extract, registry, resume)
        if in_memory(extraction.store):
            raise UsageError("store.path: a store in memory ends with the extraction; name a place")
        training = training_of(train, out, extraction.store.path)
        evaluation = None if evaluate is None else evaluation_of(evaluate, extraction, out)
        again = resume or tasks.was_begun_before()
        check_places(extraction.store.path, training, out, evaluation, again, registry)
        found = {"extract": _extract(plain(extraction), retry)}
        if found["extract"]["exit_code"] == STOPPED:
            return found
        found["train"] = _train(plain(training), out, resume, retry)
        if evaluation is not None:
            found["evaluate"] = _evaluate(plain(evaluation), retry)
        return found

    return _end_state(work)


def _extract(values: Values, retry: RetrySettings) -> Values:
    found: Values = _with_retries(tasks.extract, retry)(values, time.time())
    return found


def _train(values: Values, out: str, resume: bool, retry: RetrySettings) -> Values:
    found: Values = _with_retries(tasks.train, retry)(values, out, resume)
    return found


def _evaluate(values: Values, retry: RetrySettings) -> Values:
    found: Values = _with_retries(tasks.evaluate, retry)(values)
    return found


def _with_retries(task: Task[Any, Any], retry: RetrySettings) -> Callable[..., Any]:
    return tasks.with_retries(task, retry.retries, retry.retry_delay_seconds)


def _end_state(work: Callable[[], Values]) -> Values | State[Any]:
    """Return the facts of `work`, or the state to end with: one line for an expected error.

    The caller of the flow gets the error itself.
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
            message=f"run.max_hours has passed; continue by another run with resume: {store}",
            data=found,
        )
    return found
