"""What is done to a correct solution: seven kinds of damage."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs
import numpy as np

from .equations import Equation
from .names import mentioned, names_in, with_names
from .neighbours import Donors
from .recompute import Solution, computed, near
from .solution import Clean, Edit

Random = np.random.Generator


def changed_result(clean: Clean, donors: Donors, random: Random) -> Edit | None:
    """A result becomes a number near it, and is carried on."""
    for step, equation in _shuffled(clean, random):
        number = clean.solution.steps[step].numbers[equation.result]
        for value in near(number, random):
            found = computed(clean.solution, {(step, equation.result): value})
            if found is not None:
                return Edit(tuple(found[0]), step, others=tuple(found[1].items()))
    return None


def changed_operation(clean: Clean, donors: Donors, random: Random) -> Edit | None:
    """An operator becomes another; the result is computed and carried on."""
    for step, equation in _shuffled(clean, random):
        read = clean.solution.steps[step]
        # Words (`20% of 50`) stay.
        places = [p for p in equation.operators if len(read.operators[p].text) == 1]
        for place in random.permutation(np.array(places, np.int64)).tolist():
            own = read.operators[place].sign
            for sign in random.permutation(np.array([s for s in "+-*/" if s != own])).tolist():
                found = computed(
                    clean.solution, {}, {(step, place): _as_written(clean.solution, sign)}
                )
                if found is not None and found[1]:
                    return Edit(tuple(found[0]), step, others=tuple(found[1].items()))
    return None


def _as_written(solution: Solution, sign: str) -> str:
    """A sign as the solution writes it elsewhere."""
    used = [o.text for step in solution.steps for o in step.operators if o.sign == sign]
    return next((text for text in used if len(text) == 1), sign)


def changed_quantity(clean: Clean, donors: Donors, random: Random) -> Edit | None:
    """Two quantities of the problem change places within a step, or a name becomes another."""
    ways: list[Callable[[Clean, Random], Edit | None]] = [_swapped_numbers, _swapped_name]
    for way in random.permutation(np.arange(2)).tolist():
        found = ways[int(way)](clean, random)
        if found is not None:
            return found
    return None


def _swapped_numbers(clean: Clean, random: Random) -> Edit | None:
    solution = clean.solution
    asked = {n.value: n.percent for n in solution.statement.numbers}
    for step, equation in _shuffled(clean, random):
        read = solution.steps[step]
        # A quantity that is also a result is not told apart from it.
        results = {value for i in range(step + 1) for value in solution.results(i)}
        own = {read.numbers[p].value for p in equation.operands}
        pairs = [
            (a, b)
            for i, a in enumerate(sorted(asked))
            for b in sorted(asked)[i + 1 :]
            if own & {a, b} and not results & {a, b} and asked[a] == asked[b]
        ]
        for pair in random.permutation(np.arange(len(pairs))).tolist():
            a, b = pairs[pair]
            swap = {a: b, b: a}
            changed = {
                (step, place): swap[number.value]
                for place, number in enumerate(read.numbers)
                if number.value in swap
            }
            found = computed(solution, changed)
            # 5 * 3 for 3 * 5 is no damage.
            if found is not None and found[1]:
                return Edit(tuple(found[0]), step, others=tuple(found[1].items()))
    return None


def _swapped_name(clean: Clean, random: Random) -> Edit | None:
    names = names_in(clean.statement)
    for step in random.permutation(np.arange(len(clean.bodies))).tolist():
        body = clean.bodies[step]
        own = mentioned(names, body)
        others = [name for name in names if name not in own]
        if len(own) != 1 or not others:
            # `Ann and Bob have 5 + 3`: both are meant.
            continue
        other = others[int(random.integers(len(others)))]
        bodies = list(clean.bodies)
        bodies[step] = with_names(body, {own[0]: other})
        return Edit(tuple(bodies), step)
    return None


def swapped_steps(clean: Clean, donors: Donors, random: Random) -> Edit | None:
    """A step and the next, which works with its result, change places; the last step stays, by
    whose words alone its place could be told."""
    for step in _needed(clean, random, len(clean.bodies) - 2):
        bodies = list(clean.bodies)
        bodies[step : step + 2] = bodies[step + 1], bodies[step]
        return Edit(tuple(bodies), step)
    return None


def left_out(clean: Clean, donors: Donors, random: Random) -> Edit | None:
    """A step is left out whose result the next one works with."""
    for step in _needed(clean, random, len(clean.bodies) - 1):
        return Edit((*clean.bodies[:step], *clean.bodies[step + 1 :]), step)
    return None


def _needed(clean: Clean, random: Random, count: int) -> Iterator[int]:
    """Those of the first so many steps that the next one needs."""
    for step in random.permutation(np.arange(max(0, count))).tolist():
        if clean.solution.uses(step + 1, step):
            yield step


def similar_step(clean: Clean, donors: Donors, random: Random) -> Edit | None:
    """A step of the most similar problem, with this problem's names and numbers."""
    donor = donors.nearest(clean.problem)
    if donor is None:
        return None
    step = int(random.integers(len(clean.bodies)))
    for place in random.permutation(np.arange(len(donor.bodies))).tolist():
        body = _adopted(clean, donor, step, place, random)
        if body is not None and body != clean.bodies[step]:
            return _replaced(clean, step, body, donor)
    return None


