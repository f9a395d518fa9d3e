"""One adapter for each port, each as small as its contract allows.

This module is imported whenever plugins are listed, so it holds the hooks and nothing heavy. What
a factory needs is imported when it is called. Delete the hooks that you do not need.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rjepa_core.plugins import (
    BackendAdapter,
    ExecutorAdapter,
    GraderAdapter,
    ProbeAdapter,
    SchedulerAdapter,
    SourceAdapter,
    StoreAdapter,
    WorldModelAdapter,
    hookimpl,
)

from .settings import BackendSettings, ExecutorSettings, SchedulerSettings, TemplateStoreSettings

if TYPE_CHECKING:
    from rjepa_core.plugins import Registry
    from rjepa_core.ports.backend import LLMBackend
    from rjepa_core.ports.executor import Executor
    from rjepa_core.ports.grader import Grader
    from rjepa_core.ports.probe import MemoryProbe
    from rjepa_core.ports.scheduler import BatchScheduler
    from rjepa_core.ports.source import ProblemSource
    from rjepa_core.ports.store import LatentStore, StoreMode
    from rjepa_core.ports.world_model import TrainSummary, TrainWatch, WorldModel
    from rjepa_core.settings import (
        ExtractionSettings,
        ModelSettings,
        ProblemSettings,
        TrainSettings,
    )


@hookimpl
def rjepa_backends() -> Iterable[BackendAdapter]:
    def create(model: ModelSettings, settings: BackendSettings) -> LLMBackend:
        from .backend import TemplateBackend

        return TemplateBackend(model, settings)

    summary = "repeats the words of the problem; a template for a backend of your own"
    return [
        BackendAdapter(name="template", summary=summary, settings=BackendSettings, create=create)
    ]


@hookimpl
def rjepa_stores() -> Iterable[StoreAdapter]:
    def create(location: str, mode: StoreMode, settings: TemplateStoreSettings) -> LatentStore:
        from .store import TemplateStore

        return TemplateStore(location, mode, settings)

    def exists(location: str) -> bool:
        from .store import exists

        return exists(location)

    summary = "one SQLite file; a template for a store of your own"
    return [
        StoreAdapter(
            name="template",
            summary=summary,
            settings=TemplateStoreSettings,
            create=create,
            exists=exists,
        )
    ]


@hookimpl
def rjepa_schedulers() -> Iterable[SchedulerAdapter]:
    def create(settings: SchedulerSettings) -> BatchScheduler:
        from .scheduler import TemplateScheduler

        return TemplateScheduler(settings)

    summary = "one row more, or half as many; a template for a scheduler of your own"
    return [
        SchedulerAdapter(
            name="template", summary=summary, settings=SchedulerSettings, create=create
        )
    ]


@hookimpl
def rjepa_executors() -> Iterable[ExecutorAdapter]:
    def create(run: ExtractionSettings, registry: Registry, settings: ExecutorSettings) -> Executor:
        from .executor import TemplateExecutor

        return TemplateExecutor(run, registry, settings)

    summary = "rests between steps; a template for an executor of your own"
    return [
        ExecutorAdapter(name="template", summary=summary, settings=ExecutorSettings, create=create)
    ]


@hookimpl
def rjepa_sources() -> Iterable[SourceAdapter]:
    def create(location: str, problems: ProblemSettings, settings: Any) -> ProblemSource:
        from .source import TemplateSource

        return TemplateSource(location, problems, settings)

    def claims(location: str) -> bool:
        return location.endswith(".problems.txt")

    summary = "one problem per paragraph (.problems.txt); a template for a source of your own"
    return [SourceAdapter(name="template", summary=summary, create=create, claims=claims)]


@hookimpl
def rjepa_probes() -> Iterable[ProbeAdapter]:
    def create(device: str, settings: Any) -> MemoryProbe:
        from .probe import TemplateProbe

        return TemplateProbe(device, settings)

    summary = "Linux's memory, for a device named template; a template for a probe of your own"
    return [
        ProbeAdapter(
            name="template",
            summary=summary,
            create=create,
            claims=lambda device: device == "template",
        )
    ]


@hookimpl
def rjepa_graders() -> Iterable[GraderAdapter]:
    def create(settings: Any) -> Grader:
        from .grader import TemplateGrader

        return TemplateGrader(settings)

    summary = "the same digits; a template for a grader of your own"
    return [GraderAdapter(name="template", summary=summary, create=create)]


@hookimpl
def rjepa_world_models() -> Iterable[WorldModelAdapter]:
    def open_one(location: str, device: str) -> WorldModel:
        from .world_model import TemplateWorldModel

        return TemplateWorldModel(location, device)

    def claims(location: str) -> bool:
        from .world_model import claims

        return claims(location)

    def train(run: str, settings: TrainSettings, watch: TrainWatch) -> TrainSummary:
        from .world_model import train

        return train(run, settings, watch)

    summary = "the mean of the context; a template for a world model of your own"
    return [
        WorldModelAdapter(
            name="template", summary=summary, open=open_one, claims=claims, train=train
        )
    ]
