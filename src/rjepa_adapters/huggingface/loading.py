"""Load a model onto one device, every parameter of it, or say how much memory is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import torch

from rjepa_core.errors import BackendError, UsageError
from rjepa_core.settings import ModelSettings

from ..probes.host import free_bytes as free_host_bytes
from .checkpoints import (
    SHAPE,
    Checkpoint,
    config_of,
    content_of,
    context_of,
    explained,
    find_checkpoint,
    model_of,
    tokenizer_of,
)
from .library_log import heard
from .lora import adapted_content, adapter_folder, base_of, merged, texts_of
from .settings import HuggingFaceSettings

GIB = 1 << 30


@attrs.frozen(eq=False)
class Loaded:
    """A model ready for use.

    Attributes:
        model, tokenizer: of transformers.
        content, name, quantisation, notes: as in `ModelInfo`.
        end_ids: tokens that end a completion.
        pad_id: token for padding; always masked.
    """

    model: Any
    tokenizer: Any
    content: str
    name: str
    quantisation: str
    end_ids: tuple[int, ...]
    pad_id: int
    notes: Mapping[str, str]


def load(model: ModelSettings, settings: HuggingFaceSettings) -> Loaded:
    """Load what `model.name` says.

    Raises:
        UsageError: no such model or device, or a package that it needs is missing.
        BackendError: it does not fit into the device's memory.
    """
    device = pick_device(model.device)
    keep_off_plans(device)
    if model.name.startswith(SHAPE):
        from .shapes import load_shape

        with heard():
            return load_shape(model, settings, device)
    checkpoint = find_checkpoint(model.name)
    with heard():
        adapter = adapter_folder(checkpoint, settings)
        if adapter is None:
            return _load(checkpoint, model, settings, device)
        base, settings = base_of(checkpoint, adapter, settings)
        loaded = _load(base, model, settings, device, texts_of(checkpoint, adapter))
        network, note = merged(checkpoint, adapter, loaded.model)
        return attrs.evolve(
            loaded,
            model=network.eval(),
            name=checkpoint.name,
            content=adapted_content(loaded.content, adapter),
            notes={**loaded.notes, "adapter": note},
        )


def context(model: ModelSettings, settings: HuggingFaceSettings) -> int | None:
    """Most tokens of a sequence, told by the configuration alone; None where that takes a load.

    Raises:
        UsageError: there is no such model or device.
    """
    pick_device(model.device)
    if model.name.startswith(SHAPE):
        return None
    place = find_checkpoint(model.name)
    with heard():
        adapter = adapter_folder(place, settings)
        if adapter is not None:
            place, settings = base_of(place, adapter, settings)
        if place.folder is not None and place.gguf_file is not None:
            from .gguf import context_in

            return context_in(place.folder / place.gguf_file)
        return context_of(config_of(place, settings))


def _load(
    checkpoint: Checkpoint,
    model: ModelSettings,
    settings: HuggingFaceSettings,
    device: torch.device,
    texts: Checkpoint | None = None,
) -> Loaded:
    """A checkpoint without an adapter, with the tokenizer of `texts` if there is one."""
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
        if not quantisation:  # packed weights take less than the architecture would say
            with explained(checkpoint):
                own_code = settings.trust_remote_code
                check_room(config, dtype, device, checkpoint.name, own_code)
        network = model_of(checkpoint, settings, dtype, device)
        label = str(quantisation.get("quant_method", "none"))
    tokenizer = tokenizer_of(texts or checkpoint, settings)
    return _finish(checkpoint, network, tokenizer, config, label, notes, device)


def pick_device(name: str) -> torch.device:
    """The device by name; `auto` takes CUDA where there is a card.

    Raises:
        UsageError: it is not there.
    """
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda:0" if cards else "cpu")
    there = ["cpu", *(f"cuda:{i}" for i in range(cards))]
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(
            f"model.device: {name!r} is no device; there is {', '.join(there)}"
        ) from None
    if str(device) == "cuda":
        device = torch.device("cuda:0")
    if device.type == "mps" and torch.backends.mps.is_available():
        return device
    if str(device) not in there:
        raise UsageError(f"model.device: {name} is not there; there is {', '.join(there)}")
    return device


def keep_off_plans(device: torch.device) -> None:
    """Keep attention on a card off cuDNN, for the whole process.

    On some cards torch prefers it, and it makes a plan, which takes longer than a forward, for each
    number of tokens that it has not seen: at every token of a completion.
    """
    if device.type == "cuda":
        torch.backends.cuda.enable_cudnn_sdp(False)


def pick_dtype(
    name: str, device: torch.device, auto_cuda: torch.dtype = torch.bfloat16
) -> torch.dtype:
    """The compute dtype; `auto` is float32 on a CPU and a half type on a card."""
    if name != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[
            name
        ]
    if device.type != "cuda":
        return torch.float32
    if auto_cuda is torch.bfloat16 and not torch.cuda.is_bf16_supported():
        return torch.float16
    return auto_cuda


def check_room(
    config: Any, dtype: torch.dtype, device: torch.device, name: str, own_code: bool = False
) -> None:
    """Compare the weights' size with the free memory before anything is loaded.

    Raises:
        BackendError: they do not fit; nothing is ever offloaded.
    """
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=own_code)
    needed = sum(p.numel() * p.element_size() for p in empty.parameters())
    free = free_bytes(device)
    if free is not None and needed > free:
        raise BackendError(
            f"{name} needs {needed / GIB:.1f} GiB on {device} for its weights in "
            f"{str(dtype).removeprefix('torch.')}, {free / GIB:.1f} GiB are free: "
            f"{(needed - free) / GIB:.1f} GiB are missing. Nothing is offloaded; use a smaller "
            "dtype, a quantised checkpoint, or another --device"
        )


def free_bytes(device: torch.device) -> int | None:
    """Memory that a load may take; None where the device does not tell."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return free_host_bytes() if device.type == "cpu" else None


