"""Hooks and registry: the one place that turns a name into an adapter.

A plugin is a module behind an entry point in the group `rjepa`. Its hooks return descriptors, which
name the adapter, its settings class and a factory; nothing heavy is imported before the factory is
called. Entry points are loaded one by one when a name is needed, first those which carry that very
name, each guarded: a plugin that raises on import never takes down a command that does not need it.
"""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

import attrs
import pluggy

from .errors import PluginError, UnknownAdapterError
from .ports.batch_scheduler import BatchScheduler
from .ports.executor import Executor
from .ports.latent_store import LatentStore, StoreMode
from .ports.llm_backend import LLMBackend
from .ports.memory_probe import MemoryProbe
from .ports.problem_source import ProblemSource
from .ports.store_tools import StoreTools
from .ports.world_model import WorldModel
from .settings import ExtractionSettings, ModelSettings, ProblemSettings
from .structuring import structure
from .train_settings import TrainSettings
from .training import TrainSummary, TrainWatch

GROUP = "rjepa"
hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@attrs.frozen
class NoSettings:
    """For adapters that have none."""


@attrs.frozen(kw_only=True)
class Adapter:
    """A descriptor: all that is known of an adapter before it is made.

    Attributes:
        name: by which it is asked for.
        summary: one line for `rjepa-cli plugins`.
        settings: attrs class of its own settings; cheap to import.
    """

    name: str
    summary: str = ""
    settings: type[Any] = NoSettings

    def configure(self, options: Mapping[str, Any], where: str) -> Any:
        """Its settings from plain values (`SettingsError` names the key under `where`)."""
        return structure(self.settings, options, where)


@attrs.frozen(kw_only=True)
class BackendAdapter(Adapter):
    """`create(model, settings)` loads the LLM.

    `diagnose()`, where there is one, tells `rjepa-cli doctor` what this backend would do here and
    why, as short lines by topic.
    """

    create: Callable[[ModelSettings, Any], LLMBackend]
    diagnose: Callable[[], Mapping[str, str]] | None = None


@attrs.frozen(kw_only=True)
class StoreAdapter(Adapter):
    """`create(location, mode, settings)` opens a store.

    In mode `read` it must exist (`StoreNotFoundError`); in mode `write` it is made if it does not.
    `exists(location)` tells whether a store of this kind is there. `tools()` gives what the adapter
    offers for whole stores (verify, merge, …), if it offers any.
    """

    create: Callable[[str, StoreMode, Any], LatentStore]
    exists: Callable[[str], bool]
    tools: Callable[[], StoreTools] | None = None


@attrs.frozen(kw_only=True)
class SchedulerAdapter(Adapter):
    """`create(settings)`."""

    create: Callable[[Any], BatchScheduler]


@attrs.frozen(kw_only=True)
class ExecutorAdapter(Adapter):
    """`create(run, registry, settings)` makes ready to do the work of a run: the LLM is loaded.

    Raises, besides what loading raises, `UsageError` where there is nothing to run on.
    """

    create: Callable[[ExtractionSettings, Registry, Any], Executor]


@attrs.frozen(kw_only=True)
class SourceAdapter(Adapter):
    """`create(location, problems, settings)`; `claims(location)` tells whether it reads that."""

    create: Callable[[str, ProblemSettings, Any], ProblemSource]
    claims: Callable[[str], bool]


@attrs.frozen(kw_only=True)
class ProbeAdapter(Adapter):
    """`create(device, settings)`; `claims(device)` tells whether it watches that device."""

    create: Callable[[str, Any], MemoryProbe]
    claims: Callable[[str], bool]


@attrs.frozen(kw_only=True)
class WorldModelAdapter(Adapter):
    """`open(location, device)` opens a trained world model; `claims(location)` tells whether it is
    one of its kind.

    `train(run, settings, watch)` trains one into the folder `run`, if the adapter can.
    """

    open: Callable[[str, str], WorldModel]
    claims: Callable[[str], bool]
    train: Callable[[str, TrainSettings, TrainWatch], TrainSummary] | None = None


class Hooks:
    """The hook specifications. Each returns descriptors; none takes an argument."""

    @hookspec
    def rjepa_backends(self) -> Iterable[BackendAdapter]:  # type: ignore[empty-body]
        """LLM backends."""

    @hookspec
    def rjepa_stores(self) -> Iterable[StoreAdapter]:  # type: ignore[empty-body]
        """Latent stores."""

    @hookspec
    def rjepa_world_models(self) -> Iterable[WorldModelAdapter]:  # type: ignore[empty-body]
        """World models: runs on disk, services."""

    @hookspec
    def rjepa_schedulers(self) -> Iterable[SchedulerAdapter]:  # type: ignore[empty-body]
        """Batch schedulers."""

    @hookspec
    def rjepa_executors(self) -> Iterable[ExecutorAdapter]:  # type: ignore[empty-body]
        """Executors: where the extraction loop runs."""

    @hookspec
    def rjepa_sources(self) -> Iterable[SourceAdapter]:  # type: ignore[empty-body]
        """Problem sources."""

    @hookspec
    def rjepa_probes(self) -> Iterable[ProbeAdapter]:  # type: ignore[empty-body]
        """Memory probes."""


