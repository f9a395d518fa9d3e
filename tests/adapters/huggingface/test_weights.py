"""A model whose weights are not all in its files is refused, and the tensors are named."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hf_checkpoints import backend_of, gpt2, llama, qwen3
from safetensors.torch import load_file, save_file
from torch import Tensor

from rjepa_adapters.huggingface import weights
from rjepa_core.errors import UsageError

Weights = dict[str, Tensor]
WHOLE, INDEX = weights.WHOLE, weights.INDEX


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sources")
    return {
        "llama": llama(folder / "llama"),
        "tied": qwen3(folder / "tied", tie_word_embeddings=True, num_hidden_layers=2),
        "gpt2": gpt2(folder / "gpt2"),
    }


@pytest.fixture
def changed(sources: dict[str, Path], tmp_path: Path) -> Callable[..., Path]:
    """Make a copy of a checkpoint with other tensors in its file."""

    def change(change: Callable[[Weights], Weights], source: str = "llama") -> Path:
        folder = shutil.copytree(sources[source], tmp_path / "changed")
        tensors = change(load_file(folder / WHOLE))
        save_file(tensors, folder / WHOLE, metadata={"format": "pt"})
        return folder

    return change


@pytest.fixture
def sharded(sources: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of a checkpoint in three files with an index."""
    folder = shutil.copytree(sources["llama"], tmp_path / "sharded")
    tensors = load_file(folder / WHOLE)
    (folder / WHOLE).unlink()
    places: dict[str, str] = {}
    for i in range(3):
        part = {name: tensors[name] for name in sorted(tensors)[i::3]}
        save_file(part, folder / f"part-{i}.safetensors", metadata={"format": "pt"})
        places |= dict.fromkeys(part, f"part-{i}.safetensors")
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return folder


def prefixed(prefix: str) -> Callable[[Weights], Weights]:
    return lambda tensors: {prefix + name: tensor for name, tensor in tensors.items()}


def without(*parts: str) -> Callable[[Weights], Weights]:
    return lambda tensors: {
        name: tensor for name, tensor in tensors.items() if not any(part in name for part in parts)
    }


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (prefixed("_orig_mod."), r"lack 30 of .* begin with '_orig_mod.'"),
        (prefixed("module."), r"lack 30 of .* begin with 'module.'"),
        (without("layers.1."), r"lack 9 of the model's 30 tensors \(model.layers.1.input"),
        (without("embed_tokens"), r"lack 1 of .* \(model.embed_tokens.weight\)"),
        (without("model.norm"), r"lack 1 of .* \(model.norm.weight\)"),
        (without("lm_head"), r"lack 1 of .* \(lm_head.weight\)"),
        (lambda tensors: {"model": torch.ones(3)}, r"lack 30 of .* have 1 that the model lacks"),
    ],
    ids=["compiled", "parallel", "layer", "embeddings", "norm", "head", "other"],
)
def test_weights_that_are_not_in_the_file(
    changed: Callable[..., Path], change: Callable[[Weights], Weights], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        backend_of(changed(change))


def test_tied_weights_may_be_absent_but_not_both(changed: Callable[..., Path]) -> None:
    folder = changed(lambda tensors: tensors, "tied")
    assert not any("lm_head" in name for name in load_file(folder / WHOLE))
    model = backend_of(folder).model
    assert model.lm_head.weight is model.model.embed_tokens.weight
    shutil.rmtree(folder)
    with pytest.raises(UsageError, match="lack 2 of"):
        backend_of(changed(without("embed_tokens"), "tied"))


@pytest.mark.parametrize(("source", "prefix"), [("tied", "model."), ("gpt2", "transformer.")])
def test_a_checkpoint_of_the_base_model_alone(
    sources: dict[str, Path], changed: Callable[..., Path], source: str, prefix: str
) -> None:
    """Transformers finds these tensors without the head's prefix."""
    bare = changed(lambda t: {n.removeprefix(prefix): w for n, w in t.items()}, source)
    theirs = backend_of(sources[source]).model.state_dict()
    for name, tensor in backend_of(bare).model.state_dict().items():
        assert torch.equal(tensor, theirs[name]), name


def test_another_shape_is_named(changed: Callable[..., Path]) -> None:
    name = "model.layers.1.mlp.gate_proj.weight"
    folder = changed(lambda tensors: {**tensors, name: tensors[name][:, :8].contiguous()})
    with pytest.raises(UsageError, match=rf"differ in shape .*{name} is \[64, 8\], not \[64, 32\]"):
        backend_of(folder)


@pytest.mark.parametrize("name", ["0.self_attn.q_norm.weight", "3.mlp.up_proj.weight"])
def test_tensors_of_another_architecture_in_its_layers(
    changed: Callable[..., Path], name: str
) -> None:
    name = f"model.layers.{name}"
    with pytest.raises(UsageError, match=f"no place for 1 tensor of its decoder layers .*{name}"):
        backend_of(changed(lambda tensors: {**tensors, name: torch.ones(8)}))


def test_tensors_elsewhere_are_left_out_and_said(
    changed: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    more = {"v_head.weight": torch.ones(8), "model.layers.0.self_attn.rotary_emb.inv_freq": ONE}
    with caplog.at_level(logging.WARNING):
        backend_of(changed(lambda tensors: {**tensors, **more}))
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert "no place for 1 tensor of its files" in said[0]
    assert "v_head.weight" in said[0]


def test_a_whole_sharded_checkpoint(sharded: Path) -> None:
    assert backend_of(sharded).info.hidden_size == 32


def test_shards_that_are_not_there_are_named(sharded: Path) -> None:
    (sharded / "part-1.safetensors").unlink()
    with pytest.raises(UsageError, match=r"names 3 files and 1 of them is not .*part-1.safetens"):
        backend_of(sharded)


def test_a_tensor_that_is_not_in_its_shard(sharded: Path) -> None:
    file = sharded / "part-2.safetensors"
    tensors = load_file(file)
    gone = sorted(tensors)[0]
    save_file(without(gone)(tensors), file, metadata={"format": "pt"})
    with pytest.raises(UsageError, match=rf"lack 1 of .*\({gone}\)"):
        backend_of(sharded)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (lambda whole: whole[:-100], "is damaged or cut short"),
        (lambda whole: b"", "is damaged or cut short"),
        (lambda whole: b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
    ],
    ids=["cut", "empty", "pointer"],
)
def test_a_damaged_file_is_named(
    sharded: Path, content: Callable[[bytes], bytes], says: str
) -> None:
    file = sharded / "part-1.safetensors"
    file.write_bytes(content(file.read_bytes()))
    with pytest.raises(UsageError, match=rf"part-1.safetensors .*{says}"):
        backend_of(sharded)


def test_an_index_that_cannot_be_read(sharded: Path) -> None:
    (sharded / INDEX).write_text('{"weight_map":')
    with pytest.raises(UsageError, match=f"{INDEX} cannot be read"):
        backend_of(sharded)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (prefixed("module."), r"lack 30 of .* begin with 'module.'"),
        (without("layers.0."), r"lack 9 of the model's 30"),
        (None, "cannot be loaded"),
    ],
    ids=["prefix", "layer", "cut"],
)
def test_a_pickled_checkpoint_has_the_same_faults(
    sources: dict[str, Path],
    tmp_path: Path,
    change: Callable[[Weights], Weights] | None,
    says: str,
) -> None:
    folder = shutil.copytree(sources["llama"], tmp_path / "pickled")
    tensors, file = load_file(folder / WHOLE), folder / "pytorch_model.bin"
    (folder / WHOLE).unlink()
    torch.save(tensors if change is None else change(tensors), file)
    if change is None:
        file.write_bytes(file.read_bytes()[:-5000])
    with pytest.raises(UsageError, match=says):
        backend_of(folder)


