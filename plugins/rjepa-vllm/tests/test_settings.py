"""Settings, devices and checkpoints, without an engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from rjepa_vllm import device
from rjepa_vllm.checkpoint import open_checkpoint
from rjepa_vllm.engine import read_extra
from rjepa_vllm.settings import VllmSettings

from rjepa_core.errors import SettingsError, UsageError
from rjepa_core.plugins import BackendAdapter, Registry
from rjepa_core.settings import ModelSettings

KNOWN = ["model", "max_num_seqs", "enable_prefix_caching", "quantization", "dtype"]


def test_arguments_of_the_engine_are_read_as_json_where_they_are_json() -> None:
    given = {"max_num_seqs": "128", "enable_prefix_caching": "false", "quantization": "awq"}
    assert read_extra(given, KNOWN) == {
        "max_num_seqs": 128,
        "enable_prefix_caching": False,
        "quantization": "awq",
    }


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("max_num_seq", r"backend.engine.max_num_seq: unknown setting; .*max_num_seqs"),
        ("dtype", r"backend.engine.dtype: cannot be set here; set model.dtype"),
        ("kv_transfer_config", "this backend needs it as it is"),
    ],
)
def test_an_argument_that_cannot_be_set_is_refused(key: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        read_extra({key: "1"}, KNOWN)


def test_settings_are_reached_by_their_keys() -> None:
    adapter = Registry().find(BackendAdapter, "vllm")
    settings = adapter.configure({"max_model_len": "512", "engine": {"max_num_seqs": "4"}}, "b")
    assert settings == VllmSettings(max_model_len=512, engine={"max_num_seqs": "4"})


def test_without_vllm_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "vllm_build", lambda: None)
    with pytest.raises(UsageError, match=r"pip install 'rjepa-vllm\[cuda\]'"):
        device.pick_device("auto")
    assert "not installed" in device.diagnose()["vllm"]


@pytest.mark.parametrize("name", ["cuda", "cuda:1", "mps"])
def test_another_device_than_vllms_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"model.device: {name}: the installed vLLM runs on cpu"):
        device.pick_device(name)
    assert device.pick_device("auto") == device.pick_device("cpu") == "cpu"


def test_a_checkpoint_is_what_the_hugging_face_backend_says_it_is(llama_folder: Path) -> None:
    from rjepa_vllm.backend import VllmBackend

    from rjepa_adapters.huggingface.backend import HuggingFaceBackend
    from rjepa_adapters.huggingface.loading import load
    from rjepa_adapters.huggingface.settings import HuggingFaceSettings

    model = ModelSettings(name=str(llama_folder))
    theirs = HuggingFaceBackend(load(model, HuggingFaceSettings()), HuggingFaceSettings()).info
    ours = VllmBackend(model, VllmSettings()).info
    for name in ("content", "quantisation", "compute_dtype", "hidden_size", "hidden_states"):
        assert getattr(ours, name) == getattr(theirs, name), name
    for name in ("tokenizer", "chat_format", "end_ids", "reads_clock"):
        assert getattr(ours, name) == getattr(theirs, name), name
    # It draws other tokens from the same seed.
    assert ours.sampler != theirs.sampler


def test_packed_weights_have_a_space_of_their_own(llama_folder: Path, tmp_path: Path) -> None:
    import json
    import shutil

    folder = tmp_path / "packed"
    shutil.copytree(llama_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "awq", "bits": 4, "group_size": 128}
    (folder / "config.json").write_text(json.dumps(config))
    found = open_checkpoint(ModelSettings(name=str(folder)), VllmSettings(), "cpu")
    assert found.quantisation == "awq-4bit-vllm"


def test_a_shape_is_refused() -> None:
    with pytest.raises(UsageError, match=r"shape:small is for backend\.name=huggingface"):
        open_checkpoint(ModelSettings(name="shape:small"), VllmSettings(), "cpu")
