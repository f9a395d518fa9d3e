"""Parameters of flows, in the variants that tests ask for."""

from __future__ import annotations

from typing import Any

TRAIN = {"training": {"max_epochs": 2}, "model": {"width": 32, "predictor_width": 32}}
NOW = {"retry_delay_seconds": 0.0}


def failing(extraction: dict[str, Any], **faults: Any) -> dict[str, Any]:
    """The same extraction, failing in another way."""
    return {**extraction, "backend": {**extraction["backend"], **faults}}


def sound(extraction: dict[str, Any]) -> dict[str, Any]:
    """The same extraction on a backend that does not fail."""
    return {**extraction, "backend": "seeded"}
