"""Format numbers for people, and escape text for a terminal."""

from __future__ import annotations

import shlex
import unicodedata
from collections.abc import Mapping
from typing import Any


def duration(seconds: float) -> str:
    """Format a duration in seconds, minutes, hours or days."""
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
    """Format a rate with three significant digits, or as a whole number from 100 on."""
    if value == 0:
        return "0"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def count(number: int, noun: str) -> str:
    """Format a number with its noun: `1 problem`, `2,000 problems`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def number(value: float) -> str:
    """Format an integer in full, any other number with four significant digits."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


# Categories of characters that a terminal interprets rather than shows: control and format
# characters (some change the writing direction), line and paragraph separators, lone surrogates.
_INTERPRETED = {"Cc", "Cf", "Zl", "Zp", "Cs"}
# Format characters that scripts and emoji need.
_JOINERS = "\u200c\u200d"


def visible(text: str, keep: str = "\t") -> str:
    """Escape control characters and those that change the writing direction."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape", "surrogatepass").decode("ascii")
        if character not in keep and _is_interpreted(character)
        else character
        for character in text
    )


def visible_json(text: str) -> str:
    """Escape the characters in a JSON text that a terminal interprets, as JSON does."""
    unsafe = {character for character in set(text) - {"\n"} if _is_interpreted(character)}
    return text.translate({ord(character): _json_escape(character) for character in unsafe})


def shell_word(word: str) -> str:
    """Quote a word for a shell command; control characters become escapes of bash and zsh."""
    if not any(map(_is_interpreted, word)):
        return shlex.quote(word)
    escaped = word.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + "".join(_bytes_escape(c) if _is_interpreted(c) else c for c in escaped) + "'"


def _is_interpreted(character: str) -> bool:
    return character not in _JOINERS and unicodedata.category(character) in _INTERPRETED


def _bytes_escape(character: str) -> str:
    # Python represents a byte of a path that is not UTF-8 as a lone surrogate.
    errors = "surrogateescape" if "\udc80" <= character <= "\udcff" else "surrogatepass"
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", errors))


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))


def html_table(title: str, rows: Mapping[str, str]) -> str:
    """Return names and values as a table for a notebook."""
    # Not loaded where nothing is shown.
    from html import escape

    keep = "\t\n"
    cells = "".join(
        f'<tr><th style="text-align:left">{escape(visible(name))}</th>'
        f'<td style="text-align:left">{escape(visible(value, keep))}</td></tr>'
        for name, value in rows.items()
    )
    return f"<table><caption>{escape(visible(title))}</caption>{cells}</table>"


def shortened(text: str, most: int = 40) -> str:
    """Return the beginning of a text on one line, quoted."""
    line = " ".join(text.split())
    return repr(line if len(line) <= most else f"{line[: most - 1]}…")


def shape_text(array: Any) -> str:
    """Return the dtype and shape of an array: `float16[1, 5, 576]`; of anything else its repr."""
    shape = getattr(array, "shape", None)
    return repr(array) if shape is None else f"{array.dtype}{list(shape)}"


def size(count: float) -> str:
    """Format a number of bytes in a suitable unit."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or (unit == "B" and count < 10_000):
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"
