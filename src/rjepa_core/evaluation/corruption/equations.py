"""Written equations: `48/2 = 24`, `$5 x 3 = $15`, `20% of 50 = 10`, read from a step's text.

Between a number and what follows it units may stand (`3 trays * 6 cups/tray`). Where an expression
begins is not written down, so that of the readings that there are the longest one that is true is
taken; an equation without any is false.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

import attrs

_TOKEN = re.compile(
    r"(?P<number>(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)(?P<percent>\s?%)?"
    r"(?P<ordinal>(?:st|nd|rd|th)\b)?"
    r"|(?P<word>[^\W\d_]+(?:['’.-][^\W\d_]+)*)"
    r"|(?P<other>\S)"
)
# What an operator is written as, and what it means.
SYMBOLS = {
    "+": "+",
    **dict.fromkeys("-–−", "-"),
    **dict.fromkeys("*x×·X", "*"),
    **dict.fromkeys("/÷", "/"),
    "of": "*",
    "times": "*",
}
_CURRENCY = "$£€"
_OPEN, _CLOSE = "([", ")]"
# Words between an operand and the operator, at most.
_UNITS = 8
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
        if scaled is None or shown < 0:
            return None
        grouped = "," in self.text or (commas and shown >= 1000)
        text = f"{float(shown):{',' if grouped else ''}.{scaled}f}"
        if self.text.startswith("."):
            text = text.removeprefix("0")
        return text + ("%" if self.percent else "")


@attrs.frozen
class Operator:
    """An operator: its characters in the step, and what they mean: `+`, `-`, `*` or `/`."""

    start: int
    text: str

    @property
    def stop(self) -> int:
        return self.start + len(self.text)

    @property
    def sign(self) -> str:
        return SYMBOLS[self.text]


Node = int | tuple[int, "Node", "Node"]


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
        return _applied(SYMBOLS[text], left, right)


def _applied(sign: str, left: Fraction, right: Fraction) -> Fraction | None:
    if sign == "+":
        return left + right
    if sign == "-":
        return left - right
    if sign == "*":
        return left * right
    return left / right if right else None


# (kind, place among numbers or operators, start): kinds are n, o, (, ), w for a word, = and | for
# what ends an expression.
_Token = tuple[str, int, int]


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


def _tokens(text: str, numbers: list[Number], operators: list[Operator]) -> Iterator[_Token]:
    matches = list(_TOKEN.finditer(text))
    for i, match in enumerate(matches):
        start, stop = match.span()
        following = matches[i + 1] if i + 1 < len(matches) else None
        if match["ordinal"]:
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


def _equation(step: Step, left: Sequence[_Token], right: Sequence[_Token]) -> Equation | None:
    """The equation between two sides; None where it cannot be read."""
    # Not an expression: `6/6 - 1/6 = 5/6`.
    if not right or right[0][0] != "n" or _goes_on(right):
        return None
    result = step.numbers[right[0][1]]
    false: Equation | None = None
    for begin, token in enumerate(left):
        if token[0] not in "n(":
            continue
        tree = _Reader(step, left[begin:]).whole()
        if tree is None or isinstance(tree, int):
            continue
        value = step.value(tree, {})
        if value is None:
            continue
        operands, operators = _leaves(tree)
        made = Equation(tree, operands, operators, right[0][1], None, False)
        for factor in _FACTORS:
            if value * factor == result.value:
                return attrs.evolve(made, factor=factor, exact=True)
        for factor in _FACTORS:
            if _rounds_to(value * factor, result):
                return attrs.evolve(made, factor=factor)
        false = false or made
    return false


def _goes_on(right: Sequence[_Token]) -> bool:
    """Whether the number behind an equals sign is the first of an expression."""
    return next((token[0] for token in right[1:] if token[0] != "w"), "") == "o"


def _rounds_to(value: Fraction, result: Number) -> bool:
    """Whether the value was rounded to the result, or cut off there."""
    places = len(result.text.partition(".")[2]) + (2 if result.percent else 0)
    off = (value - result.value) * 10**places
    return value != 0 and Fraction(-1, 2) <= off < 1 and (places > 0 or abs(value) >= 10)


def _leaves(tree: Node) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if isinstance(tree, int):
        return (tree,), ()
    (left, a), (right, b) = _leaves(tree[1]), _leaves(tree[2])
    return left + right, (*a, tree[0], *b)


class _Reader:
    """Reads an expression by precedence; units behind operands are skipped."""

    def __init__(self, step: Step, tokens: Sequence[_Token]) -> None:
        self._step, self._tokens, self._at = step, tokens, 0

    def whole(self) -> Node | None:
        """The expression, if all tokens belong to it."""
        tree = self._sum()
        return tree if self._at == len(self._tokens) else None

    def _peek(self) -> str:
        return self._tokens[self._at][0] if self._at < len(self._tokens) else ""

    def _sum(self) -> Node | None:
        return self._chain("+-", self._product)

    def _product(self) -> Node | None:
        return self._chain("*/", self._operand)

    def _chain(self, signs: str, inner: Any) -> Node | None:
        tree: Node | None = inner()
        while tree is not None and self._peek() == "o":
            place = self._tokens[self._at][1]
            if self._step.operators[place].sign not in signs:
                break
            self._at += 1
            right = inner()
            tree = None if right is None else (place, tree, right)
        return tree

    def _operand(self) -> Node | None:
        kind = self._peek()
        if kind == "n":
            tree: Node | None = self._tokens[self._at][1]
            self._at += 1
        elif kind == "(":
            self._at += 1
            tree = self._sum()
            if self._peek() != ")":
                return None
            self._at += 1
        else:
            return None
        units = 0
        while self._peek() == "w" and units < _UNITS:
            self._at += 1
            units += 1
        return tree
