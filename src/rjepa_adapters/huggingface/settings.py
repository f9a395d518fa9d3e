"""Settings of the Hugging Face backend."""

from __future__ import annotations

import attrs
from attrs import validators as v

FUSED, DOUBLE_PASS = "fused", "double-pass"


@attrs.frozen(kw_only=True)
class HuggingFaceSettings:
    """Settings of this backend alone; model, device and dtype are settings of all backends.

    Attributes:
        trust_remote_code: run Python code that comes with a checkpoint.
        revision: branch, tag or commit of a model on the hub.
        attention: transformers' attention implementation (`sdpa`, `eager`, …) for passes over whole
            texts; None for its own choice.
        keep_converted: keep a GGUF file as an ordinary checkpoint in the user's cache, so that it
            loads in a second the next time (only if that takes less than 4 GiB).
        extraction: `fused` collects hidden states during generation, in slots that are refilled as
            soon as a row ends; `double-pass` generates whole batches and runs each text once more.
        logprob_rows: number of tokens whose logits are held at a time with encoding.logprobs.
    """

    trust_remote_code: bool = False
    revision: str | None = None
    attention: str | None = None
    keep_converted: bool = True
    extraction: str = attrs.field(default=FUSED, validator=v.in_((FUSED, DOUBLE_PASS)))
    logprob_rows: int = attrs.field(default=256, validator=v.ge(1))
