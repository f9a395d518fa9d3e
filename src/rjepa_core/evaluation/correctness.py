"""Correctness: does the surprise tell wrong solutions from right ones?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import attrs
import numpy as np

from ..domain.problem import half_of
from ..ports.world_model import Context
from .corpus import Sample, problem_numbers
from .fitting import (
    Scores,
    average,
    can_cross,
    fitted_crosswise,
    largest,
    prepared,
    solution_features,
)
from .methods import BASELINE, COMBINED, CONTEXTS, COPY, LOGPROB, MEAN, Method, step_scores
from .progress import EvaluationWatch
from .results import Seeds, Table, TableBuilder
from .settings import CORRECTNESS, EvaluateSettings
from .statistics import Doubles, Figure, Flags, Ints, Resampler, Separation, Share, auroc

TOO_FEW = "too few problems to fit on one half and test on the other"
STEPS, TOKENS = "length in steps", "length in tokens"
KINDS = ("max", "mean", "fitted")
OVERALL = {kind: f"AUROC {kind}" for kind in KINDS}
WITHIN = {kind: f"within {kind}" for kind in KINDS}


def is_wrong(sample: Sample) -> bool | None:
    """What the label of a solution says; None where it has none."""
    return {"true": False, "false": True}.get(sample.trace.metadata.get("correct", ""))


def correctness_table(
    methods: Sequence[Method],
    samples: Sequence[Sample],
    context: Context,
    settings: EvaluateSettings,
    watch: EvaluationWatch,
    notes: tuple[str, ...] = (),
    seeds: Sequence[Seeds] = (),
) -> Table:
    """Compute the AUROC of wrong against right solutions, overall and within a question.

    Args:
        methods: that predict steps.
        samples: labelled solutions; both right and wrong ones.
        context: what a step is predicted from.
        settings: seed, draws and batch size.
        watch: told how far it is.
        notes: that belong to the table.
        seeds: methods that differ in their seeds alone.
    """
    sequences = [sample.sequence for sample in samples]
    scores: dict[str, Scores] = {}
    for method in methods:
        tick = watch.phase(f"correctness {CONTEXTS[context]}: {method.name}", len(samples))
        scores[method.name] = step_scores(method, sequences, context, settings.batch_size, tick)
    surprises = list(scores)
    if all(sample.logprobs is not None for sample in samples):
        scores[LOGPROB] = [-s.logprobs for s in samples if s.logprobs is not None]
    else:
        notes = (*notes, "log-probabilities are not kept in the stores")
    scores[STEPS] = [np.array([float(sample.steps)]) for sample in samples]
    scores[TOKENS] = [np.array([float(len(s.trace.completion_ids))]) for s in samples]
    problems, count = problem_numbers(samples)
    figures = _Figures(samples, scores, surprises, problems, count)
    build = TableBuilder(Resampler(count, settings.draws, settings.seed))
    if not figures.fits:
        notes = (*notes, TOO_FEW)
    compare(build, methods, list(scores), figures, seeds)
    columns = (*OVERALL.values(), *WITHIN.values())
    wrong = figures.wrong
    return Table(
        part=CORRECTNESS,
        name=f"{CORRECTNESS}/{context.value}",
        title=f"Wrong solutions told from right ones, surprise {CONTEXTS[context]}",
        columns=columns,
        items=len(samples),
        problems=count,
        chance=dict.fromkeys(columns, 0.5),
        lines=build.lines(),
        notes=(
            *notes,
            f"{int(wrong.sum()):,} wrong and {int((~wrong).sum()):,} right solutions; "
            f"{int(figures.pairs.sum()):,} pairs of a right and a wrong one of the same question",
        ),
    )


@attrs.define(eq=False)
class _Figures:
    samples: Sequence[Sample]
    scores: Mapping[str, Scores]
    surprises: Sequence[str]
    problems: Ints
    count: int
    wrong: Flags = attrs.field(init=False)
    pairs: Doubles = attrs.field(init=False)
    fits: bool = attrs.field(init=False)
    _halves: Ints = attrs.field(init=False)
    _ready: Mapping[str, Scores] = attrs.field(init=False)
    _members: Sequence[Ints] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.wrong = np.array([bool(is_wrong(sample)) for sample in self.samples])
        self._halves = np.array([half_of(sample.problem) for sample in self.samples], np.int64)
        self.fits = can_cross(self.wrong, self._halves)
        self._ready = prepared(self.scores, self.surprises)
        self._members = [np.flatnonzero(self.problems == p) for p in range(self.count)]
        self.pairs = np.array(
            [self.wrong[m].sum() * (~self.wrong[m]).sum() for m in self._members], np.float64
        )

    def alone(self, name: str) -> Mapping[str, Figure]:
        """Of one kind of scores."""
        scores = self.scores[name]
        return {
            **self._both("max", largest(scores)),
            **self._both("mean", average(scores)),
            **(self._both("fitted", self._fitted((name,))) if self.fits else {}),
        }

    def together(self, name: str) -> Mapping[str, Figure]:
        """Of a method's scores and the log-probability."""
        return self._both("fitted", self._fitted((name, LOGPROB)))

    def _both(self, kind: str, scores: Doubles) -> Mapping[str, Figure]:
        shares = [
            auroc(scores[m], self.wrong[m]) if self.pairs[p] else 0.0
            for p, m in enumerate(self._members)
        ]
        within = Share(np.array(shares), np.arange(self.count), self.count, self.pairs)
        return {
            OVERALL[kind]: Separation(scores, self.wrong, self.problems),
            WITHIN[kind]: within,
        }

    def _fitted(self, names: Sequence[str]) -> Doubles:
        features = solution_features([self._ready[name] for name in names])
        return fitted_crosswise(features, self.wrong, self._halves)


class Figures(Protocol):
    """The figures of one table; `fits` tells whether logistic models could be fitted."""

    fits: bool

    def alone(self, name: str) -> Mapping[str, Figure]:
        """Of one kind of scores."""

    def together(self, name: str) -> Mapping[str, Figure]:
        """Of a method's scores and the log-probability, in a logistic model."""


def compare(
    build: TableBuilder,
    methods: Sequence[Method],
    names: Sequence[str],
    figures: Figures,
    seeds: Sequence[Seeds] = (),
) -> None:
    """Add each kind of scores alone, then those of the methods with the log-probability.

    Args:
        build: gets the lines.
        methods: that predict steps.
        names: of all kinds of scores, those of the methods among them.
        figures: of the table.
        seeds: methods that differ in their seeds alone.
    """
    by_name = {method.name: method for method in methods}
    against = {m.name: m.against for m in methods if m.kind != BASELINE}
    for name in names:
        kind = by_name[name].kind if name in by_name else BASELINE
        others = (*against[name], LOGPROB) if name in against else ()
        build.add(name, kind, figures.alone(name), others)
    for one in seeds:
        build.add_seeds(one)
    if LOGPROB not in names or not figures.fits:
        return
    for name in by_name:
        if name in (MEAN, COPY):
            continue
        others = (*map(_together, against[name]), name) if name in against else ()
        build.add(_together(name), COMBINED, figures.together(name), (LOGPROB, *others))
    for one in seeds:
        members = tuple(map(_together, one.members))
        build.add_seeds(attrs.evolve(one, name=_together(one.name), members=members))


def _together(name: str) -> str:
    return f"{name} + {LOGPROB}"
