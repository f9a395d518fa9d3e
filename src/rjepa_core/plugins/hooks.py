"""Descriptors: all that is known of an adapter before it is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import attrs
import pluggy

from ..config import structure
from ..ports.backend import LLMBackend
from ..ports.executor import Executor
from ..ports.grader import Grader
from ..ports.maintenance import Maintenance
from ..ports.probe import MemoryProbe
from ..ports.scheduler import BatchScheduler
from ..ports.source import ProblemSource
from ..ports.store import LatentStore, StoreMode
from ..ports.world_model import TrainSummary, TrainWatch, WorldModel
from ..settings import ExtractionSettings, ModelSettings, ProblemSettings, TrainSettings

if TYPE_CHECKING:
    from ..scoring import Served
    from .registry import Registry


HOOKS_VERSION = 2
PROJECT = "rjepa"
# Entry points of plugins for this version of the hooks; version 1 was the bare project's name.
GROUP = f"{PROJECT}.v{HOOKS_VERSION}"


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
    """An LLM backend.

    Attributes:
        create: `create(model, settings)` loads the LLM.
        diagnose: `diagnose()` tells `rjepa-cli doctor` what this backend would do here and why, as
            short lines by topic.
        context: `context(model, settings)` tells `ModelInfo.context` before the LLM is loaded; None
            where that cannot be told.
    """

    create: Callable[[ModelSettings, Any], LLMBackend]
    diagnose: Callable[[], Mapping[str, str]] | None = None
    context: Callable[[ModelSettings, Any], int | None] | None = None


@attrs.frozen(kw_only=True)
class StoreAdapter(Adapter):
    """A latent store.

    Attributes:
        create: `create(location, mode, settings)` opens a store. In mode `read` it must exist
            (`StoreNotFoundError`); in mode `write` it is made if it does not.
        exists: `exists(location)` tells whether a store of this kind is there.
        maintenance: `maintenance()` gives what verifies, repairs and compacts its stores.
    """

    create: Callable[[str, StoreMode, Any], LatentStore]
    exists: Callable[[str], bool]
    maintenance: Callable[[], Maintenance] | None = None


@attrs.frozen(kw_only=True)
class SchedulerAdapter(Adapter):
    """A batch scheduler.

    Attributes:
        create: `create(settings)` makes one, for one run.
    """

    create: Callable[[Any], BatchScheduler]


@attrs.frozen(kw_only=True)
class ExecutorAdapter(Adapter):
    """Where the extraction loop runs.

    Attributes:
        create: `create(run, registry, settings)` makes ready to do the work of a run: the LLM is
            loaded. Raises, besides what loading raises, `UsageError` where there is nothing to run
            on.
    """

    create: Callable[[ExtractionSettings, Registry, Any], Executor]


@attrs.frozen(kw_only=True)
class SourceAdapter(Adapter):
    """A problem source.

    Attributes:
        create: `create(location, problems, settings)` opens it; nothing is read yet.
        claims: `claims(location)` tells whether it reads that.
    """

    create: Callable[[str, ProblemSettings, Any], ProblemSource]
    claims: Callable[[str], bool]


@attrs.frozen(kw_only=True)
class ProbeAdapter(Adapter):
    """A memory probe.

    Attributes:
        create: `create(device, settings)` makes one for a device.
        claims: `claims(device)` tells whether it watches that device.
    """

    create: Callable[[str, Any], MemoryProbe]
    claims: Callable[[str], bool]


@attrs.frozen(kw_only=True)
class WorldModelAdapter(Adapter):
    """A kind of world model.

    Attributes:
        open: `open(location, device)` opens a trained world model.
        claims: `claims(location)` tells whether one of its kind is there.
        train: `train(run, settings, watch)` trains one into the folder `run`, if the adapter can.
    """

    open: Callable[[str, str], WorldModel]
    claims: Callable[[str], bool]
    train: Callable[[str, TrainSettings, TrainWatch], TrainSummary] | None = None


def nothing_to_check(settings: Any) -> None:
    """Of a service that can only find out by starting."""


@attrs.frozen(kw_only=True)
class ServiceAdapter(Adapter):
    """A way to answer for a world model.

    Attributes:
        serve: `serve(served, settings, say)` answers until it is told to stop, and returns once all
            that was accepted is answered; `say` is told where it listens.
        check: `check(settings)` is called before any model is loaded, and raises `UsageError` for
            what would stop it then: a port that is taken.
    """

    serve: Callable[[Served, Any, Callable[[str], None]], None]
    check: Callable[[Any], None] = nothing_to_check


@attrs.frozen(kw_only=True)
class GraderAdapter(Adapter):
    """A grader of answers.

    Attributes:
        create: `create(settings)` makes one; raises `UsageError` where it cannot work, for want of
            a library, say.
    """

    create: Callable[[Any], Grader]


hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


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

    @hookspec
    def rjepa_graders(self) -> Iterable[GraderAdapter]:  # type: ignore[empty-body]
        """Graders: whether an answer is right."""

    @hookspec
    def rjepa_services(self) -> Iterable[ServiceAdapter]:  # type: ignore[empty-body]
        """Services: what a world model is asked through from elsewhere."""


KINDS: Mapping[type[Adapter], str] = {
    BackendAdapter: "backend",
    StoreAdapter: "store",
    SchedulerAdapter: "scheduler",
    ExecutorAdapter: "executor",
    SourceAdapter: "source",
    ProbeAdapter: "probe",
    WorldModelAdapter: "world_model",
    GraderAdapter: "grader",
    ServiceAdapter: "service",
}


KIND_HOOKS: Mapping[str, type[Adapter]] = {f"rjepa_{kind}s": cls for cls, kind in KINDS.items()}
