"""A near-miss of a model's name or path is refused before the hub is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from rjepa_adapters.huggingface.loading import context, load
from rjepa_adapters.huggingface.names import known_models
from rjepa_adapters.huggingface.settings import HuggingFaceSettings
from rjepa_core.errors import UsageError
from rjepa_core.settings import ModelSettings


class HubAskedError(Exception):
    pass


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with models in it, a cache of the hub with one, and a hub that is not asked."""

    def ask(*arguments: object) -> None:
        raise HubAskedError

    monkeypatch.setattr("rjepa_adapters.huggingface.loading.config_of", ask)
    monkeypatch.setattr("rjepa_adapters.huggingface.loading.adapter_folder", lambda *a: None)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hf" / "hub" / "models--models--had").mkdir(parents=True)
    (tmp_path / "models" / "llama").mkdir(parents=True)
    (tmp_path / "models" / "llama" / "config.json").write_text("{}")
    (tmp_path / "tiny.gguf").write_bytes(b"")
    return tmp_path


SMOLLM2 = ["smolm2", "Smollm2", "SMOLLM2", "smollm", "smollm-2", "smol-lm2", "smolllm2", "smollm3"]
PATHS = ["models/lama", "models/llama2", "modles/llama", "models/Llama", "./models/lama"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        *((name, "smollm2") for name in SMOLLM2),
        *((name, "models/llama") for name in PATHS),
        ("tinny.gguf", "tiny.gguf"),
    ],
)
def test_a_near_miss_names_what_was_meant(name: str, meant: str) -> None:
    for call in (load, context):
        with pytest.raises(UsageError, match=f"did you mean {meant}\\?"):
            call(ModelSettings(name=name), HuggingFaceSettings())


@pytest.mark.parametrize("name", ["models/gpt", "other.gguf", "models/x.gguf"])
def test_what_can_only_be_a_path_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"there is no model, folder or file {name} "):
        context(ModelSettings(name=name), HuggingFaceSettings())


@pytest.mark.parametrize("name", ["Qwen/Qwen3-8B-AWQ", "gpt2", "models/had", "org/smollm2"])
def test_any_other_name_is_the_hubs(name: str) -> None:
    with pytest.raises(HubAskedError):
        context(ModelSettings(name=name), HuggingFaceSettings())


def test_a_revision_says_that_it_is_the_hubs() -> None:
    with pytest.raises(HubAskedError):
        context(ModelSettings(name="models/lama"), HuggingFaceSettings(revision="main"))


def test_models_that_need_no_download() -> None:
    assert known_models() == ["smollm2", "models/had"]
