"""Descriptor of the adaptive scheduler."""

from __future__ import annotations

from collections.abc import Iterable

from rjepa_core.plugins import SchedulerAdapter, hookimpl

from .adaptive import AdaptiveScheduler, AdaptiveSettings


@hookimpl
def rjepa_schedulers() -> Iterable[SchedulerAdapter]:
    return [
        SchedulerAdapter(
            name="adaptive",
            summary="finds the fastest number of rows that fits, all through the run",
            settings=AdaptiveSettings,
            create=AdaptiveScheduler,
        )
    ]
