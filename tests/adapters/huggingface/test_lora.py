"""A LoRA adapter is merged into the weights where `peft` is there, and never ignored."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hf_checkpoints import backend_of, llama
from safetensors.torch import load_file, save_file

from rjepa_adapters.huggingface.checkpoints import ADAPTER
from rjepa_adapters.huggingface.lora import adapted_content
from rjepa_core.errors import UsageError

WEIGHTS = "adapter_model.safetensors"
with_peft = pytest.mark.skipif(
    importlib.util.find_spec("peft") is None,
    reason="peft is not installed: pip install 'rjepa[lora]'",
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return llama(tmp_path_factory.mktemp("base") / "llama")


@pytest.fixture
def adapter(base: Path, tmp_path: Path) -> Path:
    """As `save_pretrained` of peft leaves it: an adapter that names its base."""
    folder = tmp_path / "adapter"
    folder.mkdir()
    torch.manual_seed(1)
    modules = [f"model.layers.{i}.self_attn.q_proj" for i in range(3)]
    tensors = {}
    for name in (f"base_model.model.{module}" for module in modules):
        tensors[f"{name}.lora_A.weight"] = torch.randn(4, 32)
        tensors[f"{name}.lora_B.weight"] = torch.randn(32, 4)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(base),
        "r": 4,
        "lora_alpha": 8,
        "target_modules": ["q_proj"],
    }
    (folder / ADAPTER).write_text(json.dumps(settings))
    return folder


def beside(base: Path, adapter: Path, folder: Path) -> Path:
    """The base's weights and the adapter's in one folder."""
    shutil.copytree(base, folder)
    for file in adapter.iterdir():
        shutil.copy(file, folder)
    return folder


def change(adapter: Path, **settings: Any) -> None:
    known = json.loads((adapter / ADAPTER).read_text())
    (adapter / ADAPTER).write_text(json.dumps({**known, **settings}))


def test_without_peft_it_is_refused_with_the_command(
    base: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *more: None if name == "peft" else find(name)
    )
    for folder in (adapter, beside(base, adapter, tmp_path / "both")):
        with pytest.raises(UsageError, match=r"LoRA adapter .* pip install .*\[lora\]'"):
            backend_of(folder)


@with_peft
def test_it_is_merged_into_the_weights(base: Path, adapter: Path, tmp_path: Path) -> None:
    tensors = load_file(adapter / WEIGHTS)
    name = "model.layers.1.self_attn.q_proj"
    bare = backend_of(base)
    a, b = (tensors[f"base_model.model.{name}.lora_{part}.weight"] for part in "AB")
    wanted = bare.model.get_submodule(name).weight + 8 / 4 * b @ a
    for folder in (adapter, beside(base, adapter, tmp_path / "both")):
        ours = backend_of(folder)
        assert torch.allclose(ours.model.get_submodule(name).weight, wanted, atol=1e-6)
        assert type(ours.model) is type(bare.model)
        assert ours.info.content != bare.info.content
        assert ours.info.notes["adapter"] == "LORA of rank 4, merged into the weights"


@with_peft
@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda tensors: dict(list(tensors.items())[2:]), "its adapter lacks 2 tensors"),
        (
            lambda t: {**t, "base_model.model.model.layers.7.x.lora_A.weight": torch.ones(4, 32)},
            "its adapter has no place in the model for 1 tensor",
        ),
    ],
    ids=["missing", "unknown"],
)
def test_an_adapter_that_does_not_fit_is_refused(
    adapter: Path, break_it: Callable[[Any], Any], says: str
) -> None:
    save_file(break_it(load_file(adapter / WEIGHTS)), adapter / WEIGHTS)
    with pytest.raises(UsageError, match=says):
        backend_of(adapter)


@with_peft
def test_an_adapter_of_nothing_is_refused(base: Path, adapter: Path, tmp_path: Path) -> None:
    change(adapter, base_model_name_or_path="./gone")
    with pytest.raises(UsageError, match=r"a LoRA adapter of \./gone: no such folder"):
        backend_of(adapter)
    change(adapter, base_model_name_or_path=None)
    with pytest.raises(UsageError, match="does not name the model"):
        backend_of(adapter)
    change(adapter, base_model_name_or_path=str(beside(base, adapter, tmp_path / "both")))
    with pytest.raises(UsageError, match="which has one itself"):
        backend_of(adapter)
    (adapter / ADAPTER).write_text("{")
    with pytest.raises(UsageError, match="cannot be read"):
        backend_of(adapter)


def test_its_content_is_that_of_both(adapter: Path) -> None:
    known = adapted_content("sha256:a", adapter)
    change(adapter, base_model_name_or_path="elsewhere")
    assert adapted_content("sha256:a", adapter) == known
    assert adapted_content("sha256:b", adapter) != known
    change(adapter, lora_alpha=16)
    assert adapted_content("sha256:a", adapter) != known
    change(adapter, lora_alpha=8)
    save_file({"x": torch.ones(1)}, adapter / WEIGHTS)
    assert adapted_content("sha256:a", adapter) != known
