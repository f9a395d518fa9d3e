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
from collections.abc import Iterator, Sequence
from random import Random

import attrs

from rjepa_core.domain.problem import Split, split_of, statement_hash
from rjepa_core.evaluation.corruption.names import NEUTRAL

PARTS = ("corpus", "train", "validation", "test")
STEPS = (3, 3, 3, 4, 4, 4, 5, 5, 6, 6)
# What the LLM begins with.
EASY = (1, 1, 2, 2, 3)
# Which tenths of the templates and of the combinations of numbers belong to a part.
_TEMPLATES = {"corpus": range(8), "train": range(8), "validation": [8], "test": [9]}
_NUMBERS = {"corpus": range(7), "train": [7], "validation": [8], "test": [9]}
_LARGEST = 60
_TRIES = 200
# What `--prompt-template` is given: the instruction that other LLMs need says nothing to this one.
TEMPLATE = "{statement}"

# Renamed solutions get the neutral names, which the LLM must know as well.
_NAMES = """
    Tom Ann Bob Eva Max Lea Ben Mia Leo Ida Jack Rosa Paul Nina Omar Lily Hugo Vera Finn Jane
"""
NAMES = (*NEUTRAL, *_NAMES.split())
_THINGS = """
    apples stickers marbles coins books cards pencils shells stamps beads buttons cookies balloons
    tickets flowers bottles candles badges magnets puzzles
"""
THINGS = tuple(_THINGS.split())
BOXES = ("boxes", "bags", "jars", "baskets", "crates")
SORTS = (("red", "blue"), ("big", "small"), ("new", "old"), ("green", "yellow"))

# How each kind of fact is said; N is whom it is about, M and K are those it refers to.
FACTS = {
    "has": ("{N} has {a} {things}.",),
    "boxes": ("{N} has {a} {boxes} with {b} {things} in each.",),
    "sorts": ("{N} has {a} {one} {things} and {b} {other} {things}.",),
    "more": ("{N} has {a} more {things} than {M}.", "{N} has {a} {things} more than {M}."),
    "fewer": ("{N} has {a} fewer {things} than {M}.", "{N} has {a} {things} fewer than {M}."),
    "under": ("{M} has {a} more {things} than {N}.", "{M} has {a} {things} more than {N}."),
    "over": ("{M} has {a} fewer {things} than {N}.", "{M} has {a} {things} fewer than {N}."),
    "times": ("{N} has {a} times as many {things} as {M}.",),
    "half": ("{N} has half as many {things} as {M}.",),
    "both": ("{N} has as many {things} as {M} and {K} together.",),
}
QUESTIONS = {
    "total": "How many {things} do {M} and {K} have together?",
    "gap": "How many more {things} does {M} have than {K}?",
    "gift": "{M} gives {a} {things} away. How many {things} does {M} have left?",
    "price": "{M} sells all the {things} for {a} dollars each. How many dollars does {M} get?",
    "packs": "{M} puts all the {things} into packs of {a}. How many packs does {M} get?",
}
# How often each is chosen where it may be; facts that need n steps or refer to so many others.
_LEAVES = ("boxes", "sorts")
_LINKS = ("more", "more", "fewer", "fewer", "under", "over", "times", "half")
_ASIDE = ("more", "fewer", "under", "over", "times", "half", "has", "boxes", "sorts")
_SIGNS = {
    **dict.fromkeys(("sorts", "more", "over", "both", "total"), "+"),
    **dict.fromkeys(("fewer", "under", "gap", "gift"), "-"),
    **dict.fromkeys(("boxes", "times", "price"), "*"),
    **dict.fromkeys(("half", "packs"), "/"),
}
_STEPS = ("{N} has {sum} {things}.", "{N} has {sum} {things}.", "So {N} has {sum} {things}.")
_LAST = {
    "total": ("Together they have {sum} {things}.", "In total {M} and {K} have {sum} {things}."),
    "gap": ("{M} has {sum} more {things}.", "The difference is {sum} {things}."),
    "gift": ("{M} has {sum} {things} left.",),
    "price": ("{M} gets {sum} dollars.", "That makes {sum} dollars."),
    "packs": ("{M} gets {sum} packs.", "That makes {sum} packs."),
}


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


@attrs.define(eq=False)
class _Fact:
    """A fact with its numbers: what is given, the equation's two sides, and the value."""

    kind: str
    below: list[_Fact]
    given: tuple[int, ...] = ()
    left: int = 0
    right: int = 0
    value: int = 0
    owner: str = ""

    @property
    def family(self) -> list[_Fact]:
        """Those that it depends on, before itself."""
        return [*(one for child in self.below for one in child.family), self]


