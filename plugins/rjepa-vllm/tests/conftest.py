"""Backends over SmolLM2, in this process; vLLM has room for one engine in it at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
# By default vLLM takes whole cores for itself.
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")

from rjepa_vllm.settings import VllmSettings

from rjepa_core.settings import ModelSettings


@pytest.fixture(scope="session")
def backend() -> Iterator[object]:
    from rjepa_vllm.backend import VllmBackend

    settings = VllmSettings(own_process=False, max_model_len=1024)
    with VllmBackend(ModelSettings(name="smollm2"), settings) as opened:
        yield opened
