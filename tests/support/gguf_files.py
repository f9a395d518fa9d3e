"""A tiny GGUF model with random weights, as llama.cpp would write it."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hf_checkpoints import CHAT, byte_level
from transformers import LlamaConfig
from transformers.models.llama import LlamaForCausalLM

HEADS, LAYERS, CONTEXT = 4, 3, 512


def write_gguf(path: Path, without: Collection[str] = (), part: int = 0) -> dict[str, Any]:
    """Write the file, and return the weights that it holds by transformers' names.

    Args:
        without: names of tensors that are left out, or parts of these names.
        part: tensors a file, where the model is to be split.
    """
    import gguf

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=640,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
    )
    weights = LlamaForCausalLM(config).state_dict()
    writer = gguf.GGUFWriter(path, "llama", split_max_tensors=part)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(config.vocab_size)
    _add_tokenizer(writer, config.vocab_size)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, LAYERS)
    for name, tensor in weights.items():
        theirs = names.get_name(name, try_suffixes=(".weight",))
        if name != "lm_head.weight" and not any(one in theirs for one in without):
            writer.add_tensor(theirs, _permuted(name, tensor.numpy()))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights


def _permuted(name: str, array: Any) -> Any:
    """llama.cpp rotates neighbouring pairs of a head, transformers its two halves."""
    if not name.endswith(("q_proj.weight", "k_proj.weight")):
        return array
    rows, columns = array.shape
    halves = array.reshape(HEADS, 2, rows // HEADS // 2, columns)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows, columns))


def _add_tokenizer(writer: Any, size: int) -> None:
    import gguf

    tokenizer = byte_level()
    data = json.loads(tokenizer.backend_tokenizer.to_str())
    tokens = [f"<unused{i}>" for i in range(size)]
    kinds = [gguf.TokenType.UNUSED] * size
    for text, i in data["model"]["vocab"].items():
        tokens[i], kinds[i] = text, gguf.TokenType.NORMAL
    for token in data["added_tokens"]:
        tokens[token["id"]], kinds[token["id"]] = token["content"], gguf.TokenType.CONTROL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in data["model"]["merges"]])
    writer.add_bos_token_id(tokenizer.eos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_chat_template(CHAT)
