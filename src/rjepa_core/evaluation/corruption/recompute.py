"""A solution's numbers: where each comes from, and all of them again after a change."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

import attrs
import numpy as np

from .equations import Equation, Number, Step, read_step

_WORDS = re.findall(
    r"\w+",
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty",
)
_NUMBER_WORDS = {word: Fraction(i) for i, word in enumerate(_WORDS)}
# What words of a statement may stand for in its solution.
_IMPLIED: Mapping[str, Sequence[Fraction]] = {
    **{word: (value,) for word, value in _NUMBER_WORDS.items()},
    **dict.fromkeys(
        (
            "twice",
            "double",
            "doubled",
            "half",
            "halved",
            "pair",
            "pairs",
            "couple",
            "twins",
            "both",
        ),
        (Fraction(2), Fraction(1, 2)),
    ),
    **dict.fromkeys(("thrice", "triple", "tripled", "triplets"), (Fraction(3),)),
    **dict.fromkeys(("third", "thirds"), (Fraction(3), Fraction(1, 3))),
    **dict.fromkeys(("quarter", "quarters", "fourth"), (Fraction(4), Fraction(1, 4))),
    **dict.fromkeys(("fifth", "fifths"), (Fraction(5), Fraction(1, 5))),
    **dict.fromkeys(("dozen", "dozens"), (Fraction(12),)),
    **dict.fromkeys(("week", "weeks", "weekly"), (Fraction(7), Fraction(52), Fraction(4))),
    **dict.fromkeys(("hour", "hours", "hourly", "minute", "minutes"), (Fraction(60),)),
    **dict.fromkeys(("day", "days", "daily"), (Fraction(24), Fraction(7))),
    **dict.fromkeys(("year", "years", "yearly"), (Fraction(12), Fraction(365), Fraction(52))),
    **dict.fromkeys(("month", "months", "monthly"), (Fraction(12), Fraction(30), Fraction(4))),
    **dict.fromkeys(("foot", "feet", "inches"), (Fraction(12),)),
    **dict.fromkeys(("nickel", "nickels"), (Fraction(5), Fraction(1, 20))),
    **dict.fromkeys(("dime", "dimes"), (Fraction(10), Fraction(1, 10))),
    **dict.fromkeys(("cents", "percent", "meter", "meters", "dollar"), (Fraction(100),)),
}
# Numbers that need no reason.
CONSTANTS = frozenset(map(Fraction, (1, 2, 3, 4, 7, 10, 12, 24, 30, 52, 60, 100, 365, 1000)))
_COMPARES = re.compile("[<>≤≥≈≠]")

Values = Mapping[tuple[int, int], Fraction]
Signs = Mapping[tuple[int, int], str]


@attrs.frozen
class Solution:
    """A statement, and the steps of its solution.

    Attributes:
        statement: the problem, read as a step.
        steps: in order.
        given: numbers of the statement.
        implied: numbers that its words may stand for.
    """

    statement: Step
    steps: tuple[Step, ...]
    given: frozenset[Fraction]
    implied: frozenset[Fraction]

    @property
    def sound(self) -> bool:
        """Whether all that is claimed is understood and true, to the last digit."""
        return not any(
            step.unread
            or _COMPARES.search(step.text)
            or not all(equation.true and equation.exact for equation in step.equations)
            for step in self.steps
        )

    def equations(self) -> list[tuple[int, Equation]]:
        """All of them, each with its step."""
        return [(i, e) for i, step in enumerate(self.steps) for e in step.equations]

    def results(self, step: int) -> set[Fraction]:
        """What a step computes."""
        found = self.steps[step]
        return {found.numbers[e.result].value for e in found.equations}

    def unexplained(self, start: int) -> set[Fraction]:
        """Numbers from a step on that neither the statement nor an equation accounts for."""
        known = set(self.given | self.implied | CONSTANTS)
        found: set[Fraction] = set()
        for i, step in enumerate(self.steps):
            known |= self.results(i)
            if i >= start:
                found |= {number.value for number in step.numbers} - known
        return found

    def uses(self, step: int, earlier: int) -> bool:
        """Whether a step works with what an earlier one has found out."""
        before = set(self.given | self.implied)
        for i in range(earlier):
            before |= {number.value for number in self.steps[i].numbers}
        new = self.results(earlier) - before
        own = {e.result for e in self.steps[step].equations}
        operands = {n.value for i, n in enumerate(self.steps[step].numbers) if i not in own}
        return bool(new & operands)


def read_solution(statement: str, steps: Sequence[str]) -> Solution:
    """Read a statement and the steps of its solution."""
    asked = read_step(statement)
    given = {n.value for n in asked.numbers}
    given |= {n.value * 100 for n in asked.numbers if n.percent}
    implied = {value for word in _words(statement) for value in _IMPLIED.get(word, ())}
    return Solution(asked, tuple(map(read_step, steps)), frozenset(given), frozenset(implied))


def computed(
    solution: Solution,
    changed: Values,
    signs: Signs | None = None,
    others: Mapping[Fraction, Fraction] | None = None,
) -> tuple[list[str], dict[Fraction, Fraction]] | None:
    """The steps with some numbers or operators changed, and all that depends on them anew.

    Args:
        solution: a sound one.
        changed: by step and place, what is written there.
        signs: by step and place, the operators that are others, as they are written.
        others: values that are others everywhere.

    Returns:
        the texts, and which values have become which; None where it is not clear which numbers
        depend on the change, or where one of them would be negative, zero or broken.
    """
    signs = signs or {}
    touched = [step for step, _ in (*changed, *signs)]
    start = 0 if others else min(touched)
    if solution.unexplained(start):
        return None
    again = _Again(solution, changed, signs, dict(others or {}))
    for i in range(len(solution.steps)):
        if not again.step(i):
            return None
    commas = any("," in n.text for step in solution.steps for n in step.numbers)
    texts = []
    for i, step in enumerate(solution.steps):
        text = _written(
            step, again.values[i], {p: s for (j, p), s in signs.items() if j == i}, commas
        )
        if text is None:
            return None
        texts.append(text)
    return (texts, again.others) if _agrees(solution, texts, changed) else None


def _agrees(solution: Solution, texts: Sequence[str], changed: Values) -> bool:
    """Whether the texts say what was computed: every equation is true but those that were set."""
    for i, (old, text) in enumerate(zip(solution.steps, texts, strict=True)):
        new = read_step(text)
        if len(new.numbers) != len(old.numbers) or len(new.equations) != len(old.equations):
            return False
        for equation in new.equations:
            if ((i, equation.result) in changed) is (equation.true and equation.exact):
                return False
    return True


class _Again:
    """Goes through the steps; what was one value is another from the equation on that gave it."""

    def __init__(
        self, solution: Solution, changed: Values, signs: Signs, others: dict[Fraction, Fraction]
    ) -> None:
        self._solution, self._changed, self._signs = solution, changed, signs
        self.others = others
        self.values: list[dict[int, Fraction]] = []

    def step(self, i: int) -> bool:
        step = self._solution.steps[i]
        signs = {place: sign for (j, place), sign in self._signs.items() if j == i}
        forced = {place: value for (j, place), value in self._changed.items() if j == i}
        results = {equation.result for equation in step.equations}
        values: dict[int, Fraction] = dict(forced)
        for equation in step.equations:
            for place in equation.operands:
                values.setdefault(place, self._now(step.numbers[place]))
            if equation.result not in forced:
                found = step.value(equation.tree, values, signs)
                if found is None or equation.factor is None:
                    return False
                values[equation.result] = found * equation.factor
            old, new = step.numbers[equation.result].value, values[equation.result]
            if new != old and not self._becomes(old, new, i, equation):
                return False
        for place, number in enumerate(step.numbers):
            if place not in results:
                values.setdefault(place, self._now(number))
        self.values.append(values)
        return all(value > 0 for value in values.values())

    def _now(self, number: Number) -> Fraction:
        return self.others.get(number.value, number.value)

    def _becomes(self, old: Fraction, new: Fraction, at: int, equation: Equation) -> bool:
        """Remember it; false where another number may be meant by the same digits."""
        if self.others.setdefault(old, new) != new:
            return False
        return not self._referred(old, at, equation) or self._is_one(old, at, equation)

    def _referred(self, value: Fraction, at: int, equation: Equation) -> bool:
        """Whether the value stands anywhere else from this step on."""
        if any(_says(step.text, value) for step in self._solution.steps[at:]):
            return True
        return any(
            number.value == value and (i, place) != (at, equation.result)
            for i in range(at, len(self._solution.steps))
            for place, number in enumerate(self._solution.steps[i].numbers)
        )

    def _is_one(self, value: Fraction, at: int, equation: Equation) -> bool:
        """Whether whoever reads the value can only mean this result."""
        solution = self._solution
        if value in solution.given or value in solution.implied:
            return False
        if any(_says(step.text, value) for step in solution.steps[at:]):
            return False
        if any(number.value == value for step in solution.steps[:at] for number in step.numbers):
            return False
        for i, other in solution.equations():
            if other is not equation and solution.steps[i].numbers[other.result].value == value:
                return False
        own = solution.steps[at]
        before = own.equations[: own.equations.index(equation) + 1]
        return not any(own.numbers[p].value == value for e in before for p in e.operands)


def _written(
    step: Step, values: Mapping[int, Fraction], signs: Mapping[int, str], commas: bool
) -> str | None:
    parts: list[tuple[int, int, str]] = []
    for place, value in values.items():
        number = step.numbers[place]
        if value == number.value:
            continue
        text = number.written(value, commas)
        if text is None:
            return None
        parts.append((number.start, number.stop, text))
    for place, sign in signs.items():
        operator = step.operators[place]
        parts.append((operator.start, operator.stop, sign))
    text = step.text
    for start, stop, new in sorted(parts, reverse=True):
        text = text[:start] + new + text[stop:]
    return text


def rewritten(step: Step, others: Mapping[Fraction, Fraction]) -> str | None:
    """A text with some values replaced by others."""
    values = {i: others[n.value] for i, n in enumerate(step.numbers) if n.value in others}
    return _written(step, values, {}, commas=False)


def near(number: Number, random: np.random.Generator) -> Iterator[Fraction]:
    """Other values with as many digits, at most a third away (small ones at most 3): first those
    that are as round as the number."""
    digits = number.text.replace(",", "")
    places = len(digits.partition(".")[2])
    whole = int(digits.replace(".", ""))
    round_ = 1
    while whole and whole % (round_ * 10) == 0:
        round_ *= 10
    divisor = (100 if number.percent else 1) * 10**places
    for unit in dict.fromkeys((round_, max(1, round_ // 2), max(1, round_ // 10))):
        far = max(whole // (3 * unit), 3 if unit == 1 else 0)
        offsets = np.array([d for d in range(-far, far + 1) if d], np.int64)
        for offset in random.permutation(offsets)[:20].tolist():
            other = whole + offset * unit
            if other > 0 and len(str(other)) == len(str(whole)):
                yield Fraction(other, divisor)


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def _says(text: str, value: Fraction) -> bool:
    """Whether a number stands in a text as a word."""
    if value.denominator != 1 or not 2 <= value < len(_WORDS):
        return False
    return _WORDS[int(value)] in _words(text)
