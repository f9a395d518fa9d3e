"""Numbers as people write them, and texts that do nothing to a terminal."""

from __future__ import annotations

from rjepa_core.text import count as count
from rjepa_core.text import duration as duration
from rjepa_core.text import number as number
from rjepa_core.text import rate as rate
from rjepa_core.text import shell_word as shell_word
from rjepa_core.text import size as size
from rjepa_core.text import visible as visible
from rjepa_core.text import visible_json as visible_json

_LONGEST_NAME, _TAIL = 80, 16


def short_name(name: object) -> str:
    """A name for a listing: visible, and a long one without its middle."""
    text = visible(str(name), keep="")
    if len(text) <= _LONGEST_NAME:
        return text
    return f"{text[: _LONGEST_NAME - _TAIL - 1]}…{text[-_TAIL:]}"
