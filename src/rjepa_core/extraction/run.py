"""Open an extraction, from settings to what can be run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import attrs

from ..config import as_section, settings_of, structure, unstructure
from ..domain.identity import Identity, check_same
from ..errors import ArgumentError, SettingsError, StoreExistsError
from ..plugins import (
    Adapter,
    BackendAdapter,
    ExecutorAdapter,
    Registry,
    SchedulerAdapter,
    StoreAdapter,
    find_store,
    open_sources,
    open_stored_traces,
    progress_bar,
)
from ..ports.executor import Progress
from ..ports.progress import ProgressBar
from ..ports.source import ProblemSource
from ..ports.store import Discards, LatentStore
from ..settings import DEFAULT_TEMPLATES, ExtractionSettings, PromptSettings
from ..text import count
from .comparison import read_once
from .dry_run import AbsentStore, check_room, expected_room
from .engine import check_engine
from .given import PYTHON, GivenProblem, GivenSource
from .opened import Extraction, Summary
from .run_identity import as_stored, compare_with_run, identity_of, with_day
from .work import StoredTraces, Worklist


@contextmanager
def open_extraction(
    settings: ExtractionSettings | Mapping[str, Any],
    registry: Registry | None = None,
    say: Callable[[str], None] = lambda line: None,
    dry: bool = False,
    sources: Sequence[ProblemSource] | None = None,
    vet: Callable[[Identity], None] = lambda identity: None,
) -> Iterator[Extraction]:
    """Check and open all that an extraction needs, cheapest first.

    The input is read once, and compared with what the store holds, before a store is created and
    the model is loaded, so that mistakes show early. A store created here is removed again if
    something is wrong before the run begins.

    Args:
        settings: of the run, or its sections and keys as in YAML.
        registry: finds the adapters.
        say: called with messages about progress.
        dry: only for `Extraction.trial`: the store is read, never created or changed.
        sources: read in place of those that the settings name; the names stay in the history.
        vet: called with the run's identity before the store gets it; raises to refuse.

    Raises:
        UsageError: anything that the user can fix before hours are spent.
    """
    registry = registry or Registry()
    settings = _asked(settings)
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
            work = StoredTraces(traces, settings.problems.limit, settings.problems.part)
        else:
            work = Worklist(
                open_sources(settings.problems, registry) if sources is None else sources,
                settings.problems.samples,
                settings.problems.limit,
                given=bool(settings.problems.traces),
                shard=settings.problems.part,
            )
        fresh = not store_adapter.exists(place)
        store = None
        if fresh:
            check_samples(settings)
        else:
            store = _open_target(store_adapter, place, store_options, dry)
            stack.callback(_close, store, fresh)
            _check_resumed(store, settings.run.resume)
        say("reading the problems")
        known = AbsentStore(place) if store is None else store
        asked = read_once(work, known, settings.run.retry_failed)
        if store is None:
            store = _open_target(store_adapter, place, store_options, dry)
            stack.callback(_close, store, fresh)
            # Unless another process made it in the meantime.
            _check_resumed(store, False)
        if store.identity is not None:
            steps = settings.steps.with_stored_version(store.identity.space.steps)
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
        maintenance = (store_adapter.maintenance(), place) if store_adapter.maintenance else None
        room = None
        if maintenance is not None:
            room = expected_room(
                *maintenance, identity, settings, asked.survey, store.stats(), asked.before.missing
            )
        if not dry:
            check_room(room, store.location, settings.run.force)
            store.begin(identity)
        yield Extraction(
            settings=settings,
            asked=asked,
            store=store,
            identity=identity,
            room=room,
            maintenance=maintenance,
            executor=executor,
            doubts=doubts,
        )


def run_extraction(
    settings: ExtractionSettings | Mapping[str, Any],
    registry: Registry | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
    progress: bool | str = False,
    problems: Iterable[GivenProblem] | None = None,
) -> Summary:
    """Open an extraction, run it and close it: problems in, stored latents out.

    An interrupt commits what is finished; the same call with `run.resume` goes on from there.

    Args:
        settings: of the run, or its sections and keys as in YAML.
        registry: finds the adapters.
        report: called after each step of the session, with the counts of this run.
        progress: whether a bar is shown, or the name of the adapter that shows it.
        problems: in place of those that the settings name: dicts with the usual fields (`question`
            or another name of the statement, `id`, `domain`, `answer`), `Problem`s, or statements.
            One without an id gets that of a file's row: from its statement.

    Returns:
        What was done: numbers of records, failures and tokens, and seconds.

    Raises:
        UsageError: anything that the user can fix before hours are spent; nothing was written.
        ArgumentError: a problem cannot be understood; the message names its place.
        DiskFullError: the disk is full; what was committed is kept.
        BackendError: the LLM cannot go on.
    """
    registry = registry or Registry()
    sources = None
    if problems is not None:
        settings = _asked(settings)
        sources = [GivenSource.of(problems, settings.problems)]
        settings = _without_sources(settings)
    with (
        progress_bar(progress, registry) as bar,
        open_extraction(settings, registry, sources=sources) as extraction,
    ):
        return run_shown(extraction, bar, report)


def _without_sources(settings: ExtractionSettings) -> ExtractionSettings:
    """Return settings of a run whose problems were given in Python."""
    own = settings.problems
    if own.traces or own.sources not in ((), (PYTHON,)):
        named = ", ".join(own.traces or own.sources)
        raise ArgumentError(
            f"problems: problems were given, and the settings name others ({named}); leave one out"
        )
    return attrs.evolve(settings, problems=attrs.evolve(own, sources=(PYTHON,)))


def run_shown(
    extraction: Extraction,
    bar: ProgressBar,
    report: Callable[[Progress], None] = lambda progress: None,
) -> Summary:
    """Run an opened extraction, and show how far it is."""

    def on_report(progress: Progress) -> None:
        failed = f"{count(progress.failures, 'failure')}" if progress.failures else ""
        done = progress.records + progress.failures
        bar.show("extracting", done, extraction.before.missing, failed)
        report(progress)

    return extraction.run(on_report)


def check_samples(settings: ExtractionSettings) -> None:
    """Refuse to draw the same completion several times in a new store.

    Raises:
        SettingsError: there are several samples at temperature 0.
    """
    samples = settings.problems.samples
    if samples > 1 and settings.sampling.temperature == 0 and not settings.problems.traces:
        raise SettingsError(
            f"problems.samples: at temperature 0 all {samples} samples of a problem are the same; "
            "take one, or a sampling.temperature above 0"
        )


def _check_resumed(store: LatentStore, resume: bool) -> None:
    """Refuse a store that holds something, unless the run is to continue it."""
    if (len(store) or next(store.failures(), None)) and not resume:
        raise StoreExistsError(
            f"{store.location} holds {count(len(store), 'record')}; "
            "set run.resume to continue it, or use another store.path"
        )


def _close(store: LatentStore, fresh: bool) -> None:
    """Close a store; one created for this run is removed unless the run began."""
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


_ADAPTERS: tuple[tuple[str, type[Adapter]], ...] = (
    ("backend", BackendAdapter),
    ("scheduler", SchedulerAdapter),
    ("executor", ExecutorAdapter),
)


def resolve_extraction(
    values: Mapping[str, Any], registry: Registry | None = None
) -> tuple[ExtractionSettings, dict[str, Any]]:
    """Return the settings of an extraction, and the same as plain values including the adapters'.

    Templates that are given are added to the default ones.

    Args:
        values: sections and keys, as in YAML or JSON; see `structure`.
        registry: finds the adapters.

    Raises:
        UsageError: a setting is invalid, and the message names its full key; or there is no such
            adapter.
    """
    registry = registry or Registry()
    settings = structure(ExtractionSettings, _with_default_templates(values))
    if settings.problems.traces and settings.problems.samples > 1:
        raise SettingsError(
            "problems.samples: problems.traces encodes each solution given once; leave it out"
        )
    plain = unstructure(settings)
    adapters = {
        section: registry.find(kind, getattr(settings, section).name) for section, kind in _ADAPTERS
    }
    for section, adapter in (*adapters.items(), ("store", find_store(settings.store, registry)[0])):
        own = adapter.configure(getattr(settings, section).options, section)
        plain[section].update(unstructure(own))
    return settings, plain


def _asked(settings: ExtractionSettings | Mapping[str, Any]) -> ExtractionSettings:
    asked: ExtractionSettings = settings_of(ExtractionSettings, _with_default_templates(settings))
    return asked


def _with_default_templates(values: Any) -> Any:
    if not isinstance(values, Mapping):
        return values
    prompt = as_section(PromptSettings, values.get("prompt"))
    given = prompt.get("templates", {}) if isinstance(prompt, Mapping) else None
    if not isinstance(prompt, Mapping) or not isinstance(given, Mapping):
        # `structure` reports what is wrong with it.
        return values
    return {**values, "prompt": {**prompt, "templates": {**DEFAULT_TEMPLATES, **given}}}
