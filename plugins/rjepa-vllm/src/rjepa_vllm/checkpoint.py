"""What `model.name` names, as vLLM needs it: a folder or a hub name, and what identifies it.

Names, contents and tokenizers are those of the Hugging Face backend, by its own functions, so that
both say the same of the same checkpoint: their stores share a latent space.
"""

from __future__ import annotations

from typing import Any

import attrs
import torch

from rjepa_adapters.huggingface.checkpoints import (
    SHAPE,
    ModelFiles,
    config_of,
    content_of,
    context_of,
    find_checkpoint,
    tokenizer_of,
)
from rjepa_adapters.huggingface.gguf import find_conversion, load_gguf, quantisation_of
from rjepa_adapters.huggingface.library_log import relay_messages
from rjepa_adapters.huggingface.lora import adapter_folder
from rjepa_adapters.huggingface.names import refuse_near_miss
from rjepa_adapters.huggingface.placement import pick_dtype
from rjepa_adapters.huggingface.settings import HuggingFaceSettings
from rjepa_core.errors import UnsupportedError, UsageError
from rjepa_core.settings import ModelSettings

from .settings import VllmSettings


@attrs.frozen(eq=False)
class Checkpoint:
    """A model that vLLM can load.

    Attributes:
        location: folder, or name on the hub.
        name, content, quantisation: as in `ModelInfo`.
        dtype: of the forward pass.
        tokenizer: of transformers.
        end_ids: tokens that end a completion.
        hidden_size: D.
        layers: number of decoder layers.
        context: most tokens that the model was made for; None if it does not say.
    """

    location: str
    name: str
    content: str
    quantisation: str
    dtype: str
    tokenizer: Any
    end_ids: tuple[int, ...]
    hidden_size: int
    layers: int
    context: int | None


def open_checkpoint(model: ModelSettings, settings: VllmSettings, device: str) -> Checkpoint:
    """Find a model and read everything about it but its weights.

    Raises:
        UsageError: there is no such model, or vLLM cannot read it.
    """
    theirs = HuggingFaceSettings(
        trust_remote_code=settings.trust_remote_code, revision=settings.revision
    )
    if model.name.startswith(SHAPE):
        raise UnsupportedError(f"model.name: {model.name} is for backend.name=huggingface alone")
    with relay_messages():
        found = find_checkpoint(model.name)
        if found.folder is None and settings.revision is None:
            refuse_near_miss(model.name)
        if adapter_folder(found, theirs) is not None:
            raise UnsupportedError(
                f"model.name: {model.name} holds a LoRA adapter, which this backend does not "
                "merge; save the merged model, or use backend.name=huggingface"
            )
        label, content = None, None
        if found.gguf_file is not None:
            label, content, found = _converted(found, theirs)
        config = config_of(found, theirs)
        return _described(found, config, theirs, model.dtype, device, label, content)


def context(model: ModelSettings, settings: VllmSettings) -> int | None:
    """Return the most tokens of prompt and completion, before the model is loaded."""
    if settings.max_model_len is not None:
        return settings.max_model_len - 1
    found = find_checkpoint(model.name)
    if found.gguf_file is not None:
        return None
    with relay_messages():
        most = context_of(config_of(found, HuggingFaceSettings(revision=settings.revision)))
    return None if most is None else most - 1


def _converted(found: ModelFiles, theirs: HuggingFaceSettings) -> tuple[str, str, ModelFiles]:
    """Return the label and content of a GGUF file, and its ordinary checkpoint in the cache."""
    assert found.folder is not None
    assert found.gguf_file is not None
    content = content_of(found.folder, found.gguf_file)
    place = find_conversion(found, content)
    if place is None:
        load_gguf(found, content, theirs, torch.float32, torch.device("cpu"))
        place = find_conversion(found, content)
    if place is None:
        raise UsageError(
            f"model.name: {found.gguf_file} could not be kept as an ordinary checkpoint, which "
            "vLLM needs; name the checkpoint that it was made from"
        )
    return quantisation_of(found.gguf_file), content, place


def _described(
    found: ModelFiles,
    config: Any,
    theirs: HuggingFaceSettings,
    dtype: str,
    device: str,
    label: str | None,
    content: str | None,
) -> Checkpoint:
    packed = getattr(config, "quantization_config", None) or {}
    packed = packed if isinstance(packed, dict) else packed.to_dict()
    awq = packed.get("quant_method") == "awq"
    where = torch.device(device)
    compute = pick_dtype(dtype, where, torch.float16 if awq else torch.bfloat16)
    tokenizer = tokenizer_of(found, theirs)
    text = config.get_text_config()
    if content is None:
        commit = getattr(config, "_commit_hash", None) or "main"
        content = content_of(found.folder) if found.folder else f"hub:{found.location}@{commit}"
    return Checkpoint(
        location=found.location,
        name=found.name,
        content=content,
        quantisation=label or _quantisation(packed),
        dtype=str(compute).removeprefix("torch."),
        tokenizer=tokenizer,
        end_ids=_end_ids(found, theirs, tokenizer),
        hidden_size=int(text.hidden_size),
        layers=int(text.num_hidden_layers),
        context=context_of(config),
    )


def _quantisation(packed: dict[str, Any]) -> str:
    """Return the label of packed weights.

    vLLM has kernels of its own for them, and nobody has compared their vectors with those of the
    Hugging Face backend: they are not taken for the same.
    """
    method = packed.get("quant_method")
    if not method:
        return "none"
    return f"{method}-{packed['bits']}bit-vllm" if packed.get("bits") else f"{method}-vllm"


def _end_ids(found: ModelFiles, theirs: HuggingFaceSettings, tokenizer: Any) -> tuple[int, ...]:
    from transformers import GenerationConfig

    try:
        ends = GenerationConfig.from_pretrained(
            found.location, revision=theirs.revision
        ).eos_token_id
    except OSError:  # a checkpoint may lack one
        ends = config_of(found, theirs).eos_token_id
    ends = [] if ends is None else ends if isinstance(ends, list) else [ends]
    own = tokenizer.eos_token_id
    return tuple(dict.fromkeys(int(end) for end in [*ends, *([] if own is None else [own])]))