KINDS: Mapping[type[Adapter], str] = {
    BackendAdapter: "backend",
    StoreAdapter: "store",
    SchedulerAdapter: "scheduler",
    ExecutorAdapter: "executor",
    SourceAdapter: "source",
    ProbeAdapter: "probe",
    WorldModelAdapter: "world_model",
}
A = TypeVar("A", bound=Adapter)


@attrs.frozen
class Plugin:
    """What is known of one entry point.

    Attributes:
        entry: name of the entry point.
        distribution: name and version of the distribution it came with.
        adapters: what its hooks returned.
        error: why it could not be loaded, in one line, or None.
        details: the whole traceback of that error.
    """

    entry: str
    distribution: str
    adapters: tuple[Adapter, ...] = ()
    error: str | None = None
    details: str = ""


class Registry:
    """Finds adapters by name. Make one a process; loading is done once an entry point."""

    def __init__(self, entries: Iterable[EntryPoint] | None = None) -> None:
        found = entry_points(group=GROUP) if entries is None else entries
        self._entries = list(dict.fromkeys(found))
        self._loaded: dict[int, Plugin] = {}
        self._manager = pluggy.PluginManager(GROUP)
        self._manager.add_hookspecs(Hooks)

    def find(self, kind: type[A], name: str) -> A:
        """The adapter of that kind and name.

        Raises:
            UnknownAdapterError: there is none; the nearest known name is suggested.
            PluginError: two distributions offer the same name, or the one that should failed.
        """
        order = sorted(range(len(self._entries)), key=lambda i: self._entries[i].name != name)
        for position, i in enumerate(order):
            plugin = self._load(i)
            matches = self._offers([plugin], kind, name)
            if matches:
                # Others under the same entry name may offer it too; that must not go unseen.
                rivals = [
                    self._load(j) for j in order[position + 1 :] if self._entries[j].name == name
                ]
                matches += self._offers(rivals, kind, name)
                if len(matches) > 1:
                    both = " and ".join(sorted(p.distribution for p, _ in matches))
                    raise PluginError(f"{KINDS[kind]} {name!r} is offered by {both}; uninstall one")
                return matches[0][1]
            if plugin.error and plugin.entry == name:
                raise PluginError(
                    f"{KINDS[kind]} {name!r} ({plugin.distribution}) failed to load: {plugin.error}"
                )
        raise UnknownAdapterError(self._unknown(kind, name))

    def each(self, kind: type[A]) -> list[A]:
        """All adapters of a kind; loads every entry point."""
        found = [a for p in self.plugins() for a in p.adapters if isinstance(a, kind)]
        return sorted(found, key=lambda a: a.name)

    def plugins(self) -> list[Plugin]:
        """Every entry point, loaded; failures are part of the answer."""
        return [self._load(i) for i in range(len(self._entries))]

    def _offers(
        self, plugins: Iterable[Plugin], kind: type[A], name: str
    ) -> list[tuple[Plugin, A]]:
        return [
            (p, a) for p in plugins for a in p.adapters if isinstance(a, kind) and a.name == name
        ]

    def _unknown(self, kind: type[Adapter], name: str) -> str:
        known = [a.name for a in self.each(kind)]
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}"
        failed = [p.entry for p in self.plugins() if p.error]
        if failed:
            hint += f" (failed to load: {', '.join(failed)}; see `rjepa-cli plugins`)"
        return f"unknown {KINDS[kind]} {name!r}; {hint}"

    def _load(self, index: int) -> Plugin:
        if index not in self._loaded:
            self._loaded[index] = self._load_entry(self._entries[index])
        return self._loaded[index]

    def _load_entry(self, entry: EntryPoint) -> Plugin:
        dist = entry.dist
        distribution = f"{dist.name} {dist.version}" if dist else "unknown distribution"
        try:
            module = entry.load()
            name = f"{distribution}:{entry.name}"
            self._manager.register(module, name)
            adapters: list[Adapter] = []
            for spec in KIND_HOOKS:
                for impl in getattr(self._manager.hook, spec).get_hookimpls():
                    if impl.plugin is module:
                        adapters.extend(_checked(impl.function(), spec))
        except (Exception, SystemExit) as error:
            line = f"{type(error).__name__}: {error}".splitlines()[0]
            return Plugin(entry.name, distribution, (), line, traceback.format_exc())
        return Plugin(entry.name, distribution, tuple(adapters))


KIND_HOOKS: Mapping[str, type[Adapter]] = {f"rjepa_{kind}s": cls for cls, kind in KINDS.items()}


def _checked(result: Iterable[Adapter], spec: str) -> list[Adapter]:
    adapters = list(result)
    wanted = KIND_HOOKS[spec]
    for adapter in adapters:
        if not isinstance(adapter, wanted):
            raise PluginError(
                f"{spec} returned {adapter!r}; it returns {wanted.__name__} descriptors"
            )
    return adapters
