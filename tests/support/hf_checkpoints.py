"""Small checkpoints with random weights, and tokenizers of three kinds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, LlamaConfig, PreTrainedTokenizerFast, Qwen3Config
from transformers.models.gpt2 import GPT2LMHeadModel
from transformers.models.llama import LlamaForCausalLM
from transformers.models.qwen3 import Qwen3ForCausalLM

from rjepa_adapters.huggingface.backend import HuggingFaceBackend
from rjepa_adapters.huggingface.loading import load
from rjepa_adapters.huggingface.settings import HuggingFaceSettings
from rjepa_core.settings.extraction import ModelSettings

SPECIAL = ["<|im_start|>", "<|im_end|>", "<|pad|>"]
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
CORPUS = [
    "Step 1: Ann has 3 apples and buys 4 more, so 3 + 4 = 7.\nStep 2: She eats 2, so 5 are left.",
    "Problem: how many are left? Answer: 5\n#### 5 \\boxed{72} The total is 12.5 or 1/2.",
    "**Step 3** then we double it; naïve café 🙂 ½ 漢字。 1) first 2) second",
] * 20


def byte_level(vocabulary: int = 600) -> Any:
    """A byte-level BPE tokenizer, as Llama 3, Qwen and SmolLM have."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(CORPUS, trainer)
    return wrapped(inner)


def metaspace(vocabulary: int = 600) -> Any:
    """A sentencepiece-like tokenizer with byte fallback, as Llama 2 and Mistral have."""
    fallback = [f"<0x{i:02X}>" for i in range(256)]
    inner = Tokenizer(models.BPE(byte_fallback=True, unk_token="<0x3F>", fuse_unk=False))
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    inner.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary + 256, special_tokens=[*SPECIAL, *fallback], show_progress=False
    )
    inner.train_from_iterator(["".join(c for c in t if ord(c) < 128) for t in CORPUS], trainer)
    # The byte pieces must be ordinary pieces of the vocabulary, not special ones.
    vocabulary_map = inner.get_vocab()
    state = inner.to_str()
    data = json.loads(state)
    data["added_tokens"] = [t for t in data["added_tokens"] if t["content"] in SPECIAL]
    data["model"]["vocab"] = vocabulary_map
    return wrapped(Tokenizer.from_str(json.dumps(data)))


def wrapped(inner: Tokenizer, chat: str | None = CHAT) -> Any:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token="<|im_end|>", pad_token="<|pad|>"
    )
    tokenizer.chat_template = chat
    return tokenizer


def save(model: Any, folder: Path, tokenizer: Any | None = None) -> Path:
    tokenizer = tokenizer or byte_level()
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def qwen3(folder: Path, **changes: Any) -> Path:
    torch.manual_seed(0)
    config = Qwen3Config(
        **{
            "vocab_size": 640,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "max_position_embeddings": 512,
            "tie_word_embeddings": False,
            **changes,
        }
    )
    return save(Qwen3ForCausalLM(config), folder)


def llama(folder: Path) -> Path:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=640,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=512,
    )
    return save(LlamaForCausalLM(config), folder)


def gpt2(folder: Path) -> Path:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=640, n_embd=32, n_layer=3, n_head=4, n_positions=512)
    return save(GPT2LMHeadModel(config), folder)


def backend_of(name: Path | str, **settings: Any) -> HuggingFaceBackend:
    chosen = HuggingFaceSettings(**settings)
    return HuggingFaceBackend(load(ModelSettings(name=str(name), device="cpu"), chosen), chosen)
