"""Transformers' own loading of configurations, tokenizers and models; failures become one line."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterator
from typing import Any

import torch

from rjepa_core.errors import BackendError, UsageError

from .naming import SMOLLM2, Checkpoint
from .settings import HuggingFaceSettings


def config_of(checkpoint: Checkpoint, settings: HuggingFaceSettings) -> Any:
    """The checkpoint's configuration."""
    from transformers import AutoConfig

    with explained(checkpoint):
        return AutoConfig.from_pretrained(
            checkpoint.location,
            revision=settings.revision,
            trust_remote_code=settings.trust_remote_code,
        )


def tokenizer_of(checkpoint: Checkpoint, settings: HuggingFaceSettings) -> Any:
    """The checkpoint's tokenizer."""
    from transformers import AutoTokenizer

    more = {"gguf_file": checkpoint.gguf_file} if checkpoint.gguf_file else {}
    with explained(checkpoint):
        return AutoTokenizer.from_pretrained(
            checkpoint.location,
            revision=settings.revision,
            trust_remote_code=settings.trust_remote_code,
            **more,
        )


def model_of(
    checkpoint: Checkpoint,
    settings: HuggingFaceSettings,
    dtype: torch.dtype,
    device: torch.device,
    **more: Any,
) -> Any:
    """A model through transformers' own loading, on one device."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import is_accelerate_available

    if device.type != "cpu" and is_accelerate_available():
        more["device_map"] = {"": device}  # straight onto the card, not through host memory
    if settings.attention:
        more["attn_implementation"] = settings.attention
    with explained(checkpoint):
        return AutoModelForCausalLM.from_pretrained(
            checkpoint.location,
            dtype=dtype,
            revision=settings.revision,
            trust_remote_code=settings.trust_remote_code,
            **more,
        )


@contextlib.contextmanager
def explained(checkpoint: Checkpoint) -> Iterator[None]:
    """Turn the many ways in which loading fails into one line."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise BackendError(
            f"{checkpoint.name} does not fit: {str(error).splitlines()[0]}"
        ) from None
    except ImportError as error:
        raise UsageError(f"{checkpoint.name}: {str(error).strip().splitlines()[0]}") from None
    except (OSError, ValueError, KeyError) as error:
        if "attn_implementation" in str(error):
            raise UsageError(
                f"backend.attention: {checkpoint.name} cannot attend so; leave it out, or try sdpa "
                f"or eager ({' '.join(str(error).split())[:80]}…)"
            ) from None
        raise UsageError(f"model.name: {_why_not(checkpoint, error)}") from None


def _why_not(checkpoint: Checkpoint, error: Exception) -> str:
    line = " ".join(str(error).split())[:300]
    if checkpoint.folder:
        return f"{checkpoint.location} cannot be loaded: {line}"
    near = difflib.get_close_matches(checkpoint.location.lower(), [SMOLLM2], 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    if "connect" in line or "offline" in line.lower():
        line = "the hub cannot be reached"
    return f"there is no folder {checkpoint.location}, and from the hub: {line}{hint}"
