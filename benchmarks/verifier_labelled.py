"""Wrong solutions told from right ones, of four writers."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from reporting import table
from rjepa_core import open_store
from rjepa_core.domain.problem import half_of
from rjepa_core.evaluation.statistics import Drawn, Resampler, Separation, Share, auroc
from verifier_baselines import trained_on, without_training
from verifier_damage import is_verifier, sibling
from verifier_data import Array, Solution, read
from verifier_runs import SEEDS, Said, ask, surprises, train

ALONE, WITH_LABELS = "damage alone", "damage and half of the labels"
OVERALL, WITHIN = "overall", "within a question"


def halves(store: Path, folder: Path) -> list[Path]:
    """The labelled solutions of each half of the questions, in stores of their own."""
    places = [folder / f"labelled-half-{half}" for half in (0, 1)]
    for half, place in enumerate(places):
        if place.exists():
            continue
        with open_store(str(store)) as source, open_store(str(place), "write") as target:
            assert source.identity is not None
            target.begin(source.identity)
            for key in list(source.keys()):
                record = source.get(key)
                if half_of(record.trace.problem.statement_hash) == half:
                    target.write([record], [])
    return places


def joined(
    parts: Sequence[Mapping[str, Said]], rows: Sequence[Array], count: int
) -> dict[str, Said]:
    """What methods say, each part's of its own rows."""
    found = {}
    for method in parts[0]:
        wholes: dict[str, Array] = {}
        for name in parts[0][method].wholes:
            whole = np.full(count, np.nan)
            for part, at in zip(parts, rows, strict=True):
                whole[at] = part[method].wholes[name]
            wholes[name] = whole
        found[method] = Said(None, wholes)
    return found


def methods(args: argparse.Namespace, solutions: Sequence[Solution]) -> dict[str, dict[str, Said]]:
    """What every method says, by what it was trained on."""
    damage = [sibling(args.store, part) for part in ("train", "validation")]
    known = [read(place) for place in damage]
    writers = {one.writer: 0.0 for one in solutions}
    for writer in writers:
        writers[writer] = np.mean([not s.right for s in solutions if s.writer == writer])
    cheap = {
        **without_training(solutions),
        "who wrote it": Said(None, {"whole": np.array([writers[s.writer] for s in solutions])}),
        **surprises(args.world_model, solutions),
    }
    more = [f"model.world_model={args.world_model}", *args.set]
    alone = {**cheap, **trained_on(*known, solutions)}
    for seed in SEEDS:
        run = train(args.runs / f"labelled-damage-{seed}", damage, seed, *more)
        alone[f"verifier, seed {seed}"] = ask(run, solutions)
    places = halves(args.labelled, args.runs)
    rows = [np.flatnonzero([half_of(one.problem) == half for one in solutions]) for half in (0, 1)]
    parts = []
    for half in (0, 1):
        judged = [solutions[at] for at in rows[half]]
        other = [solutions[at] for at in rows[1 - half]]
        # One question in eight chooses the strength.
        held = [int(one.problem, 16) // 20 % 8 == 0 for one in other]
        train_set = [*known[0], *(one for one, out in zip(other, held, strict=True) if not out)]
        validation = [*known[1], *(one for one, out in zip(other, held, strict=True) if out)]
        said = trained_on(train_set, validation, judged)
        for seed in SEEDS:
            run = args.runs / f"labelled-half-{half}-{seed}"
            run = train(run, [*damage, places[1 - half]], seed, *more)
            said[f"verifier, seed {seed}"] = ask(run, judged)
        parts.append(said)
    return {ALONE: alone, WITH_LABELS: {**cheap, **joined(parts, rows, len(solutions))}}


class Figures:
    """AUROC overall, within a question, and within each writer."""

    def __init__(self, solutions: Sequence[Solution]) -> None:
        names = {name: at for at, name in enumerate(sorted({one.problem for one in solutions}))}
        self.numbers = np.array([names[one.problem] for one in solutions])
        self.wrong = np.array([not one.right for one in solutions])
        self.writers = np.array([one.writer for one in solutions])
        self.resampler = Resampler(len(names))

    @property
    def columns(self) -> list[str]:
        return [OVERALL, WITHIN, *sorted(set(self.writers))]

    def draw(self, scores: Array, column: str) -> Drawn:
        if column == WITHIN:
            return self.resampler.draw(self._within(scores))
        rows = np.arange(len(scores))
        if column != OVERALL:
            rows = np.flatnonzero(self.writers == column)
        return self.resampler.draw(Separation(scores[rows], self.wrong[rows], self.numbers[rows]))

    def _within(self, scores: Array) -> Share:
        count = self.resampler.problems
        members = [np.flatnonzero(self.numbers == at) for at in range(count)]
        pairs = [float(self.wrong[m].sum() * (~self.wrong[m]).sum()) for m in members]
        shares = [
            auroc(scores[m], self.wrong[m]) if many else 0.0
            for m, many in zip(members, pairs, strict=True)
        ]
        return Share(np.array(shares), np.arange(count), count, np.array(pairs))

    def best(self, said: Said, column: str, verifier: bool) -> Drawn:
        """Of a verifier what it says of the whole; a baseline has the better of what there is."""
        wholes = {"whole": said.wholes["whole"]} if verifier else said.wholes
        every = [self.draw(scores, column) for scores in wholes.values()]
        return max(every, key=lambda one: one.value)


def measure(args: argparse.Namespace) -> tuple[str, str, dict[str, Any]]:
    """Title, text and figures of the section."""
    solutions = read(args.labelled)
    figures = Figures(solutions)
    facts: dict[str, Any] = {}
    parts = [
        f"{len(solutions):,} solutions of {figures.resampler.problems:,} questions, four writers, "
        f"{int(figures.wrong.sum()):,} of them wrong by their final answer. AUROC of wrong against "
        "right; three seeds, the worst counts. The last line is the verifier's worst seed less the "
        "best baseline."
    ]
    for trained, said in methods(args, solutions).items():
        drawn = {
            method: {c: figures.best(one, c, is_verifier(method)) for c in figures.columns}
            for method, one in said.items()
        }
        facts[trained] = {
            method: {column: attrs.asdict(one.estimate()) for column, one in found.items()}
            for method, found in drawn.items()
        }
        cheap = [method for method in drawn if not is_verifier(method)]
        rows = [
            [method, *(f"{drawn[method][column].value:.3f}" for column in figures.columns)]
            for method in drawn
        ]
        last = []
        for column in figures.columns:
            best = max(cheap, key=lambda method, c=column: drawn[method][c].value)
            apart = [
                found[column].minus(drawn[best][column])
                for method, found in drawn.items()
                if is_verifier(method)
            ]
            worst = min(apart, key=lambda one: one.low)
            last.append(f"{worst.value:+.3f} [{worst.low:+.3f}, {worst.high:+.3f}]")
        rows.append(["*verifier less the best baseline*", *last])
        parts.append(f"**Trained on {trained}**:\n\n{table(['', *figures.columns], rows)}")
    return "The verifier on labelled solutions", "\n\n".join(parts), facts
