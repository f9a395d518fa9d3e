"""Numbers as people write them, and texts that do nothing to a terminal."""

from __future__ import annotations

from rjepa_core.room import size as size
from rjepa_core.showing import visible as visible

_LONGEST_NAME, _TAIL = 80, 16


def duration(seconds: float) -> str:
    """Seconds, minutes or hours."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes / 1440:.1f} days"


def rate(value: float) -> str:
    """Two or three digits that matter."""
    if value == 0:
        return "0"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def count(number: int, noun: str) -> str:
    """`1 problem`, `2,000 problems`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def short_name(name: object) -> str:
    """A name for a listing: visible, and a long one without its middle."""
    text = visible(str(name), keep="")
    if len(text) <= _LONGEST_NAME:
        return text
    return f"{text[: _LONGEST_NAME - _TAIL - 1]}…{text[-_TAIL:]}"
