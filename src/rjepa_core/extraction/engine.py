"""The engine of an extraction, one per process: a loaded LLM with scheduler and probe."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import attrs

from ..domain.prompt import pose
from ..domain.segmentation import cut_completion
from ..domain.trace import Prompt, Work
from ..errors import SettingsError
from ..plugins import BackendAdapter, Registry, SchedulerAdapter, find_probe
from ..ports.backend import InFlight, LLMBackend, ModelInfo, SessionSpec
from ..ports.executor import Ending, Progress, Watch, WorkQueue
from ..ports.probe import MemoryProbe
from ..ports.scheduler import BatchScheduler
from ..ports.store import RecordSink
from ..settings import ExtractionSettings
from .loop import extract
from .outcomes import check_stops
from .run_identity import resolve_layers


@attrs.frozen
class Engine:
    """A loaded LLM, and what the loop needs to run it; made by `open_engine`.

    An executor in one process has one; an executor with many workers opens one in each of them,
    from the same settings, which are plain values that can be sent between processes.
    """

    settings: ExtractionSettings
    _backend: LLMBackend
    _make_scheduler: Callable[[], BatchScheduler]
    _probe: MemoryProbe | None

    @property
    def info(self) -> ModelInfo:
        """What the backend reports about its model."""
        return self._backend.info

    @property
    def rows(self) -> int:
        """Number of rows that a new scheduler starts with."""
        return max(1, self._make_scheduler().room(InFlight()).rows)

    def extract(
        self, layers: tuple[int, ...], pending: WorkQueue, sink: RecordSink, watch: Watch
    ) -> tuple[Ending, Progress]:
        """Run the loop with a new session and scheduler; see `extraction.extract`."""
        session = self._backend.open_session(session_spec(self.settings, layers))
        try:
            return extract(
                pending,
                session,
                self._make_scheduler(),
                sink,
                probe=self._probe,
                report=watch.report,
                decided=watch.decided,
                stop=watch.stop,
                computing=watch.computing,
            )
        finally:
            session.close()

    def close(self) -> None:
        """Release the model."""
        self._backend.close()


def open_engine(settings: ExtractionSettings, registry: Registry | None = None) -> Engine:
    """Load the LLM and return its engine.

    A session is opened and closed again, so that a backend that cannot do what is asked says so
    before anything is stored.

    Raises:
        UsageError: an adapter or one of its settings is unknown, or the model does not exist or
            cannot do what is asked.
    """
    registry = registry or Registry()
    adapter, options, scheduler, scheduler_options = _find_adapters(settings, registry)
    if adapter.context is not None:
        check_length(settings, adapter.context(settings.model, options))
    backend = adapter.create(settings.model, options)
    try:
        check_length(settings, backend.info.context)
        if not settings.problems.traces:
            check_stops(settings.sampling, backend.info)
        layers = resolve_layers(settings.encoding.layers, backend.info)
        backend.open_session(session_spec(settings, layers)).close()
    except BaseException:
        backend.close()
        raise
    return Engine(
        settings,
        backend,
        lambda: scheduler.create(scheduler_options),
        find_probe(registry, backend.info.device),
    )


def check_length(settings: ExtractionSettings, context: int | None) -> None:
    """Refuse a run whose longest completion cannot fit into the model's context.

    Args:
        context: most tokens of prompt and completion together; None if unknown.

    Raises:
        SettingsError: the new tokens alone fill the context.
    """
    new = settings.sampling.max_new_tokens
    if context is not None and new >= context and not settings.problems.traces:
        raise SettingsError(
            f"sampling.max_new_tokens: {new:,} new tokens after a prompt do not fit into the "
            f"{context:,} tokens that {settings.model.name} can hold; take fewer"
        )


def check_engine(settings: ExtractionSettings, registry: Registry) -> None:
    """Refuse unknown adapters and settings, as `open_engine` does, without loading anything."""
    _find_adapters(settings, registry)


def _find_adapters(
    settings: ExtractionSettings, registry: Registry
) -> tuple[BackendAdapter, Any, SchedulerAdapter, Any]:
    backend = registry.find(BackendAdapter, settings.backend.name)
    options = backend.configure(settings.backend.options, "backend")
    scheduler = registry.find(SchedulerAdapter, settings.scheduler.name)
    return backend, options, scheduler, scheduler.configure(settings.scheduler.options, "scheduler")


def session_spec(
    settings: ExtractionSettings,
    layers: tuple[int, ...],
    clock: Callable[[], float] = time.perf_counter,
) -> SessionSpec:
    """Return what a backend's session is opened with for these settings and absolute layers."""
    steps = settings.steps

    def prompt_of(work: Work) -> Prompt:
        prompt = settings.prompt
        return pose(
            work.problem,
            work.sample,
            prompt.templates,
            prompt.system,
            prompt.thinking,
            prompt.date,
        )

    return SessionSpec(
        sampling=settings.sampling,
        encoding=attrs.evolve(settings.encoding, layers=layers),
        pose=prompt_of,
        cut=lambda completion: cut_completion(completion, steps.strategy, steps.thinking),
        clock=clock,
    )