def _adopted(clean: Clean, donor: Clean, step: int, place: int, random: Random) -> str | None:
    """A donor's step in this problem's names and numbers, its equations computed again."""
    theirs = donor.solution
    read = theirs.steps[place]
    if read.unread or not all(e.true and e.exact for e in read.equations) or not read.equations:
        return None
    results = {e.result for e in read.equations}
    leaves = sorted({n.value for i, n in enumerate(read.numbers) if i not in results})
    found_out = {value for i in range(place) for value in theirs.results(i)}
    before = {value for i in range(step) for value in clean.solution.results(i)}
    quantities, ours = sorted(clean.solution.given), sorted(before - clean.solution.given)
    asked = [v for v in leaves if v in theirs.given and v not in found_out]
    derived = [v for v in leaves if v in found_out]
    alone = attrs.evolve(theirs, steps=(read,), given=theirs.given | set(leaves))
    for _ in range(20):
        if len(asked) > len(quantities):
            return None
        chosen = [quantities[i] for i in random.permutation(len(quantities))[: len(asked)]]
        rest = ours or [q for q in quantities if q not in chosen]
        if len(derived) > len(rest):
            return None
        chosen += [rest[i] for i in random.permutation(len(rest))[: len(derived)]]
        mapped = dict(zip([*asked, *derived], chosen, strict=True))
        changed = {
            (0, i): mapped[n.value]
            for i, n in enumerate(read.numbers)
            if i not in results and n.value in mapped
        }
        found = computed(alone, changed) if changed else None
        if found is not None:
            names = names_in(donor.statement)
            own = names_in(clean.statement)
            others = {name: own[i % len(own)] for i, name in enumerate(names)} if own else {}
            return with_names(found[0][0], others)
    return None


def foreign_step(clean: Clean, donors: Donors, random: Random) -> Edit | None:
    """A step of a random other problem, as it is."""
    step = int(random.integers(len(clean.bodies)))
    for donor in donors.random(clean.problem, random):
        body = donor.bodies[int(random.integers(len(donor.bodies)))]
        if body != clean.bodies[step]:
            return _replaced(clean, step, body, donor)
    return None


def _replaced(clean: Clean, step: int, body: str, donor: Clean) -> Edit:
    bodies = (*clean.bodies[:step], body, *clean.bodies[step + 1 :])
    return Edit(bodies, step, donor=donor.name)


def _shuffled(clean: Clean, random: Random) -> list[tuple[int, Equation]]:
    """The equations of a sound solution, in a random order."""
    if not clean.solution.sound:
        return []
    found = clean.solution.equations()
    return [found[i] for i in random.permutation(len(found)).tolist()]


Kind = Callable[[Clean, Donors, Random], Edit | None]
KINDS: dict[str, Kind] = {
    "result": changed_result,
    "operation": changed_operation,
    "quantity": changed_quantity,
    "order": swapped_steps,
    "omission": left_out,
    "similar": similar_step,
    "foreign": foreign_step,
}
