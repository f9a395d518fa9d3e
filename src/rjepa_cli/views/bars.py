"""Bars of block characters."""

from __future__ import annotations

_WIDTH = 24
_PARTS = " ▏▎▍▌▋▊▉█"


def bar(share: float) -> str:
    """Return a bar for a share from 0 to 1, padded to its full width."""
    eighths = round(share * _WIDTH * 8)
    shown = _PARTS[8] * (eighths // 8) + (_PARTS[eighths % 8] if eighths % 8 else "")
    return f"{shown:<{_WIDTH}}"
