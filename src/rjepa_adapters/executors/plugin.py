"""Descriptor of the executor in this process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rjepa_core.plugins import ExecutorAdapter, Registry, hookimpl
from rjepa_core.ports.executor import Executor
from rjepa_core.settings import ExtractionSettings


def _create(settings: ExtractionSettings, registry: Registry, own: Any) -> Executor:
    from .in_process import InProcessExecutor

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
