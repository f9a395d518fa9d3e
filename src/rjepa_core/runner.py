"""Put an extraction together from its settings, and run it.

Command line, scripts and flows all come through here; nothing in it knows an adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import attrs

from .engine import check_engine
from .errors import SettingsError, StoreExistsError
from .extraction import Progress
from .identity import Identity, check_same
from .opening import (
    find_probe,
    find_store,
    open_sources,
    open_store,
    open_stored_traces,
    split_location,
)
from .plugins import ExecutorAdapter, Registry, StoreAdapter
from .ports.latent_store import Discards, LatentStore
from .ports.problem_source import ProblemSource
from .prepared import Extraction, Summary
from .rehearsal import AbsentStore, Trial
from .room import check_room, expected_room
from .run_identity import as_stored, identity_of, resolve_layers, with_day
from .settings import ExtractionSettings
from .stored_prompts import compare_with_run
from .worklist import StoredTraces, Worklist, remaining

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


@contextmanager
def open_extraction(
    settings: ExtractionSettings,
    registry: Registry | None = None,
    say: Callable[[str], None] = lambda line: None,
    dry: bool = False,
    sources: Sequence[ProblemSource] | None = None,
    vet: Callable[[Identity], None] = lambda identity: None,
) -> Iterator[Extraction]:
    """Check and open all that an extraction needs, cheapest first.

    The input is read once before the store is made, and both before the model is loaded, so that a
    mistake shows in seconds. A store that was made here goes again where something is wrong before
    the run begins.

    Args:
        settings: of the run.
        registry: finds the adapters.
        say: told what goes on.
        dry: only for `Extraction.trial`: the store is read, never made or changed.
        sources: read in place of those that the settings name; the names stay in the history.
        vet: asked with the run's identity before the store gets it; raises to refuse.

    Raises:
        UsageError: anything that the user can mend before hours are spent.
    """
    registry = registry or Registry()
    with ExitStack() as stack:
        check_engine(settings, registry)
        executor_adapter = registry.find(ExecutorAdapter, settings.executor.name)
        executor_options = executor_adapter.configure(settings.executor.options, "executor")
        store_adapter, place = find_store(settings.store, registry)
        store_options = store_adapter.configure(settings.store.options, "store")
        traces = open_stored_traces(settings.problems, registry) if sources is None else None
        work: Worklist | StoredTraces
        if traces is not None:
            stack.callback(traces.close)
            settings = as_stored(settings, traces)
            work = StoredTraces(traces, settings.problems.limit)
        else:
            work = Worklist(
                open_sources(settings.problems, registry) if sources is None else sources,
                settings.problems.samples,
                settings.problems.limit,
                given=bool(settings.problems.traces),
            )
        fresh = not store_adapter.exists(place)
        if fresh:
            check_samples(settings)
        say("reading the problems")
        survey = work.survey()
        store = _open_target(store_adapter, place, store_options, dry)
        stack.callback(_let_go, store, fresh)
        if (len(store) or next(store.failures(), None)) and not settings.run.resume:
            raise StoreExistsError(
                f"{store.location} holds {len(store)} records; "
                "add --resume to go on with it, or use another --store"
            )
        if store.identity is not None:
            steps = settings.steps.going_on_with(store.identity.space.steps)
            settings = attrs.evolve(settings, steps=steps)
        settings = with_day(settings, store)
        say(f"loading {settings.model.name}")
        executor = executor_adapter.create(settings, registry, executor_options)
        stack.callback(executor.close)
        identity = identity_of(settings, executor.info, traces)
        vet(identity)
        doubts: list[str] = []
        if store.identity is not None:
            check_same(identity, store.identity, store.location)
            doubts = compare_with_run(store, identity, executor)
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
            executor=executor,
            doubts=doubts,
        )


def run_extraction(
    settings: ExtractionSettings,
    registry: Registry | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> Summary:
    """Problems in, stored latents out: open, run, close."""
    with open_extraction(settings, registry) as extraction:
        return extraction.run(report)


def check_samples(settings: ExtractionSettings) -> None:
    """Refuse to draw the same completion several times; a store that was begun so goes on.

    Raises:
        SettingsError: several samples at temperature 0.
    """
    samples = settings.problems.samples
    if samples > 1 and settings.sampling.temperature == 0 and not settings.problems.traces:
        raise SettingsError(
            f"problems.samples: at temperature 0 all {samples} samples of a problem are the same; "
            "take one, or a sampling.temperature above 0"
        )


def _let_go(store: LatentStore, fresh: bool) -> None:
    """Close a store; one that was made for this run, which never began, is taken away."""
    if fresh and isinstance(store, Discards):
        store.discard()
    else:
        store.close()


def _open_target(adapter: StoreAdapter, place: str, options: Any, dry: bool) -> LatentStore:
    if not dry:
        return adapter.create(place, "write", options)
    if adapter.exists(place):
        return adapter.create(place, "read", options)
    return AbsentStore(place)
