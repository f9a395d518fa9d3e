"""Load a model completely onto one device, or report how much memory is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import torch

from rjepa_core.settings import ModelSettings

from .checkpoints import (
    SHAPE,
    ModelFiles,
    config_of,
    content_of,
    context_of,
    explain_failures,
    find_checkpoint,
    model_of,
    tokenizer_of,
)
from .library_log import relay_messages
from .lora import adapted_content, adapter_folder, base_of, merge_adapter, tokenizer_files_of
from .names import refuse_near_miss
from .placement import (
    Loaded,
    check_placement,
    check_room,
    disable_cudnn_attention,
    pick_device,
    pick_dtype,
)
from .settings import HuggingFaceSettings


def load(model: ModelSettings, settings: HuggingFaceSettings) -> Loaded:
    """Load the model that `model.name` names.

    Raises:
        UsageError: there is no such model or device, or a package that it needs is missing.
        BackendError: it does not fit into the device's memory.
    """
    device = pick_device(model.device)
    disable_cudnn_attention(device)
    if model.name.startswith(SHAPE):
        from .shapes import load_shape

        with relay_messages():
            return load_shape(model, settings, device)
    checkpoint = _found(model.name, settings)
    with relay_messages():
        adapter = adapter_folder(checkpoint, settings)
        if adapter is None:
            return _load(checkpoint, model, settings, device)
        base, settings = base_of(checkpoint, adapter, settings)
        loaded = _load(base, model, settings, device, tokenizer_files_of(checkpoint, adapter))
        network, note = merge_adapter(checkpoint, adapter, loaded.model)
        return attrs.evolve(
            loaded,
            model=network.eval(),
            name=checkpoint.name,
            content=adapted_content(loaded.content, adapter),
            notes={**loaded.notes, "adapter": note},
        )


def context(model: ModelSettings, settings: HuggingFaceSettings) -> int | None:
    """Return the context length if the configuration says it; None if that takes a load.

    Raises:
        UsageError: there is no such model or device.
    """
    pick_device(model.device)
    if model.name.startswith(SHAPE):
        return None
    place = _found(model.name, settings)
    with relay_messages():
        adapter = adapter_folder(place, settings)
        if adapter is not None:
            place, settings = base_of(place, adapter, settings)
        if place.folder is not None and place.gguf_file is not None:
            from .gguf import context_in

            return context_in(place.folder / place.gguf_file)
        return context_of(config_of(place, settings))


def _found(name: str, settings: HuggingFaceSettings) -> ModelFiles:
    """Return the location of a model; the hub is not asked for what is nearly a name known here."""
    found = find_checkpoint(name)
    if found.folder is None and settings.revision is None:
        refuse_near_miss(name)
    return found


def _load(
    checkpoint: ModelFiles,
    model: ModelSettings,
    settings: HuggingFaceSettings,
    device: torch.device,
    texts: ModelFiles | None = None,
) -> Loaded:
    """Load a checkpoint without an adapter, with the tokenizer of `texts` if given."""
    if checkpoint.gguf_file is not None:
        return _load_gguf(checkpoint, model, settings, device, texts)
    config = config_of(checkpoint, settings)
    quantisation = getattr(config, "quantization_config", None) or {}
    if not isinstance(quantisation, Mapping):
        quantisation = quantisation.to_dict()
    notes: Mapping[str, str] = {}
    if quantisation.get("quant_method") == "awq":
        from .awq import load_awq

        dtype = pick_dtype(model.dtype, device, auto_cuda=torch.float16)
        network, notes = load_awq(checkpoint, config, quantisation, device, dtype, settings)
        label = f"awq-{quantisation.get('bits', 4)}bit"
    else:
        dtype = pick_dtype(model.dtype, device)
        if not quantisation:  # packed weights take less than the architecture suggests
            with explain_failures(checkpoint):
                own_code = settings.trust_remote_code
                check_room(config, dtype, device, checkpoint.name, own_code)
        network = model_of(checkpoint, settings, dtype, device)
        label = str(quantisation.get("quant_method", "none"))
    tokenizer = tokenizer_of(texts or checkpoint, settings)
    return _finish(checkpoint, network, tokenizer, config, label, notes, device)


def _load_gguf(
    checkpoint: ModelFiles,
    model: ModelSettings,
    settings: HuggingFaceSettings,
    device: torch.device,
    texts: ModelFiles | None,
) -> Loaded:
    from .gguf import load_gguf, quantisation_of

    folder = checkpoint.folder
    assert folder is not None
    assert checkpoint.gguf_file is not None
    content = content_of(folder, checkpoint.gguf_file)
    label = quantisation_of(checkpoint.gguf_file)
    dtype = pick_dtype(model.dtype, device)
    network, tokenizer = load_gguf(checkpoint, content, settings, dtype, device)
    if texts is not None:
        tokenizer = tokenizer_of(texts, settings)
    return _finish(checkpoint, network, tokenizer, network.config, label, {}, device, content)


def _finish(
    checkpoint: ModelFiles,
    network: Any,
    tokenizer: Any,
    config: Any,
    quantisation: str,
    notes: Mapping[str, str],
    device: torch.device,
    content: str | None = None,
) -> Loaded:
    from transformers import GenerationConfig

    network = network.to(device).eval()
    check_placement(network, device)
    ends = network.generation_config.eos_token_id if network.generation_config else None
    ends = [] if ends is None else ends if isinstance(ends, list) else [ends]
    if tokenizer.eos_token_id is not None:
        ends.append(tokenizer.eos_token_id)
    pad = tokenizer.pad_token_id
    end_ids = tuple(dict.fromkeys(int(e) for e in ends))
    # The checkpoint's own sampling defaults (penalties, top-k) must not leak into a run.
    notes = {**notes, **_note_ignored(network.generation_config)}
    network.generation_config = GenerationConfig()
    if content is None:
        folder = checkpoint.folder
        if folder is not None:
            content = content_of(folder)
        else:
            content = f"hub:{checkpoint.location}@{getattr(config, '_commit_hash', None) or 'main'}"
    return Loaded(
        model=network,
        tokenizer=tokenizer,
        content=content,
        name=checkpoint.name,
        quantisation=quantisation,
        end_ids=end_ids,
        pad_id=int(pad if pad is not None else end_ids[0] if end_ids else 0),
        notes=notes,
    )


# Fields of a checkpoint's generation_config that would change the tokens; only its eos_token_id is
# used.
_IGNORED = (
    "do_sample", "temperature", "top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff",
    "eta_cutoff", "repetition_penalty", "no_repeat_ngram_size", "num_beams", "length_penalty",
    "penalty_alpha", "exponential_decay_length_penalty", "min_length", "min_new_tokens",
    "bad_words_ids", "suppress_tokens", "begin_suppress_tokens", "sequence_bias", "stop_strings",
    "forced_bos_token_id", "forced_eos_token_id", "guidance_scale", "watermarking_config",
)  # fmt: skip


def _note_ignored(config: Any) -> dict[str, str]:
    """Return a note on the fields of the checkpoint's generation_config that are ignored."""
    given = config.to_diff_dict() if config is not None else {}
    named = ", ".join(f"{key} {given[key]}" for key in _IGNORED if given.get(key))
    if not named:
        return {}
    return {"generation_config": f"not obeyed: {named:.200}; the sampling settings alone count"}
