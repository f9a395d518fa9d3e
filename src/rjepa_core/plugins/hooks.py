"""The hooks that plugins implement, and the descriptors that they return."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import pluggy

from ..config import structure
from ..ports.backend import LLMBackend
from ..ports.executor import Executor
from ..ports.grader import Grader
from ..ports.maintenance import Maintenance
from ..ports.probe import MemoryProbe
from ..ports.progress import ProgressBar
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
# Group of the entry points for this version of the hooks; version 1 had no suffix.
GROUP = f"{PROJECT}.v{HOOKS_VERSION}"


@attrs.frozen
class NoSettings:
    """Settings of adapters that have none."""


@attrs.frozen(kw_only=True)
class Adapter:
    """A descriptor: what is known about an adapter before it is created.

    Attributes:
        name: the name by which it is selected.
        summary: one line for `rjepa-cli plugins`.
        settings: attrs class of its own settings; cheap to import.
    """

    name: str
    summary: str = ""
    settings: type[Any] = NoSettings

    def configure(self, options: Mapping[str, Any], where: str) -> Any:
        """Return its settings from plain values.

        Raises:
            SettingsError: a value is invalid; the message names its key under `where`.
        """
        return structure(self.settings, options, where)


@attrs.frozen(kw_only=True)
class BackendAdapter(Adapter):
    """An LLM backend.

    Attributes:
        create: `create(model, settings)` loads the LLM.
        diagnose: `diagnose()` returns short lines by topic for `rjepa-cli doctor`: what this
            backend would do here and why.
        context: `context(model, settings)` returns `ModelInfo.context` before the LLM is loaded;
            None if unknown.
        models: `models()` returns names of models that can be opened without a download, for a
            shell to complete; quick, and nothing is loaded.
    """

    create: Callable[[ModelSettings, Any], LLMBackend]
    diagnose: Callable[[], Mapping[str, str]] | None = None
    context: Callable[[ModelSettings, Any], int | None] | None = None
    models: Callable[[], Sequence[str]] | None = None


@attrs.frozen(kw_only=True)
class StoreAdapter(Adapter):
    """A latent store.

    Attributes:
        create: `create(location, mode, settings)` opens a store. In mode `read` it must exist
            (`StoreNotFoundError`); in mode `write` it is created if it does not.
        exists: `exists(location)` returns whether a store of this kind is there.
        maintenance: `maintenance()` returns what verifies, repairs and compacts its stores.
        beside: `beside(location)` returns a place on this machine, beside which what is made from
            a store is kept, where that cannot be beside the location itself.
    """

    create: Callable[[str, StoreMode, Any], LatentStore]
    exists: Callable[[str], bool]
    maintenance: Callable[[], Maintenance] | None = None
    beside: Callable[[str], str] | None = None


@attrs.frozen(kw_only=True)
class SchedulerAdapter(Adapter):
    """A batch scheduler.

    Attributes:
        create: `create(settings)` returns a scheduler for one run.
    """

    create: Callable[[Any], BatchScheduler]


@attrs.frozen(kw_only=True)
class ExecutorAdapter(Adapter):
    """Where the extraction loop runs.

    Attributes:
        create: `create(run, registry, settings)` returns an executor for a run, with the LLM
            loaded. Besides what loading raises, it raises `UsageError` if there is nothing to run
            on.
    """

    create: Callable[[ExtractionSettings, Registry, Any], Executor]


@attrs.frozen(kw_only=True)
class SourceAdapter(Adapter):
    """A problem source.

    Attributes:
        create: `create(location, problems, settings)` opens a source; nothing is read yet.
        claims: `claims(location)` returns whether it reads that location.
    """

    create: Callable[[str, ProblemSettings, Any], ProblemSource]
    claims: Callable[[str], bool]


@attrs.frozen(kw_only=True)
class ProbeAdapter(Adapter):
    """A memory probe.

    Attributes:
        create: `create(device, settings)` returns a probe for a device.
        claims: `claims(device)` returns whether it measures that device.
    """

    create: Callable[[str, Any], MemoryProbe]
    claims: Callable[[str], bool]


@attrs.frozen(kw_only=True)
class WorldModelAdapter(Adapter):
    """A kind of world model.

    Attributes:
        open: `open(location, device)` opens a trained world model.
        claims: `claims(location)` returns whether one of its kind is there.
        train: `train(run, settings, watch)` trains one into the folder `run`; None if the adapter
            cannot train.
    """

    open: Callable[[str, str], WorldModel]
    claims: Callable[[str], bool]
    train: Callable[[str, TrainSettings, TrainWatch], TrainSummary] | None = None


@attrs.frozen(kw_only=True)
class PretrainedRunAdapter(Adapter):
    """A trained world model that a distribution carries, found by its name.

    Attributes:
        location: `location()` returns the place that a world-model adapter opens, such as the
            folder of a run inside the distribution.
    """

    location: Callable[[], str]


def nothing_to_check(settings: Any) -> None:
    """Accept any settings: the check of a service that can only find out by starting."""


@attrs.frozen(kw_only=True)
class ServiceAdapter(Adapter):
    """A service that answers requests to a world model.

    Attributes:
        serve: `serve(served, settings, say)` answers until it is told to stop, and returns once
            every accepted request is answered; `say` is called with the address it listens on.
        check: `check(settings)` is called before any model is loaded, and raises `UsageError` for
            what would prevent a start, such as a port in use.
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


@attrs.frozen(kw_only=True)
class ProgressAdapter(Adapter):
    """What shows how far a long call is, where its caller asks for that.

    Attributes:
        create: `create()` returns a bar that shows nothing yet; raises `UsageError` where it cannot
            work, for want of a library, say.
    """

    create: Callable[[], ProgressBar]


hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Hooks:
    """The hook specifications. Each hook takes no argument and returns descriptors."""

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
    def rjepa_pretrained_runs(self) -> Iterable[PretrainedRunAdapter]:  # type: ignore[empty-body]
        """Trained world models that come with a distribution, by name."""

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
    def rjepa_progress_bars(self) -> Iterable[ProgressAdapter]:  # type: ignore[empty-body]
        """Progress bars for calls from Python."""

    @hookspec
    def rjepa_services(self) -> Iterable[ServiceAdapter]:  # type: ignore[empty-body]
        """Services, through which other programs use a world model."""


KINDS: Mapping[type[Adapter], str] = {
    BackendAdapter: "backend",
    StoreAdapter: "store",
    SchedulerAdapter: "scheduler",
    ExecutorAdapter: "executor",
    SourceAdapter: "source",
    ProbeAdapter: "probe",
    WorldModelAdapter: "world_model",
    PretrainedRunAdapter: "pretrained_run",
    GraderAdapter: "grader",
    ProgressAdapter: "progress_bar",
    ServiceAdapter: "service",
}


KIND_HOOKS: Mapping[str, type[Adapter]] = {f"rjepa_{kind}s": cls for cls, kind in KINDS.items()}
