"""Plain numbers with their units, read and compared without a computer algebra system."""

from __future__ import annotations

import re
from fractions import Fraction

import attrs

from rjepa_core.domain.grade import RIGHT, UNGRADED, WRONG, Verdict

from .units import NO_UNIT, SCALES, SIGNS, Unit, family, read_unit

UNITS_DIFFER = "units differ"
UNIT_UNCLEAR = "unit is unclear"
_MOST_DIGITS = 400
_DIGITS = r"(?:\d{1,3}(?:,\d{3})+|\d{1,3}(?:[ ]\d{3})+|\d+)(?!\d)"
_DECIMAL = rf"(?:{_DIGITS}(?:\.\d*)?|\.\d+)"
_POWER = (
    r"(?:[eE][+-]?\d{1,3}(?!\d)"
    r"|\s?(?:\\times|\*|x)\s?10\s?\^\s?(?:\{\s?[+-]?\d{1,3}\s?\}|[+-]?\d{1,3})(?!\d))"
)
_QUANTITY = re.compile(
    rf"""
    (?P<sign>[+-]?)\s?
    (?P<money>[$€£¥₹]?)\s?
    (?P<minus>-?)
    (?:
        (?P<whole>\d+)\s(?P<top>\d+)\s?/\s?(?P<bottom>\d+)
      | (?P<whole2>\d*)\s?\\frac\s?\{{\s?(?P<top2>[+-]?{_DIGITS})\s?\}}
        \s?\{{\s?(?P<bottom2>-?{_DIGITS})\s?\}}
      | (?P<top3>{_DIGITS})\s?/\s?(?P<bottom3>{_DIGITS})(?![\d.])
      | (?P<number>{_DECIMAL})(?P<power>{_POWER}?)
    )
    (?P<gap>\s?)(?P<rest>.*)
    """,
    re.X | re.S,
)
_PERCENT = re.compile(r"(?:%|percent\b|per cent\b|pct\b)", re.I)
_ABOUT = re.compile(
    r"^(?:\\approx|~|=|about|approximately|approx\.?|roughly|around|exactly|a total of|total:?)\s*",
    re.I,
)
_NEGATIVE = re.compile(r"^(?:negative|minus)\s+(?=[\d.$\\])", re.I)
_CODES = {"usd": "$", "us$": "$", "eur": "€", "gbp": "£"}
_CODE = re.compile(r"^(usd|us\$|eur|gbp)\s*(?=[\d.])", re.I)
# A fraction and the decimals of it are the same from so many decimals on.
_ROUNDED_FROM = 6
_UNITS_OF_TEN = ("zero one two three four five six seven eight nine ten eleven twelve thirteen "
                 "fourteen fifteen sixteen seventeen eighteen nineteen")  # fmt: skip
_NUMBERS = {word: i for i, word in enumerate(_UNITS_OF_TEN.split())}
_NUMBERS |= {
    word: 10 * i
    for i, word in enumerate(
        ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"), 2
    )
}


@attrs.frozen
class Quantity:
    """A number with its unit.

    Attributes:
        value: as it was written; a percentage without its sign.
        unit: none of it for a bare number.
        percent: there is a percent sign.
        decimals: digits behind the point, None where it was written as a fraction or power.
    """

    value: Fraction
    unit: Unit = NO_UNIT
    percent: bool = False
    decimals: int | None = None


def read_quantity(text: str) -> Quantity | None:
    """The quantity that a comparable text is, None where it is something else."""
    text = _NEGATIVE.sub("-", _ABOUT.sub("", text, count=1), count=1)
    text = _CODE.sub(lambda found: _CODES[found[1].lower()], text, count=1)
    found = _QUANTITY.fullmatch(text)
    if found is None:
        return _in_words(text)
    number = _value(found)
    if number is None:
        return None
    value, decimals = number
    if (found["sign"] == "-") != (found["minus"] == "-"):
        value = -value
    rest, apart = found["rest"].strip(), bool(found["gap"])
    if found["money"]:
        return _money(value, decimals, rest, SIGNS[found["money"]])
    if percent := _PERCENT.match(rest):
        behind = rest[percent.end() :].strip()
        unit = read_unit(behind.lower(), True)
        return None if unit is None else Quantity(value, NO_UNIT, True, decimals)
    if rest[:1] in SIGNS and not rest[1:].strip():
        return Quantity(value, SIGNS[rest[0]], False, decimals)
    if rest.startswith("^\\circ"):
        rest, apart = rest[1:].replace("\\circ ", "\\circ"), True
    value, rest = _scaled(value, rest.lower() if len(rest) > 1 else rest)
    unit = read_unit(rest, apart)
    return None if unit is None else Quantity(value, unit, False, decimals)


