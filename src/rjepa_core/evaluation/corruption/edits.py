"""Correct solutions that are edited, and stay correct: being edited must tell nothing."""

from __future__ import annotations

import re

import numpy as np

from .kinds import Kind, Random
from .names import NEUTRAL, names_in, with_names
from .neighbours import Donors
from .recompute import computed, near, rewritten
from .solution import Clean, Edit

# A step that begins so goes on from the one before it.
_GOES_ON = re.compile(
    r"(?:so|then|thus|therefore|hence|this|that|these|those|it|they|which|and|but|after|now|"
    r"in total|altogether|in all|together|finally|next|since|because|if|"
    r"the (?:total|remaining|rest))\b",
    re.IGNORECASE,
)


def renamed(clean: Clean, donors: Donors, random: Random) -> Edit | None:
    """Other names, and one quantity another, in statement and solution; all computed again."""
    solution = clean.solution
    if not solution.sound:
        return None
    asked = solution.statement
    for place in random.permutation(np.arange(len(asked.numbers))).tolist():
        number = asked.numbers[place]
        if not _stands_alone(clean, place):
            continue
        for value in near(number, random):
            if value in solution.given | solution.implied:
                continue
            others = {number.value: value}
            found = computed(solution, {}, others=others)
            statement = rewritten(asked, others)
            if found is None or statement is None:
                continue
            names = _other_names(clean, random)
            return Edit(
                tuple(with_names(body, names) for body in found[0]),
                None,
                with_names(statement, names),
                tuple(found[1].items()),
            )
    return None


def _stands_alone(clean: Clean, place: int) -> bool:
    """Whether a quantity of the statement can be another: nothing else may depend on it."""
    solution = clean.solution
    number = solution.statement.numbers[place]
    value = number.value
    if not value:
        return False
    # What is worked out in the head: one more, one less, the rest of a hundred, a share of it.
    kin = {value - 1, value + 1, 100 - value, value / 100, value * 100, 1 / value}
    written = {n.value for step in solution.steps for n in step.numbers}
    results = {v for i in range(len(solution.steps)) for v in solution.results(i)}
    others = {n.value for i, n in enumerate(solution.statement.numbers) if i != place}
    text, around = clean.statement, (number.start - 1, number.stop)
    return (
        not number.percent
        and value > 4
        and value in written
        and value not in results | others | solution.implied
        and not kin & (written - solution.given - results)
        and not any(0 <= i < len(text) and text[i] in ":/" for i in around)
    )


def _other_names(clean: Clean, random: Random) -> dict[str, str]:
    names = names_in(clean.statement)
    text = "\n".join([clean.statement, *clean.bodies])
    free = [name for name in NEUTRAL if not re.search(rf"\b{name}\b", text)]
    return dict(zip(names, random.permutation(np.array(free)).tolist(), strict=False))


def reordered(clean: Clean, donors: Donors, random: Random) -> Edit | None:
    """Two neighbouring steps, neither of which works with the other's result, change places."""
    solution = clean.solution
    if not solution.sound:
        return None
    # The last step stays: it says the answer.
    for step in random.permutation(np.arange(max(0, len(clean.bodies) - 2))).tolist():
        first, second = solution.steps[step : step + 2]
        if not first.equations or not second.equations or _GOES_ON.match(second.text.strip()):
            continue
        known = (
            solution.given
            | solution.implied
            | {value for i in range(step) for value in solution.results(i)}
        )
        results = solution.results(step) | solution.results(step + 1)
        numbers = {n.value for one in (first, second) for n in one.numbers}
        operands = first.operands | second.operands
        if operands & results or not numbers - results <= known | {1, 2, 7, 12, 60, 100}:
            continue
        bodies = list(clean.bodies)
        bodies[step : step + 2] = bodies[step + 1], bodies[step]
        return Edit(tuple(bodies), None)
    return None


EDITS: dict[str, Kind] = {"renamed": renamed, "reordered": reordered}
