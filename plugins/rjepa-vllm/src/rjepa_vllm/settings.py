"""Settings of the vLLM backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
from attrs import validators as v


@attrs.frozen(kw_only=True)
class VllmSettings:
    """Settings of this backend alone; model, device and dtype are settings of all backends.

    Attributes:
        tensor_parallel_size: number of cards that share the model.
        gpu_memory_utilization: share of a card's memory for weights and cache; None for vLLM's own.
        max_model_len: most tokens of prompt and completion together; None for the model's own.
        enforce_eager: run without compiling and without CUDA graphs; None to compile on a card and
            not on a CPU.
        own_process: run the engine in a process of its own, as vLLM does by default; None for that
            on a card, and for this process on a CPU.
        trust_remote_code: run Python code that comes with a checkpoint.
        revision: branch, tag or commit of a model on the hub.
        engine: any other argument of vLLM's engine, by its name in Python
            (`engine.max_num_seqs=128`).
    """

    tensor_parallel_size: int = attrs.field(default=1, validator=v.ge(1))
    gpu_memory_utilization: float | None = attrs.field(
        default=None, validator=v.optional(v.and_(v.gt(0.0), v.le(1.0)))
    )
    max_model_len: int | None = attrs.field(default=None, validator=v.optional(v.ge(2)))
    enforce_eager: bool | None = None
    own_process: bool | None = None
    trust_remote_code: bool = False
    revision: str | None = None
    engine: Mapping[str, Any] = attrs.field(factory=dict)
