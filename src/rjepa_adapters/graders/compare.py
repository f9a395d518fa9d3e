"""Compares answers as far as that needs no computer algebra system."""

from __future__ import annotations

import re

from rjepa_core.domain.grade import RIGHT, UNGRADED, WRONG, Verdict
from rjepa_core.grading import comparable, same_text

from .quantities import Quantity, compare_quantities, read_quantity

TOO_LONG = "too long"
UNREADABLE = "cannot be read"
CHOICE = "a choice's letter is expected"
WORDS_DIFFER = "wording differs"
SEVERAL_NUMBERS = "several numbers"
DECIMAL_COMMA = "decimal comma or two numbers"

_CHOICE = re.compile(r"(?:option |choice |answer )?\(?([A-Ja-j])\)?(?:[).:]\s*(?P<text>.*))?", re.S)
_LETTER = re.compile(r"\(?([A-J])\)?")
# Inequalities that words join are read as one of them.
_EITHER = re.compile(r"(?=.*(?:[<>]|\\[lg]e))(?=.*\b(?:or|and)\b)", re.S)
_DECIMAL_COMMA = re.compile(r"-?\d+,\d+")
# A name, words, or a calculation with numbers alone.
_NAME = re.compile(r"\s*(?:[A-Za-z]|\\[a-z]+)(?:_\{?\w+\}?)?(?:\([A-Za-z]\))?\s*")
_LEFT_SIDE = re.compile(
    rf"{_NAME.pattern}|\s*[A-Za-z]{{2,}}(?: [A-Za-z]{{2,}})*\s*"
    r"|(?:[-+*/^().,%$€£\d\s{}]|\\times|\\cdot|\\div|\\frac)+"
)
_WORDY = re.compile(r"[A-Za-z]{2}")
_MATHS = re.compile(r"[\d\\^=<>+*/{}\[\]_|!$]")
_NUMBER_INSIDE = re.compile(
    r"(?<![\w.,/^])[-$€£]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?%?(?![\w/^*]|[.,]\d)"
)
# Around a number in a sentence, these say that it is not the answer, or not all of it.
_HEDGES = re.compile(
    r"\b(?:not|no|never|less|more than|fewer|greater|at least|at most|over|under|above|below|"
    r"between|half|twice|double|triple|third|quarter|squared|cubed|times|dozen|hundred|thousand|"
    r"million|billion|negative|minus|plus|or|either|than|root|power|factorial|remainder|instead|wrong|unless|if)\b",
    re.I,
)
# Numbers in words that were not read.
_IN_WORDS = re.compile(
    r"\b(?:half|twice|double|triple|thirds?|quarters?|dozens?|hundreds?|thousands?|millions?|"
    r"[a-z]*teen|[a-z]*ty|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)\b",
    re.I,
)
# Words of LaTeX's and functions that mathematics has; any others are no mathematics.
_COMMANDS = re.compile(r"\\(?:(?:begin|end|operatorname\*?)\s*\{[a-zA-Z*]*\}|[a-zA-Z]+)")
_FUNCTIONS = {"sqrt", "infinity", "infty", "inf", "sin", "cos", "tan", "log", "exp", "xyz", "abc"}
_LONG_WORD = re.compile(r"[A-Za-z]{3,}")
_NONE = re.compile(
    r"none(?: of (?:these|the above|them|the choices|the options|the given options))?|nota", re.I
)
_ALIKE = (
    {"yes", "true", "correct"},
    {"no", "false", "incorrect"},
    {"undefined", "not defined", "does not exist", "dne"},
    {"infinitely many", "infinite", "infinity", "infinitely many solutions", "\\infty"},
    {"no solution", "no solutions", "there is no solution", "\\emptyset", "\\varnothing",
     "empty set", "the empty set", "no real solution", "no real solutions"},
)  # fmt: skip


