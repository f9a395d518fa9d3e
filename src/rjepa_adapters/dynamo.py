"""torch's compiler, imported without what it leaves among the system's temporary files."""

from __future__ import annotations

import importlib
import os

_COMPILED = "TORCHINDUCTOR_CACHE_DIR"


def import_dynamo() -> None:
    """Import what every optimiser of torch and every model of transformers imports.

    torch makes a folder for compiled code at that moment, though nothing is compiled yet.
    """
    if _COMPILED in os.environ:
        return
    import torch

    # One that is there. What is compiled later goes to torch's usual place.
    os.environ[_COMPILED] = os.path.dirname(torch.__file__)
    try:
        importlib.import_module("torch._dynamo")
    finally:
        del os.environ[_COMPILED]
