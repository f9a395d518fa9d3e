"""Load a model onto one device, every parameter of it, or say how much memory is missing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import torch

from rjepa_core.errors import BackendError, UsageError
from rjepa_core.settings import ModelSettings

from .naming import SHAPE, Checkpoint, content_of, find_checkpoint
from .pretrained import config_of, explained, model_of, tokenizer_of
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

        with _quiet():
            return load_shape(model, settings, device)
    checkpoint = find_checkpoint(model.name)
    with _quiet():
        if checkpoint.gguf_file is not None:
            return _load_gguf(checkpoint, model, settings, device)
        config = config_of(checkpoint, settings)
        quantisation = getattr(config, "quantization_config", None) or {}
        if not isinstance(quantisation, Mapping):
            quantisation = quantisation.to_dict()
        if quantisation.get("quant_method") == "awq":
            from .awq import load_awq

            dtype = pick_dtype(model.dtype, device, auto_cuda=torch.float16)
            network, notes = load_awq(checkpoint, config, quantisation, device, dtype, settings)
            label = f"awq-{quantisation.get('bits', 4)}bit"
            return _finish(
                checkpoint,
                network,
                tokenizer_of(checkpoint, settings),
                config,
                label,
                notes,
                device,
            )
        dtype = pick_dtype(model.dtype, device)
        if not quantisation:  # packed weights take less than the architecture would say
            with explained(checkpoint):
                own_code = settings.trust_remote_code
                check_room(config, dtype, device, checkpoint.name, own_code)
        network = model_of(checkpoint, settings, dtype, device)
        label = str(quantisation.get("quant_method", "none"))
        return _finish(
            checkpoint, network, tokenizer_of(checkpoint, settings), config, label, {}, device
        )


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
    if device.type == "cuda" and device.index is None:
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
    if device.type == "cpu":
        import psutil

        return int(psutil.virtual_memory().available)
    return None


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
) -> Loaded:
    from .gguf import as_checkpoint, quantisation_of

    folder = checkpoint.folder
    assert folder is not None
    assert checkpoint.gguf_file is not None
    dtype = pick_dtype(model.dtype, device)
    content = content_of(folder, checkpoint.gguf_file)
    label = quantisation_of(checkpoint.gguf_file)
    place = as_checkpoint(checkpoint, content, settings.keep_converted)
    network = model_of(
        place,
        settings,
        dtype,
        device,
        **({"gguf_file": place.gguf_file} if place.gguf_file else {}),
    )
    return _finish(
        checkpoint,
        network,
        tokenizer_of(place, settings),
        network.config,
        label,
        {},
        device,
        content,
    )


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


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' loading bars and advice off the screen; errors still raise."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        logging.enable_progress_bar()
