"""Numbers as people write them."""

from __future__ import annotations

import shlex
import unicodedata


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


def number(value: float) -> str:
    """Whole numbers whole, others with four digits."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


# Characters that a terminal obeys rather than shows: controls, formats (which turn the direction of
# writing), line and paragraph separators, and halves of surrogate pairs.
_OBEYED = {"Cc", "Cf", "Zl", "Zp", "Cs"}
# Formats that scripts and emoji are written with.
_JOINERS = "\u200c\u200d"


def visible(text: str, keep: str = "\t") -> str:
    """Control characters, and those that turn the direction of writing, as escapes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape", "surrogatepass").decode("ascii")
        if character not in keep and _is_obeyed(character)
        else character
        for character in text
    )


def visible_json(text: str) -> str:
    """JSON that means the same, with its own escapes for what a terminal obeys."""
    found = {character for character in set(text) - {"\n"} if _is_obeyed(character)}
    return text.translate({ord(character): _json_escape(character) for character in found})


def shell_word(word: str) -> str:
    """A word of a command to be pasted; bash and zsh read back what a terminal would obey."""
    if not any(map(_is_obeyed, word)):
        return shlex.quote(word)
    escaped = word.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + "".join(_bytes_escape(c) if _is_obeyed(c) else c for c in escaped) + "'"


def _is_obeyed(character: str) -> bool:
    return character not in _JOINERS and unicodedata.category(character) in _OBEYED


def _bytes_escape(character: str) -> str:
    # A byte of a path that is not UTF-8 stands as a lone surrogate.
    errors = "surrogateescape" if "\udc80" <= character <= "\udcff" else "surrogatepass"
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", errors))


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))


def size(count: float) -> str:
    """Bytes in the unit that suits."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or (unit == "B" and count < 10_000):
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"
