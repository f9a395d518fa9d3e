"""Running out of memory: know every form of it, and let go of what failed."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable
from typing import TypeVar

import psutil
import torch

from rjepa_core.errors import OutOfMemoryError

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
# torch tried to, numpy is unable to.
_ASKED = re.compile(r"(?:tried|unable) to allocate ([\d.]+) (bytes|[KMGT]iB)", re.I)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out; torch says it in several ways."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def asked_bytes(message: str) -> int | None:
    """What the failed request asked for, where the message tells."""
    match = _ASKED.search(message)
    return int(float(match[1]) * _UNITS[match[2]]) if match else None


def held_bytes(device: torch.device) -> int:
    """What this process holds now: on a card the tensors, on the host the resident set."""
    if device.type == "cuda":
        return int(torch.cuda.memory_allocated(device))
    return int(psutil.Process().memory_info().rss)


def guarded(device: torch.device, call: Callable[[], T]) -> T:
    """Call, and raise the core's `OutOfMemoryError` where memory ran out.

    The new error is raised outside the handler: the old one's traceback would keep every tensor of
    the failed batch alive, and the smaller retry would find no more room than the first try.
    """
    try:
        return call()
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, OutOfMemoryError) or not is_out_of_memory(error):
            raise
        message = str(error).splitlines()[0] if str(error) else type(error).__name__
        # Here the failed batch's tensors are still alive: with what was asked for last, they are
        # the least that it would have needed.
        asked = asked_bytes(message)
        needed = None if asked is None else held_bytes(device) + asked
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    raise OutOfMemoryError(message, needed)
