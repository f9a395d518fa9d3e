"""Damaged solutions told from correct ones, on kinds of damage that were not trained on."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from reporting import table
from rjepa_core.evaluation.statistics import (
    Drawn,
    Mean,
    Resampler,
    Separation,
    Share,
    named,
)
from verifier_baselines import trained_on, without_training
from verifier_calibration import section
from verifier_data import Array, Solution, read
from verifier_runs import SEEDS, Said, ask, surprises, train

GROUPS = {
    "result, operation": ("result", "operation"),
    "quantity, order": ("quantity", "order"),
    "omission, similar": ("omission", "similar"),
}
GROUPED = tuple(kind for kinds in GROUPS.values() for kind in kinds)
EASY = "foreign"
IN_KIND = "in kind"
EDITED = ("renamed", "reordered")


def sibling(store: Path, part: str) -> Path:
    return store.with_name(f"{store.name}.damage-{part}")


@attrs.frozen(eq=False)
class Judged:
    """The solutions that are judged, and what belongs together."""

    solutions: Sequence[Solution]
    numbers: Array
    problems: int

    @classmethod
    def of(cls, solutions: Sequence[Solution]) -> Judged:
        names = {name: at for at, name in enumerate(sorted({one.problem for one in solutions}))}
        return cls(solutions, np.array([names[one.problem] for one in solutions]), len(names))

    def kinds(self, *kinds: str) -> Array:
        return np.flatnonzero([one.kind in kinds for one in self.solutions])

    def against(self, kind: str, edited: bool) -> tuple[Array, Array]:
        """Indices of damaged and of correct solutions: clean ones of the same problems, or the
        edited ones."""
        damaged = self.kinds(kind)
        own = set(self.numbers[damaged])
        correct = self.kinds(*EDITED) if edited else self.kinds("clean")
        if not edited:
            correct = np.array([at for at in correct if self.numbers[at] in own])
        return damaged, correct

    def separation(self, kind: str, scores: Array, edited: bool = False) -> Separation:
        damaged, correct = self.against(kind, edited)
        rows = np.concatenate([damaged, correct])
        return Separation(scores[rows], np.arange(len(rows)) < len(damaged), self.numbers[rows])

    def named(self, kind: str, steps: Sequence[Array]) -> Share:
        rows = [at for at in self.kinds(kind) if self.solutions[at].wrong_step is not None]
        hits = [named(steps[at], self.solutions[at].wrong_step or 0) for at in rows]
        return Share(np.array(hits), self.numbers[rows], self.problems)


def chosen(solutions: Sequence[Solution], kinds: Sequence[str]) -> list[Solution]:
    """Those of some kinds, with the correct ones."""
    return [one for one in solutions if one.kind in kinds or one.kind in ("clean", *EDITED)]


def methods(args: argparse.Namespace, judged: Judged) -> dict[str, dict[str, Said]]:
    """What every method says, by what it was trained on: a group left out, or in kind."""
    stores = {part: sibling(args.store, part) for part in ("train", "validation")}
    known = {part: read(place) for part, place in stores.items()}
    always = {
        **without_training(judged.solutions),
        **surprises(args.world_model, judged.solutions),
    }
    found = {}
    for name, left_out in {**GROUPS, IN_KIND: ()}.items():
        kinds = [kind for kind in GROUPED if kind not in left_out]
        parts = [chosen(known[part], kinds) for part in ("train", "validation")]
        said = {**always, **trained_on(*parts, judged.solutions)}
        for seed in SEEDS:
            run = args.runs / f"damage-{name.replace(', ', '-').replace(' ', '-')}-{seed}"
            kinds_set = "data.damage=[" + ", ".join(kinds) + "]"
            more = [f"model.world_model={args.world_model}", kinds_set, *args.set]
            said[f"verifier, seed {seed}"] = ask(
                train(run, [*stores.values()], seed, *more), judged.solutions
            )
        found[name] = said
    return found


def is_verifier(name: str) -> bool:
    return name.startswith("verifier")


class Figures:
    """Figures of one training, drawn over the same problems."""

    def __init__(self, judged: Judged, said: Mapping[str, Said]) -> None:
        self.judged, self.said = judged, said
        self.resampler = Resampler(judged.problems)

    def wholes(self, method: str) -> dict[str, Array]:
        """Of a verifier what it says of the whole; a baseline has the better of what there is."""
        found = self.said[method].wholes
        return {"whole": found["whole"]} if is_verifier(method) else found

    def area(self, method: str, kinds: Sequence[str], edited: bool = False) -> Drawn:
        """AUROC, the mean over kinds."""
        every = [
            Mean([self.judged.separation(kind, scores, edited) for kind in kinds])
            for scores in self.wholes(method).values()
        ]
        values = [float(one.of(np.ones((1, self.judged.problems)))[0]) for one in every]
        return self.resampler.draw(every[int(np.argmax(values))])

    def named(self, method: str, kind: str) -> Drawn | None:
        steps = self.said[method].steps
        if steps is None:
            return None
        return self.resampler.draw(self.judged.named(kind, steps))


def measure(args: argparse.Namespace) -> tuple[str, str, dict[str, Any]]:
    """Title, text and figures of the section."""
    judged = Judged.of(read(sibling(args.store, args.split)))
    said = methods(args, judged)
    facts: dict[str, Any] = {"groups": {}, "kinds": {}}
    groups = [
        group_of(Figures(judged, said[name]), name, kinds, facts) for name, kinds in GROUPS.items()
    ]
    every = (*GROUPED, EASY)
    for trained in ("left out", IN_KIND):
        for kind in every:
            group = next((name for name, kinds in GROUPS.items() if kind in kinds), IN_KIND)
            figures = Figures(judged, said[group if trained == "left out" else IN_KIND])
            facts["kinds"].setdefault(trained, {})[kind] = dict(kind_of(figures, kind))
    counts = {kind: len(judged.kinds(kind)) for kind in (*every, "clean", *EDITED)}
    facts["counts"] = counts
    calibrated, facts["calibration"] = section(
        "damage", outputs(judged.solutions, said[IN_KIND]), draw=not args.print
    )
    text = "\n\n".join(
        [
            f"The {args.split} part: {', '.join(f'{n:,} {kind}' for kind, n in counts.items())}. "
            "Verifier and trained baselines have seen the kinds of the two other groups alone "
            "(*left out*), or all six (*in kind*); never a foreign step. A verifier's figure is of "
            "what it says of the whole; a baseline has the better of what it says of the whole, "
            "of its largest and of its mean step, figure by figure. Three seeds, the worst counts.",
            "**A group left out**: mean AUROC of its two kinds against the clean solutions of the "
            "same problems; the last column is the verifier's worst seed less the best baseline.",
            table(
                ["left out", "best baseline", "", "verifier, seeds 0, 1, 2", "difference"], groups
            ),
            *(
                f"**{title}**, {trained}:\n\n{by_kind(facts['kinds'][trained], figure)}"
                for trained in ("left out", IN_KIND)
                for figure, title in (
                    ("clean", "AUROC against clean solutions"),
                    ("edited", "AUROC against edited solutions"),
                    ("named", "The wrong step named"),
                )
            ),
            calibrated,
        ]
    )
    return "The verifier on damaged solutions", text, facts


def outputs(
    solutions: Sequence[Solution], said: Mapping[str, Said]
) -> dict[str, tuple[Array, Array]]:
    """What verifiers say of steps and of answers, and what is true, where it is known."""
    steps = np.concatenate([one.wrong for one in solutions])
    known = ~np.isnan(steps)
    failed = np.array([not one.right for one in solutions])
    found = {}
    for method, one in said.items():
        if is_verifier(method) and one.steps is not None:
            found[f"steps, {method}"] = np.concatenate(one.steps)[known], steps[known] == 1
            found[f"answers, {method}"] = one.wholes["whole"], failed
    return found


def group_of(figures: Figures, name: str, kinds: Sequence[str], facts: dict[str, Any]) -> list[str]:
    """A line of the first table."""
    areas = {method: figures.area(method, kinds) for method in figures.said}
    cheap = {method: area for method, area in areas.items() if not is_verifier(method)}
    best = max(cheap, key=lambda method: cheap[method].value)
    ours = {method: area for method, area in areas.items() if is_verifier(method)}
    differences = [area.minus(cheap[best]) for area in ours.values()]
    worst = min(differences, key=lambda one: one.low)
    facts["groups"][name] = {
        "areas": {method: attrs.asdict(area.estimate()) for method, area in areas.items()},
        "best baseline": best,
        "difference": attrs.asdict(worst),
    }
    seeds = ", ".join(f"{area.value:.3f}" for area in ours.values())
    told = f"{worst.value:+.3f} [{worst.low:+.3f}, {worst.high:+.3f}]"
    return [name, best, f"{cheap[best].value:.3f}", seeds, told]


def kind_of(figures: Figures, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Of each method its figures on a kind; of verifiers the worst of the seeds."""
    for method in figures.said:
        found = {
            "clean": figures.area(method, [kind]),
            "edited": figures.area(method, [kind], edited=True),
            "named": figures.named(method, kind),
        }
        yield (
            method,
            {name: attrs.asdict(one.estimate()) for name, one in found.items() if one is not None},
        )


def by_kind(found: Mapping[str, Mapping[str, Any]], figure: str) -> str:
    """Methods by kinds."""
    rows = []
    plain = [method for method in found[EASY] if not is_verifier(method)]
    for method in plain:
        cells = [found[kind][method].get(figure) for kind in found]
        if any(cells):
            rows.append([method, *(f"{cell['value']:.3f}" if cell else "–" for cell in cells)])
    seeds = [method for method in found[EASY] if is_verifier(method)]
    worst = [min(found[kind][seed][figure]["value"] for seed in seeds) for kind in found]
    rows.append(["**verifier, the worst of 3 seeds**", *(f"{value:.3f}" for value in worst)])
    return table(["", *found], rows)
