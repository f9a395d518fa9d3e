"""Units of the quantities that answers name, and what of them is the same."""

from __future__ import annotations

import re
from fractions import Fraction

import attrs


@attrs.frozen
class Unit:
    """A unit.

    Attributes:
        name: as it is compared; empty for none.
        kind: what it measures, where that is known: units of one kind are converted.
        factor: how many of its kind's first unit it is.
    """

    name: str = ""
    kind: str = ""
    factor: Fraction = Fraction(1)


# Of each kind: a unit's factor and its names, in the singular. The first is the kind's own.
_KINDS: dict[str, dict[str, str]] = {
    "length": {
        "1": "m meter metre", "1000": "km kilometer kilometre",
        "1/100": "cm centimeter centimetre",
        "1/1000": "mm millimeter millimetre", "381/1250": "ft foot feet",
        "127/5000": "in inch inches",
        "1143/1250": "yd yard", "201168/125": "mi mile",
    },
    "area": {
        "1": "m^2 sq_m square_meter square_metre",
        "1/10000": "cm^2 sq_cm square_centimeter square_centimetre",
        "145161/1562500": "ft^2 sq_ft square_foot square_feet",
        "16129/25000000": "in^2 sq_in square_inch square_inches",
    },
    "mass": {"1": "g gram gramme", "1000": "kg kilogram kilo", "1/1000": "mg milligram",
             "45359237/100000": "lb lbs pound", "45359237/1600000": "oz ounce",
             "1000000": "t ton tonne"},
    "time": {"1": "s sec second", "60": "min minute", "3600": "h hr hour", "86400": "d day",
             "604800": "week"},
    "volume": {"1": "l liter litre", "1/1000": "ml milliliter millilitre"},
    "dollars": {"1": "dollar usd buck", "1/100": "cent"},
    "euros": {"1": "euro eur"},
    "pounds sterling": {"1": "gbp pound_sterling", "1/100": "pence penny p"},
    "yen": {"1": "yen jpy"},
    "rupees": {"1": "rupee inr"},
    "temperature in F": {"1": "fahrenheit degree_fahrenheit degrees_fahrenheit \\circf f"},
    "temperature in C": {"1": "celsius degree_celsius degrees_celsius \\circc"},
    "angle": {"1": "degree deg \\circ"},
}  # fmt: skip
NO_UNIT = Unit()
_UNITS = {
    name: Unit(names.split()[0], kind, Fraction(factor))
    for kind, units in _KINDS.items()
    for factor, names in units.items()
    for name in names.split()
}
# Pounds are money behind a sign alone, and weight as a word.
SIGNS = {
    "$": _UNITS["dollar"], "€": _UNITS["euro"], "£": _UNITS["gbp"], "¥": _UNITS["yen"],
    "₹": _UNITS["rupee"],
}  # fmt: skip
# What a number is multiplied by.
SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
SCALES |= {"dozen": 12, "dozens": 12}
# Words behind a number that make another number of it, or no quantity at all.
_NO_UNITS = {
    "or", "and", "to", "of", "plus", "minus", "times", "if", "not", "between", "is", "but", "than",
    "where", "when", "for", "squared", "cubed", "mod", "modulo", "choose", "pi", "i", "e", "at",
    "half", "quarter", "halves", "quarters", "third", "thirds", "remainder", "r", "off", "on",
    "cos",
    "sin", "tan", "log", "ln", "sqrt", "with", "in", "as", "by", "x", "y", "z", "n", "k",
}  # fmt: skip
_NO_UNITS |= {
    f"{word}th{plural}"
    for word in ("four", "fif", "six", "seven", "eigh", "nin", "ten", "hundred")
    for plural in ("", "s")
}
_NO_UNITS |= {"factorial", "twice", "thrice", "double"}
_PER = re.compile(r"\bper\b")
_MOST_WORDS = 4


def read_unit(text: str, apart: bool) -> Unit | None:
    """The unit that a text behind a number names; None where that is none.

    Args:
        text: lower case, without white space around it.
        apart: there is white space in front of it: `5 m`, not `5m`, which may be 5 times m.
    """
    if not text:
        return NO_UNIT
    words = [word.strip(".") for word in _PER.sub("/", text).split()]
    whole = "_".join(words)
    for name in (whole, whole.removesuffix("s")):
        if name in _UNITS and (apart or len(name) > 1):
            return _UNITS[name]
    if len(words) > _MOST_WORDS or any(word in _NO_UNITS for word in words):
        return None
    plain = [word.replace("/", "").replace("-", "").replace("'", "") for word in words]
    if not all(word.isalpha() or not word for word in plain):
        return None
    if len(words) == 1 and (len(words[0]) < 3 or not apart):
        return None
    return Unit(" ".join(word.removesuffix("s") for word in words))


def family(unit: Unit) -> list[Unit]:
    """All units of its kind."""
    return [one for one in _UNITS.values() if one.kind == unit.kind]
