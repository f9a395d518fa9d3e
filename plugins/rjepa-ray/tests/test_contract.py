"""The executor on a real Ray with two workers, against the executors' contract."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rjepa_core.plugins.hooks import ExecutorAdapter
from rjepa_core.plugins.registry import Registry
from rjepa_core.ports.executor import Executor
from rjepa_core.settings.extraction import ExtractionSettings
from rjepa_core.testing.executor_suite import ExecutorContract, Make


@pytest.mark.usefixtures("shared_ray")
class TestRay(ExecutorContract):
    @pytest.fixture
    def make(self) -> Iterator[Make]:
        opened: list[Executor] = []

        def make_one(settings: ExtractionSettings) -> Executor:
            registry = Registry()
            adapter = registry.find(ExecutorAdapter, "ray")
            own = adapter.configure({"workers": 2, "cpus": 1}, "executor")
            opened.append(adapter.create(settings, registry, own))
            return opened[-1]

        yield make_one
        for executor in opened:
            executor.close()
