"""Transformers' own loading of configurations, tokenizers and models; failures become one line."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from rjepa_core.errors import BackendError, RJepaError, UsageError

from .library_log import not_converted
from .memory import is_out_of_memory
from .naming import SMOLLM2, Checkpoint
from .settings import HuggingFaceSettings
from .weights import check_filled, refuse_unconverted, stored_elements, weight_files

# Where there is no adapter: one in a checkpoint's folder is merged by `lora`, which checks it.
_NO_ADAPTER = {"subfolder": "none"}


def config_of(checkpoint: Checkpoint, settings: HuggingFaceSettings) -> Any:
    """The checkpoint's configuration."""
    from transformers import AutoConfig

    with explained(checkpoint):
        return AutoConfig.from_pretrained(
            checkpoint.location,
            revision=settings.revision,
            trust_remote_code=settings.trust_remote_code,
        )


def context_of(config: Any) -> int | None:
    """Most tokens of a sequence, where the configuration tells."""
    positions = getattr(config.get_text_config(), "max_position_embeddings", None)
    return int(positions) if positions else None


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
    stored: Mapping[str, int] | None = None,
) -> Any:
    """A model through transformers' own loading, on one device.

    Args:
        stored: how many numbers each tensor of a GGUF file has.

    Raises:
        UsageError: it cannot be loaded, or its files do not fill it.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils import is_accelerate_available

    more: dict[str, Any] = {}
    if checkpoint.gguf_file is not None:
        more["gguf_file"] = checkpoint.gguf_file
    elif checkpoint.folder is not None:
        stored = stored_elements(weight_files(checkpoint.folder))
    if device.type != "cpu" and is_accelerate_available():
        more["device_map"] = {"": device}  # straight onto the card, not through host memory
    if settings.attention:
        more["attn_implementation"] = settings.attention
    with explained(checkpoint), not_converted() as failed:
        try:
            model, info = AutoModelForCausalLM.from_pretrained(
                checkpoint.location,
                dtype=dtype,
                revision=settings.revision,
                trust_remote_code=settings.trust_remote_code,
                adapter_kwargs=dict(_NO_ADAPTER),
                output_loading_info=True,
                # Transformers only logs which these are; `check_filled` names them.
                ignore_mismatched_sizes=True,
                **more,
            )
        except RuntimeError:
            if failed:
                refuse_unconverted(checkpoint.name, failed)
            raise
    if checkpoint.folder is None:
        stored = stored_elements(_downloaded(checkpoint, settings))
    check_filled(checkpoint.name, model, info, stored or {})
    return model


def _downloaded(checkpoint: Checkpoint, settings: HuggingFaceSettings) -> list[Path]:
    """The weights of a model on the hub that has just been loaded; none where they are not told."""
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            checkpoint.location, revision=settings.revision, local_files_only=True
        )
    except (OSError, ValueError):
        return []
    return weight_files(Path(folder))


@contextlib.contextmanager
def explained(checkpoint: Checkpoint) -> Iterator[None]:
    """Turn the many ways in which loading fails into one line."""
    try:
        yield
    except RJepaError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            reason = str(error).splitlines()[0] if str(error) else "out of memory"
            raise BackendError(f"{checkpoint.name} does not fit: {reason}") from error
        if isinstance(error, ImportError):
            line = str(error).strip().splitlines()[0]
            raise UsageError(f"{checkpoint.name}: {line}") from error
        if "attn_implementation" in str(error):
            raise UsageError(
                f"backend.attention: {checkpoint.name} cannot attend so; leave it out, or try sdpa "
                f"or eager ({' '.join(str(error).split())[:80]}…)"
            ) from error
        raise UsageError(f"model.name: {_why_not(checkpoint, error)}") from error


def _why_not(checkpoint: Checkpoint, error: Exception) -> str:
    line = " ".join(str(error).split())[:300]
    if not isinstance(error, OSError | ValueError):
        line = f"{type(error).__name__}: {line}"
    if checkpoint.folder:
        return f"{checkpoint.location} cannot be loaded: {line}"
    near = difflib.get_close_matches(checkpoint.location.lower(), [SMOLLM2], 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    if "connect" in line or "offline" in line.lower():
        line = "the hub cannot be reached"
    return f"there is no folder {checkpoint.location}, and from the hub: {line}{hint}"
