"""The executor that runs the extraction loop in this process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rjepa_core.extraction import open_engine
from rjepa_core.plugins import ExecutorAdapter, NoSettings, Registry, hookimpl
from rjepa_core.ports.backend import ModelInfo
from rjepa_core.ports.executor import Ending, Executor, Progress, Watch, WorkQueue
from rjepa_core.ports.store import RecordSink
from rjepa_core.settings import ExtractionSettings


class InProcessExecutor(Executor):
    """An executor of one engine, whose loop runs in the caller's thread."""

    def __init__(
        self, settings: ExtractionSettings, registry: Registry, own: NoSettings | None = None
    ) -> None:
        self._engine = open_engine(settings, registry)

    @property
    def info(self) -> ModelInfo:
        return self._engine.info

    @property
    def rows(self) -> int:
        return self._engine.rows

    def run(
        self,
        layers: tuple[int, ...],
        pending: WorkQueue,
        missing: int,
        sink: RecordSink,
        watch: Watch,
    ) -> tuple[Ending, Progress]:
        return self._engine.extract(layers, pending, sink, watch)

    def close(self) -> None:
        self._engine.close()


def _create(settings: ExtractionSettings, registry: Registry, own: Any) -> Executor:
    return InProcessExecutor(settings, registry, own)


@hookimpl
def rjepa_executors() -> Iterable[ExecutorAdapter]:
    return [
        ExecutorAdapter(
            name="in-process",
            summary="one session, in the process that was called",
            create=_create,
        )
    ]
