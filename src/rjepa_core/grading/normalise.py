"""Answers as texts that can be compared: without the marks around them, and with plain characters.

What is changed here changes no meaning: `$\\text{18 eggs}$.` and `18 eggs` become the same.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal, InvalidOperation

_CHARACTERS = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "﹣": "-", "－": "-", "＋": "+",
    "×": r"\times ",
    "·": r"\cdot ", "÷": "/", "∕": "/", "⁄": "/", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ",
    "≈": r"\approx ", "±": r"\pm ", "∞": r"\infty ", "π": r"\pi ", "√": r"\sqrt ", "∪": r"\cup ",
    "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset ", "°": r"^\circ", "’": "'", "‘": "'", "“": '"',
    "”": '"', "，": ",", "．": ".", "％": "%", "（": "(", "）": ")", "：": ":", "；": ";",
    "＝": "=",
    "＄": "$", "／": "/",
}  # fmt: skip
_INVISIBLE = dict.fromkeys(
    [0xAD, 0x61C, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2065), 0xFEFF]
)
_SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻"
_RAISED = re.compile(f"[{_SUPERSCRIPTS}]+")
_LOWERED = str.maketrans(_SUPERSCRIPTS, "0123456789+-")
_SPACES = re.compile(r"\s+")
_LATEX_SPACE = re.compile(r"(?<!\\)\\(?:[,;:!> ]|quad\b|qquad\b|enspace\b|thinspace\b|space\b)|~")
_DROPPED = re.compile(
    r"\\(?:left|right|bigl?|bigr|Bigl?|Bigr|displaystyle|limits|textstyle)(?![a-zA-Z])|\\hspace\{[^{}]*\}"
)
_TEXT = re.compile(
    r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox|emph|textnormal|bf|rm)\s*\{([^{}]*)\}"
)
_FRACTION = re.compile(r"\\[dtc]frac(?![a-zA-Z])")
_SHORT_FRACTION = re.compile(r"\\frac\s*(?:(\d)\s*(\d)|(\{[^{}]*\})\s*(\d)|(\d)\s*(\{[^{}]*\}))")
_DEGREES = re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ)")
_GROUPED = re.compile(r"(?<=\d)(?:\{,\}|\\[,!]|,\\!)+(?=\d{3}(?!\d))")
_WRAPPINGS = (
    ("$$", "$$"),
    ("$", "$"),
    (r"\(", r"\)"),
    (r"\[", r"\]"),
    ("**", "**"),
    ("`", "`"),
    ("*", "*"),
)
_POWERS = re.compile(r" \^ ?")
_TRAILING = " .;"
_MOST_PASSES = 8
_NUMBER = re.compile(r"[$€£]?\s?(-?)\s?[$€£]?\s?((?:\d[\d,]*)?\.?\d+)\s?(?:%|[a-z ]*)", re.I)


def comparable(text: str) -> str:
    """The text with plain characters, one space for any, and without marks that mean nothing."""
    text = _SPACES.sub(" ", text)
    if not text.isascii():
        text = "".join(map(_plain, text.translate(_INVISIBLE)))
        text = _RAISED.sub(lambda found: f"^{{{found[0].translate(_LOWERED)}}}", text)
    if "\\" in text:
        text = _GROUPED.sub(",", text)
        text = _LATEX_SPACE.sub(" ", _DROPPED.sub("", text))
        text = _unwrapped_texts(text)
        text = _DEGREES.sub(r"^\\circ", _FRACTION.sub(r"\\frac", text))
        text = _SHORT_FRACTION.sub(_braced, text)
        text = _POWERS.sub("^", text)
        text = text.replace(r"\%", "%").replace(r"\$", "$ ").replace("{,}", ",")
    return _unwrapped(_SPACES.sub(" ", text).strip().rstrip(_TRAILING))


def same_text(one: str, other: str) -> bool:
    """Whether two comparable texts are equal; capitals count in mathematics alone."""
    if "\\" in one or "\\" in other or max(len(one), len(other)) == 1:
        return one == other or one.replace(" ", "") == other.replace(" ", "")
    return one.casefold() == other.casefold()


def said(answer: str) -> str:
    """What an answer says: equal numbers are one, however they are written."""
    text = comparable(answer)
    found = _NUMBER.fullmatch(text)
    if found is not None and len(text) < 100:
        try:
            number = Decimal(found[2].replace(",", ""))
        except InvalidOperation:
            return text.casefold()
        return f"{found[1]}{number.normalize():f}"
    return text.casefold()


def _plain(character: str) -> str:
    if character in _CHARACTERS:
        return _CHARACTERS[character]
    if character in _SUPERSCRIPTS or character.isascii():
        return character
    digit = unicodedata.decimal(character, None)
    if digit is not None:
        return str(digit)
    if unicodedata.category(character) == "No" and "⁄" in (found := _decomposed(character)):
        # A vulgar fraction, perhaps behind a whole number.
        return " " + found.replace("⁄", "/")
    return _decomposed(character) if "\uff00" <= character <= "\uffef" else character


def _decomposed(character: str) -> str:
    return unicodedata.normalize("NFKC", character)


def _unwrapped_texts(text: str) -> str:
    for _ in range(_MOST_PASSES):
        shorter = _TEXT.sub(r" \1 ", text)
        if shorter == text:
            break
        text = shorter
    return text


def _braced(found: re.Match[str]) -> str:
    top, bottom = [part for part in found.groups() if part is not None]
    return rf"\frac{{{top.strip('{}')}}}{{{bottom.strip('{}')}}}"


def _unwrapped(text: str) -> str:
    """Without the delimiters around all of it."""
    for _ in range(_MOST_PASSES):
        for begin, end in _WRAPPINGS:
            size = len(begin) + len(end)
            inner = text[len(begin) : -len(end)]
            around = len(text) > size and text.startswith(begin) and text.endswith(end)
            if around and begin not in inner and end not in inner:
                text = inner.strip().rstrip(_TRAILING)
                break
        else:
            return text
    return text
