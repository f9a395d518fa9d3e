"""Measurements in parts that are kept in a file, so that a long benchmark can be run in pieces."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Part = tuple[str, Callable[[], dict[str, Any]]]


def run_parts(state: Path, minutes: float, parts: Sequence[Part], about: dict[str, Any]) -> Any:
    """Do what is missing, in order, while the time lasts.

    Args:
        state: JSON file of what has been measured.
        minutes: begin no part that is expected to end later; 0 for no limit. How long a part takes
            is known from one of the same name (what stands before the `@`) in an earlier round.
        parts: name, and what measures it.
        about: what all parts must share; a file about something else is refused.

    Returns:
        what was measured, by name; None where parts are missing still.
    """
    kept: dict[str, Any] = json.loads(state.read_text()) if state.exists() else {"about": about}
    if kept["about"] != about:
        sys.exit(f"{state} holds measurements of {kept['about']}; remove it, or name another")
    began = time.monotonic()
    for name, measure in parts:
        if name in kept:
            continue
        kind = name.partition("@")[0]
        before = [one["took"] for key, one in kept.items() if key.partition("@")[0] == kind]
        left = minutes * 60 - (time.monotonic() - began)
        if minutes and (left <= 0 or (before and max(before) > left)):
            done = sum(part in kept for part, _ in parts)
            print(f"{done} of {len(parts)} parts done; run the same command again for the rest")
            return None
        at = time.monotonic()
        print(f"  {name} …", file=sys.stderr, flush=True)
        found = measure()
        kept[name] = {**found, "took": time.monotonic() - at}
        state.parent.mkdir(parents=True, exist_ok=True)
        unfinished = state.with_suffix(".new")
        unfinished.write_text(json.dumps(kept, indent=1))
        unfinished.replace(state)
        print(f"    {kept[name]}", file=sys.stderr, flush=True)
    return kept
