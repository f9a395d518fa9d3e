"""Backends over SmolLM2, in this process; vLLM has room for one engine in it at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hf_checkpoints import gpt2, llama
from rjepa_vllm.settings import VllmSettings

from rjepa_core.settings import ModelSettings

os.environ.setdefault("OMP_NUM_THREADS", "1")
# By default vLLM takes whole cores for itself.
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
SETTINGS = VllmSettings(own_process=False, max_model_len=1024)


@pytest.fixture(scope="session")
def backend() -> Iterator[object]:
    from rjepa_vllm.backend import VllmBackend

    with VllmBackend(ModelSettings(name="smollm2"), SETTINGS) as opened:
        yield opened


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="session")
def gpt2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gpt2(tmp_path_factory.mktemp("gpt2"))
