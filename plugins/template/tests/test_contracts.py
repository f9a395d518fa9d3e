"""Every adapter keeps the promises of its port: the suites come with rjepa."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import rjepa_template
from rjepa_template.backend import TemplateBackend
from rjepa_template.executor import TemplateExecutor
from rjepa_template.scheduler import TemplateScheduler
from rjepa_template.settings import BackendSettings, ExecutorSettings, SchedulerSettings
from rjepa_template.world_model import TemplateWorldModel, train

from rjepa_core.plugins.locate import open_store
from rjepa_core.plugins.registry import Registry
from rjepa_core.ports.backend import LLMBackend
from rjepa_core.ports.world_model import TrainWatch, WorldModel
from rjepa_core.settings.extraction import ExtractionSettings, ModelSettings
from rjepa_core.settings.training import DataSettings, TrainSettings
from rjepa_core.testing.backend_suite import BackendContract
from rjepa_core.testing.executor_suite import ExecutorContract, Make
from rjepa_core.testing.grader_suite import GraderContract
from rjepa_core.testing.plugin_suite import PluginContract
from rjepa_core.testing.probe_suite import ProbeContract
from rjepa_core.testing.samples import sample_identity, sample_record
from rjepa_core.testing.scheduler_suite import SchedulerContract
from rjepa_core.testing.source_suite import SourceContract
from rjepa_core.testing.store_suite import StoreContract
from rjepa_core.testing.world_model_suite import WorldModelContract


class TestPlugin(PluginContract):
    entry = "template"


class TestBackend(BackendContract):
    tolerance = 1e-5
    same_ids = 1.0

    @pytest.fixture
    def backend(self) -> Iterator[LLMBackend]:
        with TemplateBackend(ModelSettings(name="parrot"), BackendSettings()) as backend:
            yield backend


class TestStore(StoreContract):
    adapter = next(iter(rjepa_template.rjepa_stores()))

    def where(self, tmp_path: Path, name: str) -> str:
        return str(tmp_path / name)

    def vanish(self, tmp_path: Path, name: str) -> None:
        os.remove(tmp_path / name)


class TestScheduler(SchedulerContract):
    def make(self) -> TemplateScheduler:
        return TemplateScheduler(SchedulerSettings())


class TestExecutor(ExecutorContract):
    ahead = 1

    @pytest.fixture
    def make(self) -> Iterator[Make]:
        opened: list[TemplateExecutor] = []

        def make_one(settings: ExtractionSettings) -> TemplateExecutor:
            resting = ExecutorSettings(rest_s=0.001)
            opened.append(TemplateExecutor(settings, Registry(), resting))
            return opened[-1]

        yield make_one
        for executor in opened:
            executor.close()


class TestSource(SourceContract):
    adapter = next(iter(rjepa_template.rjepa_sources()))

    def location(self, tmp_path: Path) -> str:
        path = tmp_path / "some.problems.txt"
        path.write_text("What is 1 + 1?\n---\nStep 1: 2.\n\n\nWhat is 2 + 2?\n---\nStep 1: 4.\n")
        return str(path)

    def broken(self, tmp_path: Path) -> str:
        return str(tmp_path / "missing.problems.txt")

    def change(self, location: str) -> None:
        path = Path(location)
        path.write_text(path.read_text().replace("2 + 2", "2 + 3"))


class TestProbe(ProbeContract):
    adapter = next(iter(rjepa_template.rjepa_probes()))
    device = "template"


class TestGrader(GraderContract):
    adapter = next(iter(rjepa_template.rjepa_graders()))


class TestWorldModel(WorldModelContract):
    @pytest.fixture
    def world_model(self, tmp_path: Path) -> WorldModel:
        identity = sample_identity()
        store = open_store(f"template:{tmp_path / 'store'}", "write")
        store.begin(identity)
        store.write([sample_record(identity, f"p-{i}", steps=4) for i in range(20)])
        store.close()
        data = DataSettings(stores=(f"template:{tmp_path / 'store'}",))
        train(str(tmp_path / "run"), TrainSettings(data=data), TrainWatch())
        return TemplateWorldModel(str(tmp_path / "run"), "cpu")
