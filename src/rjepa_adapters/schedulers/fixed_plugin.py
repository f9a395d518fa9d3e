"""Descriptor of the fixed scheduler."""

from __future__ import annotations

from collections.abc import Iterable

from rjepa_core.plugins import SchedulerAdapter, hookimpl

from .fixed import FixedScheduler, FixedSettings


@hookimpl
def rjepa_schedulers() -> Iterable[SchedulerAdapter]:
    return [
        SchedulerAdapter(
            name="fixed",
            summary="the same number of rows every time",
            settings=FixedSettings,
            create=FixedScheduler,
        )
    ]
