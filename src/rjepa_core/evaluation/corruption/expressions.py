"""Arithmetic expressions as people write them: precedence, brackets, and units behind numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import attrs

# What an operator is written as, and what it means.
SYMBOLS = {
    "+": "+",
    **dict.fromkeys("-–−", "-"),
    **dict.fromkeys("*x×·X", "*"),
    **dict.fromkeys("/÷", "/"),
    "of": "*",
    "times": "*",
}
# Words between an operand and the operator, at most.
_UNITS = 8


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


# (kind, place among numbers or operators, start): kinds are n, o, (, ), w for a word, = and | for
# what ends an expression.
Token = tuple[str, int, int]


def parse(tokens: Sequence[Token], operators: Sequence[Operator]) -> Node | None:
    """The expression, if all tokens belong to it; None where they make none."""
    return _Reader(tokens, operators).whole()


def leaves(tree: Node) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Places of its numbers and of its operators, from left to right."""
    if isinstance(tree, int):
        return (tree,), ()
    (left, a), (right, b) = leaves(tree[1]), leaves(tree[2])
    return left + right, (*a, tree[0], *b)


def applied(sign: str, left: Fraction, right: Fraction) -> Fraction | None:
    """Two values and a sign; None where it divides by zero."""
    if sign == "+":
        return left + right
    if sign == "-":
        return left - right
    if sign == "*":
        return left * right
    return left / right if right else None


class _Reader:
    """Reads an expression by precedence; units behind operands are skipped."""

    def __init__(self, tokens: Sequence[Token], operators: Sequence[Operator]) -> None:
        self._tokens, self._operators, self._at = tokens, operators, 0

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

    def _chain(self, signs: str, inner: Callable[[], Node | None]) -> Node | None:
        tree: Node | None = inner()
        while tree is not None and self._peek() == "o":
            place = self._tokens[self._at][1]
            if self._operators[place].sign not in signs:
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
