"""A tokenizer for shapes, which have none: byte pairs learned from the demo's problems."""

from __future__ import annotations

import json
from typing import Any

from rjepa_core.settings import DEFAULT_TEMPLATES, ProblemSettings

from ..sources.demo import source

_START, _END, _PAD = "<|im_start|>", "<|im_end|>", "<|pad|>"
_LEARNED = 1200
# One in so many of the filler ids ends a line: noise is then divided into about as many steps as
# real answers, so that encoding costs about the same.
_LINE = 25
_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def shape_tokenizer(vocabulary: int) -> Any:
    """Return a fast tokenizer with exactly `vocabulary` ids, the same every time.

    Ids beyond those learned are made-up words, which no text is encoded to; if a model samples one,
    it is decoded to harmless text.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=min(_LEARNED, vocabulary),
        special_tokens=[_START, _END, _PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(_texts(), trainer)
    state = json.loads(inner.to_str())
    known = state["model"]["vocab"]
    for number in range(len(known), vocabulary):
        known[_filler(number)] = number
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)), eos_token=_END, pad_token=_PAD
    )
    tokenizer.chat_template = _CHAT
    return tokenizer


def _filler(number: int) -> str:
    """Return a made-up word in the byte-level alphabet: Ġ is a space, Ċ ends a line."""
    return f"Ġ~{number}.Ċ" if number % _LINE == 0 else f"Ġ~{number}"


def _texts() -> list[str]:
    problems = [row.problem.statement for row in source(ProblemSettings()).rows()]
    return [*DEFAULT_TEMPLATES.values(), *problems]
