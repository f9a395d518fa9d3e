"""Names of people in a problem, found by how they stand in the text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

# They fit whatever pronoun follows.
NEUTRAL = tuple(
    re.findall(
        r"\w+",
        """
    Alex Avery Casey Charlie Dakota Emerson Finley Jamie Jordan Kendall Morgan Parker Quinn
    Reese Riley Robin Rowan Sam Skyler Taylor
    """,
    )
)
_NO_NAMES = frozenset(
    re.findall(
        r"\w+",
        """
    A After All Also Although An And Another Any Are As At Because Before Both But By Can
    Did Do Does Each Either Even Every Everyone Finally First For From Give Half He Hence
    Her Here His How However I If In Instead It Its Last Later Let Many More Most Mr Mrs Ms
    Dr My Neither Next No Not Now Of On Once One Only Or Our Out Over She Since So Some
    Someone Such That The Their Then There These They This Those Thus To Together Twice Two
    Three Four Five Under Until We What When Where Which While Who Will With You Your Monday
    Tuesday Wednesday Thursday Friday Saturday Sunday January February March April May June
    July August September October November December
    """,
    )
)
_VERBS = (
    "has|had|have|is|was|wants|wanted|needs|needed|buys|bought|makes|made|goes|went|earns|earned|"
    "spends|spent|sold|sells|gets|got|gave|gives|can|will|decides|decided|takes|took|eats|ate|"
    "works|worked|read|reads|runs|ran|picks|picked|uses|used|pays|paid|collects|collected|saves|"
    "saved|does|did|plans|planned|starts|started|finds|found|puts|put|drinks|drank|likes|loves|"
    "sees|saw|plays|played|could|would|should|and|said|says|receives|received|lives|lost|owns|owed|"
    "owes|brought|brings|caught|sleeps|cooks|baked|bakes|walks|walked|drove|drives|knows|knew|"
    "thinks|scored|weighs|carries|invited|ordered|orders|grows|grew|raised|finished|must|also|then"
)
_NAMED = re.compile(
    rf"(?<![\w'’-])(?:(?:Mr|Mrs|Ms|Dr)\.\s+)?(?P<name>[A-Z][a-z]{{1,14}})"
    rf"(?=['’]s\b|\s+(?:{_VERBS})\b)"
)


def names_in(text: str) -> tuple[str, ...]:
    """The names in a text, in order; each once."""
    found: dict[str, None] = {}
    for match in _NAMED.finditer(text):
        name = match["name"]
        if name not in _NO_NAMES and not re.search(rf"\b{name.lower()}\b", text):
            found.setdefault(name)
    return tuple(found)


def with_names(text: str, others: Mapping[str, str]) -> str:
    """The text with names in the place of names."""
    if not others:
        return text
    pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, others))})\b")
    return pattern.sub(lambda match: others[match[0]], text)


def mentioned(names: Sequence[str], text: str) -> tuple[str, ...]:
    """Those of the names that stand in a text."""
    return tuple(name for name in names if re.search(rf"\b{re.escape(name)}\b", text))