def compare(expected: str, answer: str, longest: int) -> Verdict | None:
    """The verdict on an answer, None where only mathematics can tell.

    Args:
        longest: characters of an answer, or of what is expected, beyond which neither is read.
    """
    if max(len(expected), len(answer)) > longest:
        return Verdict(RIGHT) if expected.strip() == answer.strip() else Verdict(UNGRADED, TOO_LONG)
    ours, theirs = comparable(expected), comparable(answer)
    if not ours or not theirs:
        return Verdict(UNGRADED, UNREADABLE)
    if same_text(ours, theirs):
        return Verdict(RIGHT)
    if "=" in ours and "=" in theirs and ours.split("=")[0].strip() != theirs.split("=")[0].strip():
        return None  # Of equations it counts what they are about.
    wanted, found = _quantity(ours), _quantity(theirs)
    if wanted is not None and found is not None:
        return compare_quantities(wanted, found)
    if _DECIMAL_COMMA.fullmatch(ours) or _DECIMAL_COMMA.fullmatch(theirs):
        one, other = (_quantity(text.replace(",", ".")) for text in (ours, theirs))
        if one is not None and other is not None and one.value == other.value:
            return Verdict(UNGRADED, DECIMAL_COMMA)
    if _LETTER.fullmatch(ours):
        return _choice(ours, theirs, found)
    if wanted is not None and (_is_prose(theirs) or _is_words(theirs)):
        return _in_prose(wanted, theirs)
    if found is not None and _is_words(ours):
        return Verdict(WRONG)
    if _is_words(ours) and _is_words(theirs):
        return _words(ours, theirs)
    if _is_words(ours) != _is_words(theirs) and _alike(ours, theirs):
        return Verdict(RIGHT)
    if _is_prose(ours) or _is_prose(theirs):
        return _sentences(ours, theirs)
    if _EITHER.search(ours) or _EITHER.search(theirs):
        return Verdict(UNGRADED, WORDS_DIFFER)
    if any(_has_words(text) for text in (ours, theirs)):
        return Verdict(UNGRADED, UNREADABLE)
    return None


def _quantity(text: str) -> Quantity | None:
    """The quantity that a text is, or that `x = 18` or `6 * 3 = 18` ends with."""
    found = read_quantity(text)
    if found is None and "=" in text:
        *left, last = text.split("=")
        if all(map(_LEFT_SIDE.fullmatch, left)):
            found = read_quantity(last.strip())
        if found is None and len(left) == 1 and _NAME.fullmatch(last):
            found = read_quantity(left[0].strip())
    return found


def _choice(expected: str, answer: str, found: Quantity | None) -> Verdict | None:
    wanted = _LETTER.fullmatch(expected)
    assert wanted is not None
    named = _CHOICE.fullmatch(answer)
    if named is not None:
        return Verdict(RIGHT if named[1].upper() == wanted[1] else WRONG)
    if found is not None or _is_words(answer) or _is_prose(answer):
        return Verdict(UNGRADED, CHOICE)
    return None


def _is_words(text: str) -> bool:
    return bool(_WORDY.search(text)) and not _MATHS.search(text)


def _is_prose(text: str) -> bool:
    """Whether it is a sentence, or several words, perhaps with numbers among them."""
    words = re.findall(r"(?<![\\\w])[A-Za-z]{2,}", text)
    return len(words) >= 2 and not re.search(r"[\\^_=<>{}\[\]]", text)


def _has_words(text: str) -> bool:
    """Whether there are words in it that mathematics does not have."""
    return not {*_LONG_WORD.findall(_COMMANDS.sub(" ", text))} <= _FUNCTIONS


def _in_prose(expected: Quantity, text: str) -> Verdict:
    """The one number in a sentence."""
    numbers = _NUMBER_INSIDE.findall(text)
    if not numbers and not re.search(r"\d", text):
        return Verdict(UNGRADED, WORDS_DIFFER) if _IN_WORDS.search(text) else Verdict(WRONG)
    if len(set(numbers)) != 1 or len(re.findall(r"\d", text)) != sum(
        c.isdigit() for number in numbers for c in number
    ):
        return Verdict(UNGRADED, SEVERAL_NUMBERS)
    if _HEDGES.search(text):
        return Verdict(UNGRADED, WORDS_DIFFER)
    found = read_quantity(numbers[0])
    return compare_quantities(expected, found) if found else Verdict(UNGRADED, UNREADABLE)


def _words(ours: str, theirs: str) -> Verdict:
    one, other = (
        re.sub(r"[^\w\s]|^(?:the|a|an) ", "", t.casefold()).strip() for t in (ours, theirs)
    )
    if one == other or _alike(one, other):
        return Verdict(RIGHT)
    if {*one.split()} <= {*other.split()} or {*other.split()} <= {*one.split()}:
        return Verdict(UNGRADED, WORDS_DIFFER)
    return Verdict(WRONG)


def _alike(ours: str, theirs: str) -> bool:
    one, other = ours.casefold(), theirs.casefold()
    if _NONE.fullmatch(one) and _NONE.fullmatch(other):
        return True
    return any(one in same and other in same for same in _ALIKE)


def _sentences(ours: str, theirs: str) -> Verdict:
    """Sentences with numbers in them are no mathematics, and equal ones have been met."""
    numbers = [re.findall(r"\d+", text) for text in (ours, theirs)]
    if numbers[0] == numbers[1]:
        return Verdict(UNGRADED, WORDS_DIFFER)
    if _is_words(ours) or _is_words(theirs):
        return Verdict(UNGRADED, WORDS_DIFFER)
    return Verdict(UNGRADED, SEVERAL_NUMBERS)
