"""How surprising each step of a record is, as bars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rjepa_core.domain.trace import RecordKey
from rjepa_core.plugins import open_world_model
from rjepa_core.ports.store import LatentStore
from rjepa_core.scoring import score

_WIDTH = 24
_PARTS = " ▏▎▍▌▋▊▉█"


def add_surprise(
    facts: dict[str, Any], store: LatentStore, key: RecordKey, world_model: str
) -> None:
    """Put each step's surprise, and where it stands among validation's, into a record's facts."""
    opened = open_world_model(world_model)
    try:
        [scored] = score(store, [key], opened)
    finally:
        opened.close()
    facts["world_model"] = world_model
    for number, step in enumerate(facts["steps"]):
        step["surprise"] = float(f"{scored.surprise[number]:.4g}")
        if scored.percentiles is not None:
            step["surprise_percentile"] = round(scored.percentiles[number])


def surprise_line(step: Mapping[str, Any], largest: float) -> str:
    """A bar, the number, and what share of validation's steps surprised less."""
    share = step["surprise"] / largest if largest > 0 else 0.0
    eighths = round(share * _WIDTH * 8)
    bar = _PARTS[8] * (eighths // 8) + (_PARTS[eighths % 8] if eighths % 8 else "")
    place = step.get("surprise_percentile")
    among = f", above {place} % of validation's steps" if place is not None else ""
    most = "  <- the most surprising" if step["surprise"] == largest else ""
    return f"surprise {step['surprise']:<6} {bar:<{_WIDTH}}{among}{most}".rstrip()
