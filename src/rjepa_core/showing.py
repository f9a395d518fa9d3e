"""Texts that do nothing to what shows them: a terminal, a page."""

from __future__ import annotations

import shlex
import unicodedata
from collections.abc import Iterable

# Characters that a terminal obeys rather than shows: controls, formats (which turn the direction of
# writing), line and paragraph separators, and halves of surrogate pairs.
_OBEYED = {"Cc", "Cf", "Zl", "Zp", "Cs"}
# Formats that scripts and emoji are written with.
_JOINERS = "\u200c\u200d"
# What means itself between the quotes of a shell.
_PLAIN = frozenset(map(chr, range(32, 127))) - {"'", "\\"}


def visible(text: str, keep: str = "\t") -> str:
    """Control characters, and those that turn the direction of writing, as escapes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character
        if character in keep
        or character in _JOINERS
        or unicodedata.category(character) not in _OBEYED
        else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in text
    )


def command_line(words: Iterable[str]) -> str:
    """Words as a shell takes them; what cannot be shown, a name that is not UTF-8 say, is spelt."""
    return " ".join(map(_shell_word, words))


def _shell_word(word: str) -> str:
    if visible(word, keep="") == word:
        return shlex.quote(word)
    raw = word.encode("utf-8", "surrogateescape")
    return "$'" + "".join(chr(b) if chr(b) in _PLAIN else f"\\x{b:02x}" for b in raw) + "'"