def compare_quantities(expected: Quantity, answer: Quantity) -> Verdict:
    """Whether a quantity is the expected one.

    A unit that one of them leaves out is the other's; a percentage may stand for its number or for
    its share.
    """
    if expected.percent != answer.percent:
        return _with_percent(*((expected, answer) if expected.percent else (answer, expected)))
    ours, theirs = expected.unit, answer.unit
    if {ours.name, theirs.name} == {"lb", "gbp"}:
        return Verdict(RIGHT if _equal(expected, answer) else WRONG)
    if ours.kind != theirs.kind and ours.kind[:11] == theirs.kind[:11] == "temperature":
        return Verdict(UNGRADED, UNITS_DIFFER)
    if ours.kind and theirs.kind:
        same = ours.kind == theirs.kind and _equal(
            attrs.evolve(expected, value=expected.value * ours.factor, unit=NO_UNIT),
            attrs.evolve(answer, value=answer.value * theirs.factor, unit=NO_UNIT),
        )
        return Verdict(RIGHT if same else WRONG)
    equal = _equal(expected, answer)
    if ours.name and theirs.name:
        alike = set(ours.name.split()) & set(theirs.name.split())
        if equal and not alike:
            return Verdict(UNGRADED, UNITS_DIFFER)
        return Verdict(RIGHT if equal else WRONG)
    if not equal and (unit := ours if ours.kind else theirs).kind and expected.value:
        ratio = answer.value / expected.value
        ratios = {unit.factor / one.factor for one in family(unit)}
        if ratio in ratios | {1 / one for one in ratios}:
            return Verdict(UNGRADED, UNIT_UNCLEAR)
    return Verdict(RIGHT if equal else WRONG)


def _with_percent(percentage: Quantity, other: Quantity) -> Verdict:
    if percentage.value == other.value * 100:
        return Verdict(RIGHT)
    if percentage.value == other.value:
        # 0.5 % is not a half, and nobody means by 0.5 that it is.
        return Verdict(RIGHT) if abs(other.value) >= 1 else Verdict(UNGRADED, UNIT_UNCLEAR)
    return Verdict(WRONG)


def _equal(one: Quantity, other: Quantity) -> bool:
    if one.value == other.value:
        return True
    for exact, rounded in ((one, other), (other, one)):
        if exact.decimals is None and (rounded.decimals or 0) >= _ROUNDED_FROM:
            off = abs(exact.value - rounded.value) * 10**rounded.decimals  # type: ignore[operator]
            # Rounded or cut off.
            if off < 1:
                return True
    return False


def _value(found: re.Match[str]) -> tuple[Fraction, int | None] | None:
    """The number in a match without its sign, and its decimals."""
    if found.start("gap") - found.start() > _MOST_DIGITS:
        return None
    if found["number"] is not None:
        digits = found["number"].replace(",", "").replace(" ", "")
        whole, _, behind = digits.partition(".")
        value = Fraction(int((whole + behind) or "0"), 10 ** len(behind))
        if not found["power"]:
            return value, len(behind)
        exponent = int(re.search(r"[+-]?\d+\s?\}?$", found["power"])[0].strip("} "))  # type: ignore[index]
        return value * Fraction(10) ** exponent, None
    top = _whole(found["top"] or found["top2"] or found["top3"])
    bottom = _whole(found["bottom"] or found["bottom2"] or found["bottom3"])
    before = _whole(found["whole"] or found["whole2"] or "0")
    if not bottom or (before and (top < 0 or bottom < 0)):
        return None
    return before + Fraction(top, bottom), None


def _whole(text: str) -> int:
    return int(text.replace(",", "").replace(" ", ""))


def _scaled(value: Fraction, rest: str) -> tuple[Fraction, str]:
    word, _, behind = rest.partition(" ")
    if word in SCALES:
        return value * SCALES[word], behind.strip()
    return value, rest


def _money(value: Fraction, decimals: int | None, rest: str, unit: Unit) -> Quantity | None:
    value, rest = _scaled(value, rest.lower())
    if rest.rstrip("s") not in ("", "dollar", "usd") and read_unit(rest, True) is None:
        return None
    return Quantity(value, unit, False, decimals)


def _in_words(text: str) -> Quantity | None:
    """`eighteen eggs`, `forty-two`, `a dozen`, `negative five`."""
    words = text.lower().replace("-", " ").split()
    if not words or len(words) > 2 + _ROUNDED_FROM or not all(word.isalpha() for word in words):
        return None
    sign = -1 if words[0] in ("negative", "minus") else 1
    words = words[1:] if sign < 0 else words
    if words[:1] in (["a"], ["an"]) and len(words) > 1 and words[1] in SCALES:
        words[0] = "one"
    total = value = 0
    used = 0
    for word in words:
        if word in _NUMBERS:
            if value % 10 or (value % 100 and _NUMBERS[word] > 9):
                return None  # `twenty-one two` is no number.
            value += _NUMBERS[word]
        elif word in SCALES and used:
            value *= SCALES[word]
            if SCALES[word] >= 1000:
                total, value = total + value, 0
        else:
            break
        used += 1
    if not used:
        return None
    unit = read_unit(" ".join(words[used:]), True)
    return None if unit is None else Quantity(Fraction(sign * (total + value)), unit, False, 0)
