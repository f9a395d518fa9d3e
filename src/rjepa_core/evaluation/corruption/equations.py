"""Written equations: `48/2 = 24`, `$5 x 3 = $15`, `20% of 50 = 10`, read from a step's text.

Between a number and what follows it units may stand (`3 trays * 6 cups/tray`). Where an expression
begins is not written down, so that of the readings that there are the longest one that is true is
taken; an equation without any is false.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

import attrs

from .expressions import SYMBOLS, Node, Operator, Token, applied, leaves, parse

_TOKEN = re.compile(
    r"(?P<number>(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)"
    r"(?P<percent>\s?%)?"
    r"(?P<ordinal>(?:st|nd|rd|th)\b)?"
    r"|(?P<word>[^\W\d_]+(?:['’.-][^\W\d_]+)*)"
    r"|(?P<other>\S)"
)
_CURRENCY = "$£€"
_OPEN, _CLOSE = "([", ")]"
# Longer numbers are no quantities, and longer expressions are no expressions.
_DIGITS, _LONGEST = 15, 100
# A result may be told as a percentage, or a share in per cent.
_FACTORS = (Fraction(1), Fraction(100), Fraction(1, 100))


@attrs.frozen
class Number:
    """A number as it is written.

    Attributes:
        start, stop: its characters in the step, the sign for per cent among them.
        value: what it means: 20% is a fifth.
        text: its digits.
        percent: whether it is followed by the sign.
    """

    start: int
    stop: int
    value: Fraction
    text: str
    percent: bool

    def written(self, value: Fraction, commas: bool = False) -> str | None:
        """Another value as this one is written, or None where that takes more digits than money
        has, or a whole number would become a broken one."""
        shown = value * 100 if self.percent else value
        places = len(self.text.partition(".")[2])
        most = max(places, 2) if places else 0
        enough = (k for k in range(places, most + 1) if (shown * 10**k).denominator == 1)
        scaled = next(enough, None)
        if scaled is None or not 0 <= shown < 10**_DIGITS:
            return None
        grouped = "," in self.text or (commas and shown >= 1000)
        text = f"{float(shown):{',' if grouped else ''}.{scaled}f}"
        if self.text.startswith("."):
            text = text.removeprefix("0")
        return text + ("%" if self.percent else "")


@attrs.frozen
class Equation:
    """An expression of two numbers or more, and the number that it is said to be.

    Attributes:
        tree: the expression: the place of a number in the step, or (the place of an operator,
            left, right).
        operands, operators: places of those in it.
        result: place of the number behind the equals sign.
        factor: of the result, where it is told in per cent; None where the equation is false.
        exact: whether nothing was rounded.
    """

    tree: Node
    operands: tuple[int, ...]
    operators: tuple[int, ...]
    result: int
    factor: Fraction | None
    exact: bool

    @property
    def true(self) -> bool:
        return self.factor is not None


@attrs.frozen
class Step:
    """What is written in a step.

    Attributes:
        text: the step.
        numbers, operators: in order.
        equations: in order.
        unread: equals signs about which nothing can be said: `2x + 3 = 7`.
    """

    text: str
    numbers: tuple[Number, ...]
    operators: tuple[Operator, ...]
    equations: tuple[Equation, ...]
    unread: int

    @property
    def operands(self) -> set[Fraction]:
        """Values that its equations start from."""
        return {self.numbers[place].value for e in self.equations for place in e.operands}

    def value(
        self, tree: Node, values: Mapping[int, Fraction], signs: Mapping[int, str] | None = None
    ) -> Fraction | None:
        """Of an expression, with other values of some numbers and other signs of some operators;
        None where it divides by zero."""
        if isinstance(tree, int):
            return values.get(tree, self.numbers[tree].value)
        place, *sides = tree
        left, right = (self.value(side, values, signs) for side in sides)
        if left is None or right is None:
            return None
        text = (signs or {}).get(place, self.operators[place].text)
        return applied(SYMBOLS[text], left, right)


def read_step(text: str) -> Step:
    """The numbers, operators and equations of a step."""
    numbers: list[Number] = []
    operators: list[Operator] = []
    tokens = list(_tokens(text, numbers, operators))
    bare = Step(text, tuple(numbers), tuple(operators), (), 0)
    signs = [i for i, token in enumerate(tokens) if token[0] == "="]
    equations, unread = [], 0
    for at, following in zip(signs, [*signs, len(tokens)][1:], strict=True):
        first = next((i for i in range(at - 1, -1, -1) if tokens[i][0] in "=|"), -1) + 1
        left, right = tokens[first:at], tokens[at + 1 : following]
        if not any(token[0] == "o" for token in left):
            # `Purple = 5 * 230`, `x = 7`: a name is given, nothing is claimed.
            continue
        found = _equation(bare, left, right)
        if found is None:
            unread += 1
        else:
            equations.append(found)
    return attrs.evolve(bare, equations=tuple(equations), unread=unread)


def false_equations(text: str) -> int:
    """How many written equations of a step are false."""
    return sum(not equation.true for equation in read_step(text).equations)


def _tokens(text: str, numbers: list[Number], operators: list[Operator]) -> Iterator[Token]:
    matches = list(_TOKEN.finditer(text))
    for i, match in enumerate(matches):
        start, stop = match.span()
        following = matches[i + 1] if i + 1 < len(matches) else None
        if match["ordinal"] or len(match["number"] or "") > _DIGITS:
            yield "w", 0, start
        elif match["number"]:
            digits, percent = match["number"], bool(match["percent"])
            value = Fraction(digits.replace(",", "")) / (100 if percent else 1)
            numbers.append(Number(start, stop, value, digits, percent))
            yield "n", len(numbers) - 1, start
        elif match[0] in SYMBOLS and _operates(match, matches[i - 1] if i else None, following):
            operators.append(Operator(start, match[0]))
            yield "o", len(operators) - 1, start
        elif match["word"]:
            yield "w", 0, start
        elif match[0] in _CURRENCY:
            continue
        elif match[0] in _OPEN:
            yield "(", 0, start
        elif match[0] in _CLOSE:
            yield ")", 0, start
        elif match[0] == "=":
            yield "=", 0, start
        elif match[0] in "/-–'’":
            # `cups/tray`, `15-year-old`
            yield "w", 0, start
        else:
            yield "|", 0, start


def _operates(
    match: re.Match[str], before: re.Match[str] | None, following: re.Match[str] | None
) -> bool:
    """Whether a sign stands between operands: not in `cups/tray`, `15-year-old` or `5x`."""
    if before is None or following is None:
        return False
    if len(match[0]) > 1 and not (before["number"] or before[0] in _CLOSE):
        # `a total of 3 x 4`
        return False
    return bool(following["number"]) or following[0] in (*_CURRENCY, *_OPEN)


def _equation(step: Step, left: Sequence[Token], right: Sequence[Token]) -> Equation | None:
    """The equation between two sides; None where it cannot be read."""
    # Not an expression: `6/6 - 1/6 = 5/6`.
    if not right or right[0][0] != "n" or _goes_on(right):
        return None
    if len(left) > _LONGEST:
        return None
    result = step.numbers[right[0][1]]
    false: Equation | None = None
    for begin, token in enumerate(left):
        if token[0] not in "n(":
            continue
        tree = parse(left[begin:], step.operators)
        if tree is None or isinstance(tree, int):
            continue
        value = step.value(tree, {})
        if value is None:
            continue
        operands, operators = leaves(tree)
        made = Equation(tree, operands, operators, right[0][1], None, False)
        for factor in _FACTORS:
            if value * factor == result.value:
                return attrs.evolve(made, factor=factor, exact=True)
        for factor in _FACTORS:
            if _rounds_to(value * factor, result):
                return attrs.evolve(made, factor=factor)
        false = false or made
    return false


def _goes_on(right: Sequence[Token]) -> bool:
    """Whether the number behind an equals sign is the first of an expression."""
    return next((token[0] for token in right[1:] if token[0] != "w"), "") == "o"


def _rounds_to(value: Fraction, result: Number) -> bool:
    """Whether the value was rounded to the result, or cut off there."""
    places = len(result.text.partition(".")[2]) + (2 if result.percent else 0)
    off = (value - result.value) * 10**places
    return value != 0 and Fraction(-1, 2) <= off < 1 and (places > 0 or abs(value) >= 10)
