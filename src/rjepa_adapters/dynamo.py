"""Import torch's compiler without the folder that it makes among the system's temporary files."""

from __future__ import annotations

import importlib
import os

_CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


def import_dynamo() -> None:
    """Import `torch._dynamo`, as every torch optimiser and every transformers model does.

    torch makes a folder for compiled code on that import, though nothing is compiled yet.
    """
    if _CACHE_VARIABLE in os.environ:
        return
    import torch

    # A folder that exists. What is compiled later goes to torch's usual place.
    os.environ[_CACHE_VARIABLE] = os.path.dirname(torch.__file__)
    try:
        importlib.import_module("torch._dynamo")
    finally:
        del os.environ[_CACHE_VARIABLE]