def problems(part: str, seed: int = 0, steps: Sequence[int] = STEPS) -> Iterator[WordProblem]:
    """The problems of a part, without end; the same for the same seed."""
    index = 0
    while True:
        yield problem(part, index, seed, steps)
        index += 1


def problem(part: str, index: int, seed: int = 0, steps: Sequence[int] = STEPS) -> WordProblem:
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
            made = _told(asked, str(template), numbers, random)
            if part == "corpus" or split_of(statement_hash(made.statement)) is Split(part):
                return made


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


def _valued(template: Tree, random: Random) -> _Fact | None:
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


def _fact(kind: str, below: list[_Fact], random: Random) -> _Fact | None:
    """A fact of a kind with numbers of its own; None where its value is no fair number."""
    given: tuple[int, ...] = ()
    if kind == "has":
        given = (random.randint(4, 30),)
        return _Fact(kind, below, given, value=given[0])
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
    sign = _SIGNS[kind]
    if sign == "/" and left % right:
        return None
    value = {"+": left + right, "-": left - right, "*": left * right, "/": left // right}[sign]
    if not 3 <= value <= _LARGEST:
        return None
    return _Fact(kind, below, given, left, right, value)


def _told(asked: _Fact, template: str, numbers: tuple[int, ...], random: Random) -> WordProblem:
    """The facts in words: names, things, an order, what is beside the point, and the solution."""
    names = random.sample(NAMES, len(NAMES))
    things, others = random.sample(THINGS, 2)
    needed = asked.family[:-1]
    for fact in needed:
        fact.owner = names.pop()
    said: list[tuple[str, _Fact | None]] = [(_sentence(f, things, random), f) for f in needed]
    in_order = random.random() < 0.7
    known = {*numbers, *(fact.value for fact in asked.family)}
    free = [n for n in range(3, 41) if n not in known]
    random.shuffle(free)
    for _ in range(random.randint(1, 2) if len(needed) > 3 else random.randint(0, 1)):
        # Facts beside the point stand anywhere.
        place = random.randint(0, len(said))
        said.insert(place, (_aside(needed, things, others, names, free, random), None))
    if not in_order:
        random.shuffle(said)
    question = QUESTIONS[asked.kind].format_map(_words(asked, things))
    statement = " ".join([*(sentence for sentence, _ in said), question])
    lines = [_line(fact, things, random) for fact in _order([*(f for _, f in said if f), asked])]
    return WordProblem(statement, tuple(lines), asked.value, template, numbers)


def _words(fact: _Fact, things: str) -> dict[str, object]:
    people = [one.owner for one in fact.below]
    return {
        "N": fact.owner,
        "things": things,
        **dict(zip("MK", people, strict=False)),
        **dict(zip("ab", fact.given, strict=False)),
    }


def _sentence(fact: _Fact, things: str, random: Random) -> str:
    one, other = random.choice(SORTS)
    words = _words(fact, things) | {"boxes": random.choice(BOXES), "one": one, "other": other}
    return random.choice(FACTS[fact.kind]).format_map(words)


def _aside(
    needed: list[_Fact], things: str, others: str, names: list[str], free: list[int], random: Random
) -> str:
    """A fact that nobody needs: somebody else's, of other things, or an age."""
    about = random.choice(needed)
    way = random.random()
    if way < 0.15:
        return f"{about.owner} is {free.pop()} years old."
    if way < 0.4:
        return f"{about.owner} has {free.pop()} {others}."
    kind = random.choice(_ASIDE)
    given = tuple(free.pop() for _ in range(2 if kind in _LEAVES else kind != "half"))
    if kind in ("times", "boxes"):
        given = (random.randint(2, 5), *given[1:])
    below = [] if kind in ("has", *_LEAVES) else [about]
    return _sentence(_Fact(kind, below, given, owner=names.pop()), things, random)


def _order(facts: list[_Fact]) -> list[_Fact]:
    """The steps in the order of the statement, but that each finds what it needs."""
    waiting = [fact for fact in facts if fact.kind != "has"]
    done = {id(fact) for fact in facts if fact.kind == "has"}
    ordered = []
    while waiting:
        fact = next(f for f in waiting if all(id(one) in done for one in f.below))
        waiting.remove(fact)
        done.add(id(fact))
        ordered.append(fact)
    return ordered


def _line(fact: _Fact, things: str, random: Random) -> str:
    sign = _SIGNS[fact.kind]
    sides = (fact.left, fact.right)
    if sign in "+*" and random.random() < 0.25:
        sides = sides[::-1]
    equation = f"{sides[0]} {sign} {sides[1]} = {fact.value}"
    wording = random.choice(_LAST.get(fact.kind, _STEPS))
    return wording.format_map(_words(fact, things) | {"sum": equation})
