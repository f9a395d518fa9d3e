"""Texts that do nothing to what shows them: a terminal, a page."""

from __future__ import annotations

import shlex
import unicodedata

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
