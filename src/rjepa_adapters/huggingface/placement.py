"""Device, dtype and memory of a model: whether it fits, and how running out is recognised."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import attrs
import psutil
import torch

from rjepa_core.errors import BackendError, OutOfMemoryError, UsageError

from ..probes.host import free_bytes as free_host_bytes

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


def pick_device(name: str) -> torch.device:
    """Return the device of a name; `auto` is CUDA if there is a card.

    Raises:
        UsageError: there is no such device.
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


def disable_cudnn_attention(device: torch.device) -> None:
    """Disable cuDNN's attention for the whole process, if `device` is a card.

    On some cards torch prefers it, but it makes a plan, which takes longer than a forward, for each
    number of tokens that it has not seen: at every token of a completion.
    """
    if device.type == "cuda":
        torch.backends.cuda.enable_cudnn_sdp(False)


def pick_dtype(
    name: str, device: torch.device, auto_cuda: torch.dtype = torch.bfloat16
) -> torch.dtype:
    """Return the compute dtype; `auto` is float32 on a CPU and a half type on a card."""
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
        BackendError: they do not fit, and nothing is offloaded.
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
            "dtype, a quantised checkpoint, or another model.device"
        )


def free_bytes(device: torch.device) -> int | None:
    """Return the memory that a load may take; None if the device does not report it."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return free_host_bytes() if device.type == "cpu" else None


def check_placement(model: Any, device: torch.device) -> None:
    """Check that every parameter and buffer is on the device.

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


T = TypeVar("T")

_SIGNS = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "std::bad_alloc",
)
_UNITS = {"bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
# torch says "tried to allocate", numpy "unable to allocate".
_ASKED = re.compile(r"(?:tried|unable) to allocate ([\d.]+) (bytes|[KMGT]iB)", re.I)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory ran out; torch has several such errors."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def asked_bytes(message: str) -> int | None:
    """Return the bytes of the failed request, if the message says."""
    match = _ASKED.search(message)
    return int(float(match[1]) * _UNITS[match[2]]) if match else None


def held_bytes(device: torch.device) -> int:
    """Return the bytes this process holds: on a card its tensors, on the host its resident set."""
    if device.type == "cuda":
        return int(torch.cuda.memory_allocated(device))
    return int(psutil.Process().memory_info().rss)


def convert_out_of_memory(device: torch.device, call: Callable[[], T]) -> T:
    """Return what `call` returns; raise the core's `OutOfMemoryError` if memory runs out.

    The new error is raised outside the handler: the old one's traceback would keep every tensor of
    the failed batch alive, and a smaller retry would find no more memory than the first try.
    """
    try:
        return call()
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, OutOfMemoryError) or not is_out_of_memory(error):
            raise
        message = str(error).splitlines()[0] if str(error) else type(error).__name__
        # Here the failed batch's tensors are still alive: together with the failed request, they
        # are the least that it would have needed.
        asked = asked_bytes(message)
        needed = None if asked is None else held_bytes(device) + asked
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    raise OutOfMemoryError(message, needed)