@pytest.mark.parametrize("part", ["experts.1.", "experts.1.up_proj", "mlp.gate.weight"])
def test_a_missing_expert_is_named(tmp_path: Path, part: str) -> None:
    """Of the tensors that transformers joins into one, some may be missing."""
    from transformers import Qwen3MoeConfig
    from transformers.models.qwen3_moe import Qwen3MoeForCausalLM

    config = Qwen3MoeConfig(
        vocab_size=640,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        moe_intermediate_size=8,
        num_experts=2,
        num_experts_per_tok=1,
    )
    Qwen3MoeForCausalLM(config).save_pretrained(tmp_path)
    tensors = load_file(tmp_path / WHOLE)
    save_file(without(part)(tensors), tmp_path / WHOLE, metadata={"format": "pt"})
    with pytest.raises(UsageError, match=r"model.layers.0.mlp.(experts|gate.weight)"):
        backend_of(tmp_path)


def test_what_a_class_declares_dispensable_is_missing_all_the_same(
    changed: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Transformers leaves such keys out of what it tells."""
    from transformers.models.llama import LlamaForCausalLM

    monkeypatch.setattr(LlamaForCausalLM, "_keys_to_ignore_on_load_missing", ["lm_head"])
    with pytest.raises(UsageError, match=r"\(lm_head.weight\)"):
        backend_of(changed(without("lm_head")))


def test_a_model_of_more_numbers_than_its_files_hold(
    changed: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should transformers tell nothing at all, the sizes do."""
    monkeypatch.setattr(weights, "_unmarked", lambda model: set())
    folder = changed(without("model.norm"))
    model = backend_of_unchecked(folder)
    stored = weights.stored_elements(weights.weight_files(folder))
    with pytest.raises(UsageError, match=r"\(model.norm.weight\)"):
        weights.check_filled("m", model, {}, stored)


def backend_of_unchecked(folder: Path) -> torch.nn.Module:
    from transformers import AutoModelForCausalLM

    model: torch.nn.Module = AutoModelForCausalLM.from_pretrained(folder)
    return model


ONE = torch.ones(1)
