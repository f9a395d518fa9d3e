"""Settings of the Hugging Face backend."""

from __future__ import annotations

import attrs
from attrs import validators as v


@attrs.frozen(kw_only=True)
class HuggingFaceSettings:
    """What only this backend knows; model, device and dtype are every backend's.

    Attributes:
        trust_remote_code: run code that a checkpoint brings along.
        revision: branch, tag or commit of a model on the hub.
        attention: transformers' attention implementation (`sdpa`, `eager`, …); None for its own
            choice.
        keep_converted: keep a GGUF file as an ordinary checkpoint in the user's cache, so that it
            loads in a second the next time (only where that takes less than 4 GiB).
        logprob_rows: tokens whose logits are held at a time with --logprobs.
    """

    trust_remote_code: bool = False
    revision: str | None = None
    attention: str | None = None
    keep_converted: bool = True
    logprob_rows: int = attrs.field(default=256, validator=v.ge(1))
