"""Names to open adapters: stores, sources, probes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from .errors import InputError, SettingsError, UsageError
from .plugins import ProbeAdapter, Registry, SourceAdapter, StoreAdapter
from .ports.latent_store import LatentStore, StoreMode
from .ports.memory_probe import MemoryProbe
from .ports.problem_source import ProblemSource
from .settings import ProblemSettings, StoreSettings
from .structuring import unknown_key

DEFAULT_STORE = "lmdb"


def open_store(
    path: str,
    mode: StoreMode = "read",
    registry: Registry | None = None,
    options: Mapping[str, Any] | None = None,
) -> LatentStore:
    """Open a store by its place: a path (LMDB), or `NAME:PLACE` for another adapter."""
    registry = registry or Registry()
    name, place = split_location(path)
    adapter = registry.find(StoreAdapter, name)
    return adapter.create(place, mode, adapter.configure(options or {}, "store"))


def split_location(path: str, default: str = DEFAULT_STORE) -> tuple[str, str]:
    """Adapter's name and place. A single letter before the colon is a Windows drive."""
    name, colon, place = path.partition(":")
    if colon and len(name) > 1 and name.replace("-", "").isalnum():
        return name, place
    return default, path


def find_store(settings: StoreSettings, registry: Registry) -> tuple[StoreAdapter, str]:
    """The adapter of a run's store, and the store's place."""
    name, place = split_location(settings.path, settings.name)
    return registry.find(StoreAdapter, name), place


def open_sources(problems: ProblemSettings, registry: Registry) -> list[ProblemSource]:
    """The sources of a run, in order.

    Raises:
        UsageError: none are named, or both kinds are.
        InputError: no adapter reads one of them.
    """
    adapters = registry.each(SourceAdapter)
    check_options(problems, adapters)
    if problems.traces and problems.sources:
        raise UsageError("give either --problems or --traces, not both")
    if not problems.traces and not problems.sources:
        raise UsageError("no problems: add --problems FILE (or --problems demo)")
    sources = []
    for location in problems.traces or problems.sources:
        adapter = next((a for a in adapters if a.claims(location)), None)
        if adapter is None:
            raise InputError(
                f"{location}: no such file, or a directory or file that no source reads; "
                f"known kinds: {', '.join(a.name for a in adapters)}"
            )
        options = adapter.configure(
            problems.options.get(adapter.name, {}), f"problems.{adapter.name}"
        )
        sources.append(adapter.create(location, problems, options))
    return sources


def check_options(problems: ProblemSettings, adapters: list[SourceAdapter]) -> None:
    """A source's settings stand under its name; any other key is a misspelt one."""
    names = [a.name for a in adapters]
    known = [a.name for a in attrs.fields(ProblemSettings) if a.name != "options"]
    for key, value in problems.options.items():
        if key not in names:
            raise SettingsError(unknown_key(f"problems.{key}", known + names))
        if not isinstance(value, Mapping):
            raise SettingsError(
                f"problems.{key}: expected the settings of source {key!r}, got {value!r}"
            )


def open_stored_traces(problems: ProblemSettings, registry: Registry) -> LatentStore | None:
    """The store behind `--traces`, if it is one."""
    for location in problems.traces:
        name, place = split_location(location)
        known = {a.name: a for a in registry.each(StoreAdapter)}
        if name in known and known[name].exists(place):
            if len(problems.traces) > 1 or problems.sources:
                raise UsageError(f"--traces {location} is a store; give it alone")
            store = open_store(location, "read", registry)
            if store.identity is None:
                store.close()
                raise UsageError(f"{location} holds no records to encode")
            return store
    return None


def find_probe(registry: Registry, device: str) -> MemoryProbe | None:
    """A probe that watches the device, if any adapter has one."""
    for adapter in registry.each(ProbeAdapter):
        if adapter.claims(device):
            return adapter.create(device, adapter.configure({}, "probe"))
    return None