def check_placement(model: Any, device: torch.device) -> None:
    """Every parameter and buffer must be where it was asked to be.

    Raises:
        BackendError: some are on `meta` or elsewhere.
    """
    astray: dict[str, int] = {}
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.device != device:
            size = tensor.numel() * tensor.element_size()
            astray[str(tensor.device)] = astray.get(str(tensor.device), 0) + size
    if astray:
        where = ", ".join(f"{size / GIB:.2f} GiB on {place}" for place, size in astray.items())
        raise BackendError(
            f"the model is not whole on {device}: {where}; that much memory is missing there"
        )


def _load_gguf(
    checkpoint: Checkpoint,
    model: ModelSettings,
    settings: HuggingFaceSettings,
    device: torch.device,
    texts: Checkpoint | None,
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
    checkpoint: Checkpoint,
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
    notes = {**notes, **_not_obeyed(network.generation_config)}
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


# What of a checkpoint's generation_config would draw other tokens; only eos_token_id is obeyed.
_NOT_OBEYED = (
    "do_sample", "temperature", "top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff",
    "eta_cutoff", "repetition_penalty", "no_repeat_ngram_size", "num_beams", "length_penalty",
    "penalty_alpha", "exponential_decay_length_penalty", "min_length", "min_new_tokens",
    "bad_words_ids", "suppress_tokens", "begin_suppress_tokens", "sequence_bias", "stop_strings",
    "forced_bos_token_id", "forced_eos_token_id", "guidance_scale", "watermarking_config",
)  # fmt: skip


def _not_obeyed(config: Any) -> dict[str, str]:
    """A note on what the checkpoint asks for and does not get."""
    given = config.to_diff_dict() if config is not None else {}
    named = ", ".join(f"{key} {given[key]}" for key in _NOT_OBEYED if given.get(key))
    if not named:
        return {}
    return {"generation_config": f"not obeyed: {named:.200}; the sampling settings alone count"}
