"""Put an extraction together from its settings, and run it.

Command line, scripts and flows all come through here; nothing in it knows an adapter.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any

import attrs

from .cutting import cut_completion
from .errors import StoreExistsError
from .extraction import Ending, Progress, extract
from .identity import Identity, check_same
from .opening import (
    find_probe,
    find_store,
    open_sources,
    open_store,
    open_stored_traces,
    split_location,
)
from .pending import Pending
from .plugins import BackendAdapter, Registry, SchedulerAdapter, StoreAdapter
from .ports.batch_scheduler import BatchScheduler
from .ports.latent_store import LatentStore, StoreStats
from .ports.llm_backend import LLMBackend, ModelInfo, SessionSpec
from .ports.memory_probe import MemoryProbe
from .ports.store_tools import StoreTools
from .prompts import pose
from .rehearsal import AbsentStore, Scale, Trial
from .room import Room, check_room, expected_room, room_after_trial
from .run_history import history_entry
from .run_identity import as_stored, identity_of, resolve_layers
from .settings import ExtractionSettings
from .traces import Prompt, Work
from .worklist import Remaining, StoredTraces, Survey, Worklist, missing, remaining

__all__ = [
    "Extraction",
    "Summary",
    "Trial",
    "find_probe",
    "open_extraction",
    "open_store",
    "resolve_layers",
    "run_extraction",
    "split_location",
]

# Given solutions need no generating, so that a scheduler's rows say little of a batch of them.
_TRIAL_GIVEN = 64


@attrs.frozen
class Summary:
    """What a run did.

    Attributes:
        ending: done, or stopped early.
        progress: counts of this run.
        seconds: wall time of the loop, from the first batch to the last commit.
        survey: what was asked for.
        before: what the store held of it when the run began.
        failed_in_store: failures among the asked-for work, earlier runs' included.
        store: counts of the whole store afterwards.
    """

    ending: Ending
    progress: Progress
    seconds: float
    survey: Survey
    before: Remaining
    failed_in_store: int
    store: StoreStats


@attrs.frozen(kw_only=True)
class Extraction:
    """An extraction whose input, store and model have been checked and opened.

    Made by `open_extraction`; `run` does the work.

    Attributes:
        settings: of the run; for traces of a store, with the prompt and steps of that store.
        survey: what was asked for.
        before: what the store holds of it.
        store: where the records go.
        identity: what the store says of them.
        room: what the run will take and what there is; None where the store does not tell.
    """

    settings: ExtractionSettings
    survey: Survey
    before: Remaining
    store: LatentStore
    identity: Identity
    room: Room | None
    _tools: tuple[StoreTools, str] | None
    _work: Worklist | StoredTraces
    _backend: LLMBackend
    _make_scheduler: Callable[[], BatchScheduler]
    _probe: MemoryProbe | None

    @property
    def info(self) -> ModelInfo:
        """What the backend says of its model."""
        return self._backend.info

    def spec(self) -> SessionSpec:
        """What the backend's session is opened with."""
        settings = self.settings

        def prompt_of(work: Work) -> Prompt:
            prompt = settings.prompt
            return pose(work.problem, work.sample, prompt.templates, prompt.system, prompt.thinking)

        return SessionSpec(
            sampling=settings.sampling,
            encoding=attrs.evolve(settings.encoding, layers=self.identity.space.layers),
            pose=prompt_of,
            cut=lambda completion: cut_completion(completion, settings.steps.strategy),
            clock=time.perf_counter,
        )

    def run(
        self,
        report: Callable[[Progress], None] = lambda progress: None,
        stop: Callable[[], bool] = lambda: False,
        computing: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> Summary:
        """Do what the store lacks. An interrupt commits what is finished and is raised again.

        Args:
            report: called after each step of the session.
            stop: asked after each step; once it is true the run finishes what is in flight and
                ends, as it does after `max_hours`.
            computing: entered around each step of the session: whoever turns a signal into an
                exception does it in there, so that it never hits the store while it writes.
        """
        settings = self.settings
        began, started = time.perf_counter(), datetime.now(UTC)
        limit = settings.run.max_hours
        latest = Progress()

        def remember(progress: Progress) -> None:
            nonlocal latest
            latest = progress
            report(progress)

        def should_stop() -> bool:
            late = limit is not None and time.perf_counter() - began > limit * 3600
            return stop() or late

        session = self._backend.open_session(self.spec())
        pending = Pending(missing(self._work, self.store, settings.run.retry_failed))
        how = "interrupted"
        try:
            ending, latest = extract(
                pending,
                session,
                self._make_scheduler(),
                self.store,
                probe=self._probe,
                report=remember,
                stop=should_stop,
                computing=computing,
            )
            how = ending.value
        except Exception:
            how = "failed"
            raise
        finally:
            session.close()
            seconds = time.perf_counter() - began
            self.store.add_history(
                history_entry(settings, self.info, self.survey, started, seconds, how, latest)
            )
        after = remaining(self._work, self.store, retry_failed=False)
        return Summary(
            ending, latest, seconds, self.survey, self.before, after.failed, self.store.stats()
        )

    def trial(self) -> Trial:
        """Run the first rows that the store lacks without storing them, to tell time and room."""
        scheduler = self._make_scheduler()
        session = self._backend.open_session(self.spec())
        rows = max(1, scheduler.room(session.in_flight).rows)
        if self.settings.problems.traces:
            rows = max(rows, _TRIAL_GIVEN)
        work = missing(self._work, self.store, self.settings.run.retry_failed)
        sink = Scale()
        began = time.perf_counter()
        _, progress = extract(Pending(itertools.islice(work, rows)), session, scheduler, sink)
        seconds = time.perf_counter() - began
        session.close()
        done = progress.records + progress.failures
        return Trial(
            done, seconds, seconds / max(1, done), sink.bytes / max(1, progress.records), progress
        )

    def room_after(self, trial: Trial) -> Room | None:
        """What the run will take, told from a trial."""
        if self._tools is None:
            return None
        return room_after_trial(*self._tools, self.identity, trial, self.before.missing)


@contextmanager
def open_extraction(
    settings: ExtractionSettings,
    registry: Registry | None = None,
    say: Callable[[str], None] = lambda line: None,
    dry: bool = False,
) -> Iterator[Extraction]:
    """Check and open all that an extraction needs, cheapest first.

    The input is read once before the store is made, and both before the model is loaded, so that a
    mistake shows in seconds.

    Args:
        settings: of the run.
        registry: finds the adapters.
        say: told what goes on.
        dry: only for `Extraction.trial`: the store is read, never made or changed.

    Raises:
        UsageError: anything that the user can mend before hours are spent.
    """
    registry = registry or Registry()
    with ExitStack() as stack:
        backend_adapter = registry.find(BackendAdapter, settings.backend.name)
        options = backend_adapter.configure(settings.backend.options, "backend")
        scheduler = registry.find(SchedulerAdapter, settings.scheduler.name)
        scheduler_options = scheduler.configure(settings.scheduler.options, "scheduler")
        store_adapter, place = find_store(settings.store, registry)
        store_options = store_adapter.configure(settings.store.options, "store")
        traces = open_stored_traces(settings.problems, registry)
        work: Worklist | StoredTraces
        if traces is not None:
            stack.callback(traces.close)
            settings = as_stored(settings, traces)
            work = StoredTraces(traces, settings.problems.limit)
        else:
            work = Worklist(
                open_sources(settings.problems, registry),
                settings.problems.samples,
                settings.problems.limit,
                given=bool(settings.problems.traces),
            )
        say("reading the problems")
        survey = work.survey()
        store = _open_target(store_adapter, place, store_options, dry)
        stack.callback(store.close)
        if (len(store) or next(store.failures(), None)) and not settings.run.resume:
            raise StoreExistsError(
                f"{store.location} holds {len(store)} records; "
                "add --resume to go on with it, or use another --store"
            )
        say(f"loading {settings.model.name}")
        backend = backend_adapter.create(settings.model, options)
        stack.callback(backend.close)
        identity = identity_of(settings, backend.info, traces)
        if store.identity is not None:
            check_same(identity, store.identity, store.location)
        before = remaining(work, store, settings.run.retry_failed, check=True)
        tools = (store_adapter.tools(), place) if store_adapter.tools else None
        room = None
        if tools is not None:
            room = expected_room(*tools, identity, settings, survey, store.stats(), before.missing)
        if not dry:
            check_room(room, store.location, settings.run.force)
            store.begin(identity)
        yield Extraction(
            settings=settings,
            survey=survey,
            before=before,
            store=store,
            identity=identity,
            room=room,
            tools=tools,
            work=work,
            backend=backend,
            make_scheduler=lambda: scheduler.create(scheduler_options),
            probe=find_probe(registry, backend.info.device),
        )


def run_extraction(
    settings: ExtractionSettings,
    registry: Registry | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> Summary:
    """Problems in, stored latents out: open, run, close."""
    with open_extraction(settings, registry) as extraction:
        return extraction.run(report)


def _open_target(adapter: StoreAdapter, place: str, options: Any, dry: bool) -> LatentStore:
    if not dry:
        return adapter.create(place, "write", options)
    if adapter.exists(place):
        return adapter.create(place, "read", options)
    return AbsentStore(place)
