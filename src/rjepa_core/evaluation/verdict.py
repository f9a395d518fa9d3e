"""An evaluation in a sentence for each world model, what its measures mean, and what it lacks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..domain.floors import too_few_to_evaluate
from ..text import count, visible
from .text import AHEAD, BEHIND, SAME, Facts, compared, is_of, outcome

# What a column says, by its first word or its whole name; the longest that fits counts.
_MEASURES = {
    "top-1": "share of steps that are found at once: no other step that the method was not given "
    "is nearer to the prediction",
    "MRR": "mean of 1 / rank of the true step by its distance from the prediction; 1 is best",
    "error": "mean squared distance from the prediction; 1 is about what always predicting the "
    "mean step gets",
    "explained variance": "share of the steps' spread that the predictions account for; 1 is all",
    "top-1 same place": "top-1 among steps at the same place of other solutions alone",
    "MRR same place": "MRR among steps at the same place of other solutions alone",
    "clean": "AUROC of damaged against clean solutions, by the highest score of their steps (max), "
    "the mean, or a fitted mixture; 0.5 is chance",
    "edited": "the same against solutions that were edited and stayed correct",
    "paired": "share of damaged solutions with a higher score than their own clean one",
    "named": "share of damaged solutions whose wrong step has the highest score",
    "AUROC": "probability that a wrong solution has a higher score than a right one; 0.5 is chance",
    "within": "the same among solutions of one question",
}
# What a world model is asked to do, by the table's part; and what a method is called beside.
_PARTS = {
    "prediction": "predicting steps",
    "damage": "finding damage",
    "correctness": "telling wrong solutions from right ones",
    "probe": "as input of a probe",
}
_CONTEXT = re.compile(r", (past|others)$")
_PROBE = "AUROC of a linear probe fitted on so many labelled steps; 0.5 is chance"


def verdicts(facts: Facts, of: Sequence[str] | None = None) -> list[str]:
    """Return a sentence for each world model, or for several that differ in their seeds alone.

    Args:
        facts: of an `Evaluation`.
        of: names of world models; only sentences that they are in.
    """
    outcomes: dict[str, dict[str, Counter[str]]] = {}
    for table in facts["tables"]:
        for column in table["leads"]:
            for line, _, difference in compared(table, column):
                if is_of(line, of):
                    who = _CONTEXT.sub("", line["method"])
                    found = outcomes.setdefault(who, {}).setdefault(table["part"], Counter())
                    found[outcome(difference, column in table["lower"])] += 1
    if not outcomes:
        return ["No leading figure of a world model stands beside one of a baseline here."]
    doubt = "" if _evaluated(facts) is None else "Too little to judge by. "
    return [doubt + _sentence(name, found) for name, found in outcomes.items()]


def _sentence(name: str, parts: Mapping[str, Counter[str]]) -> str:
    who = visible(name)
    said = "; ".join(_clause(_PARTS.get(part, part), found) for part, found in parts.items())
    return f"{who[0].upper()}{who[1:]}: {said}."


def _clause(part: str, found: Counter[str]) -> str:
    total = count(found.total(), "comparison")
    if found[AHEAD] == found.total():
        return f"{part}, ahead of the best baseline in all of {total}"
    shares = [f"{part}, ahead of the best baseline in {found[AHEAD]} of {total}"]
    for words, number in (
        ("behind in", found[BEHIND]),
        ("no difference that counts in", found[SAME]),
        ("not tested in", found[""]),
    ):
        shares += [f"{words} {number}"] if number else []
    return ", ".join(shares)


def too_little(facts: Facts) -> list[str]:
    """Return what is to be said where there was too little to train or to evaluate on."""
    trained = [one.get("too_little") for one in facts["world_models"].values()]
    return [visible(one) for one in dict.fromkeys([_evaluated(facts), *trained]) if one]


def _evaluated(facts: Facts) -> str | None:
    known = facts["facts"]
    problems = max((table["problems"] for table in facts["tables"]), default=0)
    return known.get("too_little") or too_few_to_evaluate(known.get("problems", problems))


def measures(facts: Facts) -> list[tuple[str, str]]:
    """Return the measures of the tables, each with what it says in one line."""
    columns = dict.fromkeys(column for table in facts["tables"] for column in table["columns"])
    return list(dict(_measures(columns)).items())


def _measures(columns: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for column in columns:
        name = column if column in _MEASURES else column.partition(" ")[0]
        if name in _MEASURES:
            yield name, _MEASURES[name]
        elif column.replace(",", "").isdigit():
            yield "a number of steps", _PROBE
