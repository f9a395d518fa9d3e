"""Damaged solutions: does the surprise name the changed step, and tell damaged from clean?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import numpy as np

from ..domain.problem import half_of
from ..ports.world_model import Context
from .corpus import Sample, problem_numbers
from .correctness import TOO_FEW, compare
from .fitting import (
    Scores,
    average,
    can_cross,
    fitted,
    fitted_crosswise,
    flat_labels,
    largest,
    prepared,
    solution_features,
    split_scores,
    step_features,
)
from .methods import CONTEXTS, LOGPROB, Method, step_scores
from .progress import EvaluationWatch
from .results import Table, TableBuilder
from .settings import FOREIGN, EvaluateSettings
from .statistics import Doubles, Figure, Ints, Resampler, Separation, Share, named

NAMED, BY_MAX, BY_MEAN, FITTED = "named", "AUROC max", "AUROC mean", "AUROC fitted"
_TITLES = {FOREIGN: "A step of another problem", "slip": "One changed result"}


@attrs.frozen(eq=False)
class Pair:
    """A solution and its damaged copy.

    Attributes:
        clean, damaged: as they were encoded.
        changed: which step of the damaged one is another.
    """

    clean: Sample
    damaged: Sample
    changed: int


@attrs.define(eq=False)
class _Scored:
    """Pairs and the scores of their steps by method: first all clean ones, then all damaged."""

    pairs: Sequence[Pair]
    scores: dict[str, Scores] = attrs.field(factory=dict)

    @property
    def samples(self) -> list[Sample]:
        return [pair.clean for pair in self.pairs] + [pair.damaged for pair in self.pairs]

    @property
    def damaged(self) -> np.ndarray:
        return np.arange(2 * len(self.pairs)) >= len(self.pairs)

    def of_damaged(self, name: str) -> Scores:
        return self.scores[name][len(self.pairs) :]


def damage_table(
    kind: str,
    methods: Sequence[Method],
    pairs: Sequence[Pair],
    fitting: Sequence[Pair] | None,
    context: Context,
    settings: EvaluateSettings,
    watch: EvaluationWatch,
    notes: tuple[str, ...] = (),
) -> Table:
    """Accuracy of naming the changed step, and AUROC of damaged against clean.

    Args:
        kind: `foreign` or `slip`.
        methods: that predict steps.
        pairs: of the split asked for.
        fitting: of the validation part, that the logistic models are fitted on; None where it is
            the split asked for: then each half is scored by models of the other.
        context: what a step is predicted from.
        settings: seed, draws and batch size.
        watch: told how far it is.
        notes: that belong to the table.
    """
    tested = _Scored(pairs)
    trained = None if fitting is None else _Scored(fitting)
    for scored in [tested] if trained is None else [tested, trained]:
        sequences = [sample.sequence for sample in scored.samples]
        for method in methods:
            tick = watch.phase(f"{kind} {CONTEXTS[context]}: {method.name}", len(sequences))
            scored.scores[method.name] = step_scores(
                method, sequences, context, settings.batch_size, tick
            )
    surprises = [method.name for method in methods]
    if not _add_logprobs([tested] if trained is None else [tested, trained]):
        notes = (*notes, "log-probabilities are not kept in the stores")
    numbers, count = problem_numbers([pair.clean for pair in pairs])
    build = TableBuilder(Resampler(count, settings.draws, settings.seed))
    figures = _Figures(tested, trained, surprises, numbers, count)
    if not figures.fits:
        notes = (*notes, TOO_FEW)
    compare(build, methods, list(tested.scores), figures)
    return Table(
        part=kind,
        name=f"{kind}/{context.value}",
        title=f"{_TITLES.get(kind, kind)}, surprise {CONTEXTS[context]}",
        columns=(NAMED, BY_MAX, BY_MEAN, FITTED),
        items=len(pairs),
        problems=count,
        chance={
            NAMED: float(np.mean([1 / pair.damaged.steps for pair in pairs])),
            BY_MAX: 0.5,
            BY_MEAN: 0.5,
            FITTED: 0.5,
        },
        lines=build.lines(),
        notes=notes,
    )


def _add_logprobs(all_scored: Sequence[_Scored]) -> bool:
    """Negative log-probabilities as scores, where all samples keep them."""
    if any(sample.logprobs is None for scored in all_scored for sample in scored.samples):
        return False
    for scored in all_scored:
        scored.scores[LOGPROB] = [-s.logprobs for s in scored.samples if s.logprobs is not None]
    return True


class _Figures:
    """The figures of one table."""

    def __init__(
        self,
        tested: _Scored,
        trained: _Scored | None,
        surprises: Sequence[str],
        problems: Ints,
        count: int,
    ) -> None:
        self._tested, self._trained = tested, trained
        self._problems, self._count = problems, count
        self._twice = np.concatenate([problems, problems])
        self._ready = prepared(tested.scores, surprises)
        self._ready_trained = prepared(trained.scores, surprises) if trained else {}
        halves = np.array([half_of(pair.clean.problem) for pair in tested.pairs], np.int64)
        self._halves = np.concatenate([halves, halves])
        self.fits = trained is not None or can_cross(tested.damaged, self._halves)

    def alone(self, name: str) -> Mapping[str, Figure]:
        """Of one kind of scores."""
        scores = self._tested.scores[name]
        return {
            NAMED: self._named(self._tested.of_damaged(name)),
            BY_MAX: self._separation(largest(scores)),
            BY_MEAN: self._separation(average(scores)),
            **({FITTED: self._fitted((name,))} if self.fits else {}),
        }

    def together(self, name: str) -> Mapping[str, Figure]:
        """Of a method's scores and the log-probability."""
        names = (name, LOGPROB)
        return {NAMED: self._named(self._steps_fitted(names)), FITTED: self._fitted(names)}

    def _named(self, scores: Scores) -> Figure:
        found = [named(s, p.changed) for s, p in zip(scores, self._tested.pairs, strict=True)]
        return Share(np.array(found), self._problems, self._count)

    def _separation(self, scores: Doubles) -> Figure:
        return Separation(scores, self._tested.damaged, self._twice)

    def _fitted(self, names: Sequence[str]) -> Figure:
        features = solution_features([self._ready[name] for name in names])
        if self._trained is None:
            logits = fitted_crosswise(features, self._tested.damaged, self._halves)
        else:
            train = solution_features([self._ready_trained[name] for name in names])
            logits = fitted((train, self._trained.damaged), features)
        return self._separation(logits)

    def _steps_fitted(self, names: Sequence[str]) -> Scores:
        features, labels, counts = _of_steps(self._tested, self._ready, names)
        if self._trained is None:
            halves = np.repeat(self._halves[: len(counts)], counts)
            return split_scores(fitted_crosswise(features, labels, halves), counts)
        train = _of_steps(self._trained, self._ready_trained, names)
        return split_scores(fitted(train[:2], features), counts)


def _of_steps(
    scored: _Scored, ready: Mapping[str, Scores], names: Sequence[str]
) -> tuple[Doubles, np.ndarray, list[int]]:
    """Features and labels of all steps of the damaged solutions, and their numbers of steps."""
    kinds = [ready[name][len(scored.pairs) :] for name in names]
    counts = [len(one) for one in kinds[0]]
    labels = flat_labels([pair.changed for pair in scored.pairs], counts)
    return np.concatenate(step_features(kinds)), labels, counts
