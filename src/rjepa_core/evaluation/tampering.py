"""Damaged solutions, made from a store's own traces: a foreign step, or a slip.

What is damaged, and how, depends on the seed, the trace's key and the steps that there are to take
from; the step that was changed is remembered.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import attrs
import numpy as np

from ..domain.problem import GivenSolution
from ..domain.trace import RecordKey, Trace
from .settings import FOREIGN, SLIP

KINDS = (FOREIGN, SLIP)
# Keys of a damaged solution's metadata.
KIND, CHANGED, OF, DONOR = "tampered", "changed_step", "of", "donor"
_DRAWS = 100
# The result: the number behind the last equals sign, perhaps with a currency sign before it.
_RESULT = re.compile(r"=[^\dA-Za-z=\n]{0,6}(?P<number>\d(?:[\d,]*\d)?(?:\.\d+)?)(?=[^=]*\Z)")


@attrs.frozen
class Steps:
    """The steps of a trace, to take one from.

    Attributes:
        problem: hash of its statement.
        name: of the trace.
        texts: of its steps.
    """

    problem: str
    name: str
    texts: tuple[str, ...]


@attrs.frozen
class Tampered:
    """A damaged solution.

    Attributes:
        solution: to be encoded; its metadata tells what was done.
        changed: which step is another.
    """

    solution: GivenSolution
    changed: int


def pool_of(traces: Sequence[Trace]) -> list[Steps]:
    """What foreign steps are taken from: traces of one split."""
    found = [Steps(t.problem.statement_hash, str(t.key), t.step_texts) for t in traces]
    return sorted(found, key=lambda one: (one.problem, one.name))


def tamper(trace: Trace, kind: str, pool: Sequence[Steps], seed: int) -> Tampered | None:
    """Damage one step of a trace.

    Args:
        trace: with its steps.
        kind: `foreign`: a step of another problem takes a step's place; `slip`: one digit of a
            step's result is another.
        pool: steps of other problems, for `foreign`.
        seed: of all that is drawn.

    Returns:
        the damaged solution, or None where the trace has one step alone, no result, or nothing to
        take a step from.
    """
    if len(trace.step_texts) < 2:
        return None
    random = _random(seed, kind, trace.key)
    if kind == FOREIGN:
        found = _foreign(trace, pool, random)
    elif kind == SLIP:
        found = _slip(trace, random)
    else:
        raise ValueError(f"no such damage: {kind}; there are {', '.join(KINDS)}")
    if found is None:
        return None
    step, text, donor = found
    labels = {KIND: kind, CHANGED: str(step), OF: str(trace.key)}
    if donor:
        labels[DONOR] = donor
    solution = _solution(trace, step, text, labels)
    return None if solution is None else Tampered(solution, step)


def tampered_id(key: RecordKey) -> str:
    """The problem id under which a trace's damaged solution is stored, one a trace."""
    return str(key)


def _random(seed: int, kind: str, key: RecordKey) -> np.random.Generator:
    text = f"{seed}:{kind}:{key.problem_id}:{key.sample}"
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


_Change = tuple[int, str, str]


def _foreign(trace: Trace, pool: Sequence[Steps], random: np.random.Generator) -> _Change | None:
    step = int(random.integers(len(trace.step_texts)))
    own = trace.step_texts[step].strip()
    for _ in range(_DRAWS if pool else 0):
        donor = pool[int(random.integers(len(pool)))]
        place = int(random.integers(len(donor.texts)))
        if trace.strategy == "markers":
            # The number in the marker ("Step 3:") must not give the foreign step away.
            place = step
        if donor.problem == trace.problem.statement_hash or place >= len(donor.texts):
            continue
        text = donor.texts[place].strip()
        if text and text != own:
            return step, text, donor.name
    return None


def _slip(trace: Trace, random: np.random.Generator) -> _Change | None:
    texts = [text.strip() for text in trace.step_texts]
    results = [_RESULT.search(text) for text in texts]
    places = [i for i, result in enumerate(results) if result is not None]
    if not places:
        return None
    step = int(random.choice(places))
    result = results[step]
    assert result is not None
    start, number = result.start("number"), result["number"]
    digits = [i for i, character in enumerate(number) if character.isdigit()]
    digit = int(random.choice(digits))
    # A number of several digits keeps its first one above zero.
    least = 1 if digit == 0 and len(number) > 1 and number[1] != "." else 0
    others = [d for d in range(least, 10) if d != int(number[digit])]
    changed = number[:digit] + str(int(random.choice(others))) + number[digit + 1 :]
    return step, texts[step][:start] + changed + texts[step][start + len(number) :], ""


def _solution(trace: Trace, step: int, text: str, labels: dict[str, str]) -> GivenSolution | None:
    """The whole solution with one step's text changed, and everything else as it was."""
    steps = list(trace.step_texts)
    own = steps[step]
    before = own[: len(own) - len(own.lstrip())]
    steps[step] = before + text + own[len(own.rstrip()) :]
    # The answer's line goes along, and is cut off again as it was before.
    end = [trace.answer] if trace.answer else []
    lines = [one.rstrip("\n") for one in trace.step_texts]
    if "\n".join(lines + end) == trace.completion.strip("\n"):
        lines[step] = steps[step].rstrip("\n")
        return GivenSolution(steps=tuple(lines + end), metadata=labels)
    # Steps that are no lines: the text as it stood, cut again by the store's strategy.
    whole = "".join(trace.step_texts)
    start = trace.completion.find(whole)
    if start < 0:
        return None
    tail = trace.completion[start + len(whole) :]
    return GivenSolution(text=trace.completion[:start] + "".join(steps) + tail, metadata=labels)
