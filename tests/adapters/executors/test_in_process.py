"""The plain loop in this process against the executors' contract."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rjepa_core.plugins.hooks import ExecutorAdapter
from rjepa_core.plugins.registry import Registry
from rjepa_core.ports.executor import Executor
from rjepa_core.settings.extraction import ExtractionSettings
from rjepa_core.testing.executor_suite import ExecutorContract, Make


class TestInProcess(ExecutorContract):
    ahead = 1

    @pytest.fixture
    def make(self) -> Iterator[Make]:
        opened: list[Executor] = []

        def make_one(settings: ExtractionSettings) -> Executor:
            registry = Registry()
            adapter = registry.find(ExecutorAdapter, "in-process")
            opened.append(adapter.create(settings, registry, adapter.configure({}, "executor")))
            return opened[-1]

        yield make_one
        for executor in opened:
            executor.close()
