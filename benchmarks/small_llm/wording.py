"""How a word problem and its solution are said: names, things, sentences and their order."""

from __future__ import annotations

from random import Random

import attrs

from rjepa_core.evaluation.corruption.names import NEUTRAL

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
# Kinds with two numbers, and those of facts beside the point.
_LEAVES = ("boxes", "sorts")
_ASIDE = ("more", "fewer", "under", "over", "times", "half", "has", "boxes", "sorts")
SIGNS = {
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


@attrs.define(eq=False)
class Fact:
    """A fact with its numbers: what is given, the equation's two sides, and the value."""

    kind: str
    below: list[Fact]
    given: tuple[int, ...] = ()
    left: int = 0
    right: int = 0
    value: int = 0
    owner: str = ""

    @property
    def family(self) -> list[Fact]:
        """Those that it depends on, before itself."""
        return [*(one for child in self.below for one in child.family), self]


def told(asked: Fact, random: Random, in_order: float) -> tuple[str, tuple[str, ...]]:
    """A statement and the steps of its solution.

    Args:
        asked: the question, with the facts that it needs.
        random: for names, things, what is beside the point, and the wording.
        in_order: share of the statements whose facts are not shuffled.
    """
    names = random.sample(NAMES, len(NAMES))
    things, others = random.sample(THINGS, 2)
    needed = asked.family[:-1]
    for fact in needed:
        fact.owner = names.pop()
    said: list[tuple[str, Fact | None]] = [(_sentence(f, things, random), f) for f in needed]
    ordered = random.random() < in_order
    known = {n for fact in asked.family for n in (*fact.given, fact.value)}
    free = [n for n in range(3, 41) if n not in known]
    random.shuffle(free)
    for _ in range(random.randint(1, 2) if len(needed) > 3 else random.randint(0, 1)):
        # Facts beside the point stand anywhere.
        place = random.randint(0, len(said))
        said.insert(place, (_aside(needed, things, others, names, free, random), None))
    if not ordered:
        random.shuffle(said)
    question = QUESTIONS[asked.kind].format_map(_words(asked, things))
    statement = " ".join([*(sentence for sentence, _ in said), question])
    lines = [_line(fact, things, random) for fact in _order([*(f for _, f in said if f), asked])]
    return statement, tuple(lines)


def _words(fact: Fact, things: str) -> dict[str, object]:
    people = [one.owner for one in fact.below]
    return {
        "N": fact.owner,
        "things": things,
        **dict(zip("MK", people, strict=False)),
        **dict(zip("ab", fact.given, strict=False)),
    }


def _sentence(fact: Fact, things: str, random: Random) -> str:
    one, other = random.choice(SORTS)
    words = _words(fact, things) | {"boxes": random.choice(BOXES), "one": one, "other": other}
    return random.choice(FACTS[fact.kind]).format_map(words)


def _aside(
    needed: list[Fact], things: str, others: str, names: list[str], free: list[int], random: Random
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
    return _sentence(Fact(kind, below, given, owner=names.pop()), things, random)


def _order(facts: list[Fact]) -> list[Fact]:
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


def _line(fact: Fact, things: str, random: Random) -> str:
    sign = SIGNS[fact.kind]
    sides = (fact.left, fact.right)
    if sign in "+*" and random.random() < 0.25:
        sides = sides[::-1]
    equation = f"{sides[0]} {sign} {sides[1]} = {fact.value}"
    wording = random.choice(_LAST.get(fact.kind, _STEPS))
    return wording.format_map(_words(fact, things) | {"sum": equation})
