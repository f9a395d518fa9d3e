"""Libraries that come with an extra: imported when they are needed, or named where missing."""

from __future__ import annotations

import importlib
from typing import Any

from rjepa_core.errors import UsageError


def import_optional(module: str, purpose: str, extra: str = "data") -> Any:
    """Import and return a module of a library that an extra brings.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise UsageError(
            f"{purpose} needs {name}, which is not installed; pip install 'rjepa[{extra}]'"
        ) from error
