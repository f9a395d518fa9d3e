"""The public contract of a backend, on the real engine with SmolLM2."""

from __future__ import annotations

import pytest

from rjepa_core.ports.backend import LLMBackend
from rjepa_core.testing.backend_suite import BackendContract
from rjepa_core.testing.plugin_suite import PluginContract


@pytest.mark.smollm2
@pytest.mark.slow
class TestBackend(BackendContract):
    @pytest.fixture
    def backend(self, backend: LLMBackend) -> LLMBackend:
        return backend


class TestPlugin(PluginContract):
    entry = "vllm"
