"""An executor: the ordinary loop, which rests between steps to spare a shared machine.

An executor with many workers opens an engine in each (`rjepa_core.extraction.open_engine`) and
writes their results into one sink; `plugins/rjepa-ray` is an example.
"""

from __future__ import annotations

import time

import attrs

from rjepa_core.extraction import open_engine
from rjepa_core.plugins import Registry
from rjepa_core.ports.backend import ModelInfo
from rjepa_core.ports.executor import Ending, Progress, Watch, WorkQueue
from rjepa_core.ports.store import RecordSink
from rjepa_core.settings import ExtractionSettings

from .settings import ExecutorSettings


class TemplateExecutor:
    """See the module's docstring; creating an executor loads the backend."""

    def __init__(
        self, run: ExtractionSettings, registry: Registry, settings: ExecutorSettings
    ) -> None:
        self._engine = open_engine(run, registry)
        self._rest_s = settings.rest_s

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
        def report(progress: Progress) -> None:
            watch.report(progress)
            if self._rest_s:
                # It only waits here, so an interrupt may be raised here.
                with watch.computing():
                    time.sleep(self._rest_s)

        return self._engine.extract(layers, pending, sink, attrs.evolve(watch, report=report))

    def close(self) -> None:
        self._engine.close()
