"""The best of several samples, chosen by a verifier that learned from grades."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from reporting import table
from rjepa_core.domain.problem import Split
from rjepa_core.evaluation.statistics import Drawn, Resampler, Separation, Share
from verifier_baselines import trained_on
from verifier_calibration import section
from verifier_damage import is_verifier
from verifier_data import Array, Solution, read
from verifier_runs import SEEDS, Said, ask, surprises, train

SAMPLES = 8
NUMBERS = (1, 2, 4, 8)
CHANCE, MAJORITY, ORACLE = "chance", "majority", "oracle"
SHORTEST, TRAINED = "shortest", ("n-grams", "log-probability and length")
# Of the gap from chance to oracle.
AIM = 1 / 3
# Indices of a group's samples to the share of right answers.
Choice = Callable[[Array], float]


@attrs.frozen(eq=False)
class Samples:
    """The solutions of the judged problems, and which belong together.

    Attributes:
        solutions: all of them.
        right: bool, of each.
        groups: of each problem the indices of its samples, in the order in which they were drawn.
    """

    solutions: Sequence[Solution]
    right: Array
    groups: list[Array]

    @classmethod
    def of(cls, solutions: Sequence[Solution]) -> Samples:
        found: dict[str, list[int]] = {}
        for at, one in enumerate(solutions):
            found.setdefault(one.problem, []).append(at)
        groups = [np.array(some) for some in found.values()]
        odd = sum(len(group) != SAMPLES for group in groups)
        assert not odd, f"{odd} problems have other than {SAMPLES} samples"
        return cls(solutions, np.array([one.right for one in solutions]), groups)

    def accuracy(self, choice: Choice, number: int) -> Share:
        """Over all problems; of a number below 8 the mean over groups of so many."""
        values = [
            float(np.mean([choice(part) for part in np.split(group, SAMPLES // number)]))
            for group in self.groups
        ]
        return Share(np.array(values), np.arange(len(values)), len(values))

    def least(self, scores: Array) -> Choice:
        """The solution with the least score; of several as low the mean."""

        def choice(group: Array) -> float:
            own = scores[group]
            return float(self.right[group][own == own.min()].mean())

        return choice

    def vote(self, weights: Array) -> Choice:
        """The answer with the most weight; of several as heavy the mean."""

        def choice(group: Array) -> float:
            heap: Counter[str] = Counter()
            right: dict[str, bool] = {}
            for at in group:
                answer = self.solutions[at].answer
                if answer is not None:
                    heap[answer] += weights[at]
                    right[answer] = bool(self.right[at])
            if not heap:
                return 0.0
            most = max(heap.values())
            tied = [right[answer] for answer, much in heap.items() if much >= most - 1e-9]
            return float(np.mean(tied))

        return choice


def choices(samples: Samples, said: Mapping[str, Said]) -> dict[str, Choice]:
    """All ways to choose."""
    solutions = samples.solutions
    lp = [np.asarray(one.logprobs, float) for one in solutions]
    tokens = np.array([one.tokens.sum() for one in solutions])
    found: dict[str, Choice] = {
        CHANCE: lambda group: float(samples.right[group].mean()),
        MAJORITY: samples.vote(np.ones(len(solutions))),
        SHORTEST: samples.least(tokens),
        "log-probability, mean": samples.least(np.array([-one.mean() for one in lp])),
        "log-probability, minimum": samples.least(np.array([-one.min() for one in lp])),
    }
    for method, one in said.items():
        scores = one.wholes["mean"] if method.startswith("surprise") else one.wholes["whole"]
        found[method] = samples.least(scores)
        if is_verifier(method):
            found[f"vote weighted by {method}"] = samples.vote(1.0 - scores)
    found[ORACLE] = lambda group: float(samples.right[group].any())
    return found


def measure(args: argparse.Namespace) -> tuple[str, str, dict[str, Any]]:
    """Title, text and figures of the section."""
    samples = Samples.of(read(args.store, [Split(args.split)], every=True))
    known = [read(args.store, [part]) for part in (Split.TRAIN, Split.VALIDATION)]
    runs = [train(args.runs / f"best-of-{seed}", [args.store], seed, *args.set) for seed in SEEDS]
    said = {
        **surprises(str(runs[0]), samples.solutions),
        **trained_on(*known, samples.solutions),
        **{f"verifier, seed {n}": ask(run, samples.solutions) for n, run in enumerate(runs)},
    }
    resampler = Resampler(len(samples.groups))
    drawn = {
        method: {n: resampler.draw(samples.accuracy(choice, n)) for n in NUMBERS}
        for method, choice in choices(samples, said).items()
    }
    problems = np.repeat(np.arange(len(samples.groups)), SAMPLES)
    flat = np.concatenate(samples.groups)
    areas = {
        method: resampler.draw(
            Separation(one.wholes["whole"][flat], ~samples.right[flat], problems)
        )
        for method, one in said.items()
        if "whole" in one.wholes
    }
    facts: dict[str, Any] = {
        "problems": len(samples.groups),
        "training": {
            "solutions": len(known[0]),
            "right": float(np.mean([s.right for s in known[0]])),
        },
        "accuracy": {
            method: {n: attrs.asdict(one.estimate()) for n, one in found.items()}
            for method, found in drawn.items()
        },
        "auroc": {method: attrs.asdict(one.estimate()) for method, one in areas.items()},
    }
    rows = [[method, *(told(found[n]) for n in NUMBERS)] for method, found in drawn.items()]
    lines = [f"- {line}" for line in findings(drawn, facts)]
    calibrated, facts["calibration"] = section(
        "best-of",
        {m: (one.wholes["whole"], ~samples.right) for m, one in said.items() if is_verifier(m)},
        draw=not args.print,
    )
    area = ", ".join(f"{method} {told(one)}" for method, one in areas.items())
    text = "\n\n".join(
        [
            f"{facts['problems']:,} problems of the {args.split} part with {SAMPLES} samples each, "
            f"all of them; verifier and trained baselines learned from the grades of "
            f"{len(known[0]):,} other samples ({facts['training']['right']:.0%} right). "
            "The share of right answers:",
            table(["chosen by", *(f"N = {n}" for n in NUMBERS)], rows),
            "\n".join(lines),
            f"Wrong samples told from right ones, AUROC over all: {area}.",
            calibrated,
        ]
    )
    return "The best of several samples", text, facts


def told(one: Drawn) -> str:
    found = one.estimate()
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def findings(drawn: Mapping[str, Mapping[int, Drawn]], facts: dict[str, Any]) -> list[str]:
    """What the aims ask for, at N = 8, of the worst seed."""
    most = NUMBERS[-1]
    ours = [method for method in drawn if is_verifier(method)]
    votes = [method for method in drawn if method.startswith("vote weighted")]
    gap = drawn[ORACLE][most].value - drawn[CHANCE][most].value
    closed = min((drawn[m][most].value - drawn[CHANCE][most].value) / gap for m in ours)
    facts["gap closed"] = closed
    lines = [f"the verifier closes {closed:.0%} of the gap from chance to oracle (aim: {AIM:.0%})"]
    for others, members in ((TRAINED, ours), ((MAJORITY,), votes), ((MAJORITY,), ours)):
        for other in others:
            apart = [drawn[member][most].minus(drawn[other][most]) for member in members]
            worst = min(apart, key=lambda one: one.low)
            name = "verifier" if members is ours else "vote weighted by the verifier"
            facts[f"{name} less {other}"] = attrs.asdict(worst)
            lines.append(
                f"{name} less {other}: {worst.value:+.3f} [{worst.low:+.3f}, {worst.high:+.3f}]"
            )
    return lines
