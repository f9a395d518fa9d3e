"""What has to be there before anything is exported or imported."""

from __future__ import annotations

import importlib
from typing import Any

from rjepa_core.domain.identity import Identity
from rjepa_core.errors import UsageError
from rjepa_core.ports.store import LatentStore


def exportable(store: LatentStore, per_shard: int) -> Identity:
    """Return the identity of a store that is to be exported.

    Raises:
        UsageError: it was never written to, or `per_shard` is below 1.
    """
    if per_shard < 1:
        raise UsageError(f"per_shard: {per_shard} records a shard; at least 1")
    if store.identity is None:
        raise UsageError(f"{store.location}: it was never written to; there is nothing to export")
    return store.identity


def need(module: str, purpose: str) -> Any:
    """Import and return the module.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise UsageError(
            f"{purpose} needs {name}, which is not installed; pip install 'rjepa[data]'"
        ) from error
