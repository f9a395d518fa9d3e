"""Texts that do nothing to what shows them: a terminal, a page."""

from __future__ import annotations

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
        character
        if character in keep
        or character in _JOINERS
        or unicodedata.category(character) not in _OBEYED
        else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in text
    )
