"""Generated word problems with worked solutions, for a small LLM and for the stores made with it.

A problem is a tree of facts about who has how many of something, some of them beside the point, and
a question that takes three to six steps. The worked solution has one step a line, each with its
equation, and `Answer: 42` as its last line.

Two things are split, each by a hash, so that whoever learns from one part meets neither in another:

- the *template*: the question and the tree of the facts that it needs, without names, things,
  numbers, wording, order and what is beside the point. A tenth of the templates is for validation,
  a tenth for testing;
- the *combination of numbers* that the solution starts from. Of ten combinations seven are for the
  LLM's own training, and one each for the parts of the store.

| part | templates | numbers | hash of the statement |
| --- | --- | --- | --- |
| `corpus`: what the LLM learns from | 0 to 7 | 0 to 6 | any |
| `train` | 0 to 7 | 7 | train |
| `validation` | 8 | 8 | validation |
| `test` | 9 | 9 | test |

The last column is the split that every command of the product makes (`split_of`): problems are
drawn until it agrees, so that one store holds all parts and each problem is in its own.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from random import Random

import attrs
from wording import SIGNS, Fact, told

from rjepa_core.domain.problem import Split, split_of, statement_hash

PARTS = ("corpus", "train", "validation", "test")
STEPS = (3, 3, 3, 4, 4, 4, 5, 5, 6, 6)
# What the LLM begins with.
EASY = (1, 1, 2, 2, 3)
# Share of the statements whose facts stand in an order in which they can be worked out.
IN_ORDER = 0.7
# Which tenths of the templates and of the combinations of numbers belong to a part.
_TEMPLATES = {"corpus": range(8), "train": range(8), "validation": [8], "test": [9]}
_NUMBERS = {"corpus": range(7), "train": [7], "validation": [8], "test": [9]}
_LARGEST = 60
_TRIES = 200
# What `--prompt-template` is given: the instruction that other LLMs need says nothing to this one.
TEMPLATE = "{statement}"

# Facts of one step from numbers alone, and from another fact; each as often as it stands here.
_LEAVES = ("boxes", "sorts")
_LINKS = ("more", "more", "fewer", "fewer", "under", "over", "times", "half")


@attrs.frozen
class WordProblem:
    """A problem with its worked solution.

    Attributes:
        statement: the text to be solved.
        steps: of the solution, a line each.
        answer: a whole number.
        template: the question and the tree of facts.
        numbers: that the solution starts from, in order of size.
    """

    statement: str
    steps: tuple[str, ...]
    answer: int
    template: str
    numbers: tuple[int, ...]

    @property
    def solution(self) -> str:
        """All that the LLM is to say."""
        return "\n".join([*self.steps, f"Answer: {self.answer}"])


@attrs.frozen
class Tree:
    """A kind of fact or question, and those that it refers to."""

    kind: str
    below: tuple[Tree, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind}({','.join(map(str, self.below))})" if self.below else self.kind


def problems(
    part: str, seed: int = 0, steps: Sequence[int] = STEPS, in_order: float = IN_ORDER
) -> Iterator[WordProblem]:
    """The problems of a part, without end; the same for the same seed."""
    return (problem(part, index, seed, steps, in_order) for index in itertools.count())


def problem(
    part: str,
    index: int,
    seed: int = 0,
    steps: Sequence[int] = STEPS,
    in_order: float = IN_ORDER,
) -> WordProblem:
    """One problem of a part, by its index."""
    random = Random(f"{part}:{seed}:{index}")
    count = random.choice(steps)
    while True:
        template = tree(random, count)
        if _share(str(template)) not in _TEMPLATES[part]:
            continue
        # Some trees come out with few numbers, or with none.
        for _ in range(_TRIES):
            asked = _valued(template, random)
            if asked is None:
                continue
            numbers = tuple(sorted(n for fact in asked.family for n in fact.given))
            if _share(repr(numbers)) in _NUMBERS[part]:
                break
        else:
            continue
        for _ in range(_TRIES):
            statement, lines = told(asked, random, in_order)
            if part == "corpus" or split_of(statement_hash(statement)) is Split(part):
                return WordProblem(statement, lines, asked.value, str(template), numbers)


def tree(random: Random, steps: int) -> Tree:
    """A question that takes so many steps."""
    kind = random.choice(("total", "total", "gap", "gift", "price", "packs"))
    if kind in ("total", "gap"):
        first = random.randint(0, steps - 1)
        return Tree(kind, (_branch(random, first), _branch(random, steps - 1 - first)))
    return Tree(kind, (_branch(random, steps - 1),))


def _branch(random: Random, steps: int) -> Tree:
    if steps == 0:
        return Tree("has")
    if steps == 1 and random.random() < 0.3:
        return Tree(random.choice(_LEAVES))
    if steps >= 2 and random.random() < 0.25:
        first = random.randint(0, steps - 1)
        return Tree("both", (_branch(random, first), _branch(random, steps - 1 - first)))
    return Tree(random.choice(_LINKS), (_branch(random, steps - 1),))


def _share(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) % 10


def _valued(template: Tree, random: Random) -> Fact | None:
    """The facts with numbers; None where they do not come out or one occurs twice."""
    below = []
    for child in template.below:
        fact = _valued(child, random)
        if fact is None:
            return None
        below.append(fact)
    fact = _fact(template.kind, below, random)
    if fact is None:
        return None
    known = [n for one in fact.family for n in (*one.given, one.value)[one.kind == "has" :]]
    return fact if len(known) == len(set(known)) else None


def _fact(kind: str, below: list[Fact], random: Random) -> Fact | None:
    """A fact of a kind with numbers of its own; None where its value is no fair number."""
    given: tuple[int, ...] = ()
    if kind == "has":
        given = (random.randint(4, 30),)
        return Fact(kind, below, given, value=given[0])
    if kind == "boxes":
        given = (random.randint(2, 5), random.randint(3, 15))
    elif kind == "sorts":
        given = (random.randint(4, 30), random.randint(4, 30))
    elif kind in ("more", "fewer", "under", "over", "gift"):
        given = (random.randint(3, 20),)
    elif kind in ("times", "price", "packs"):
        given = (random.randint(2, 5),)
    values = [one.value for one in below]
    left, right = (*values, *given, *((2,) if kind == "half" else ()))
    sign = SIGNS[kind]
    if sign == "/" and left % right:
        return None
    value = {"+": left + right, "-": left - right, "*": left * right, "/": left // right}[sign]
    if not 3 <= value <= _LARGEST:
        return None
    return Fact(kind, below, given, left, right, value)
