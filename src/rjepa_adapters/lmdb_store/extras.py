"""Libraries of the extra `data`, imported when they are needed."""

from __future__ import annotations

import importlib
from typing import Any

from rjepa_core.errors import UsageError


def need(module: str, purpose: str) -> Any:
    """The module.

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
