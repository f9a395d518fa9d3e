"""The methods that are compared, and their scores of many traces at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import attrs
import numpy as np

from ..domain.problem import Split
from ..ports.world_model import Context, LatentSequence
from .baselines import (
    STRENGTHS,
    CopyOfPrevious,
    MeanOfContext,
    NormalEquations,
    Predictor,
    Ridge,
    Standards,
    features,
    measure,
)
from .corpus import Corpus, Tick
from .metrics import Doubles, Floats, Ints, true_ranks
from .watching import Watch

WORLD_MODEL, BASELINE, COMBINED = "world model", "baseline", "combined"
RIDGE, MEAN, COPY = "ridge regression", "mean of the context", "copy of the previous step"
LOGPROB = "log-probability"
CONTEXTS = {Context.OTHERS: "from the other steps", Context.PAST: "from the past alone"}
# Traces of the validation part that the strength of the ridge regression is chosen on.
_CHOOSING = 2000
A = TypeVar("A")


@attrs.frozen(eq=False)
class Method:
    """A method that predicts steps.

    Attributes:
        name: in the tables.
        kind: `world model` or `baseline`.
        predictor: the method.
    """

    name: str
    kind: str
    predictor: Predictor


def each_in_batches(
    ask: Callable[[list[LatentSequence]], Sequence[A]],
    sequences: Sequence[LatentSequence],
    size: int,
    tick: Tick = lambda done: None,
) -> list[A]:
    """One answer a sequence, in order; asked in batches of about equal lengths."""
    answers: list[A | None] = [None] * len(sequences)
    done = 0
    for places in in_length_order(sequences, size):
        for place, answer in zip(places, ask([sequences[i] for i in places]), strict=True):
            answers[place] = answer
        done += len(places)
        tick(done)
    return [answer for answer in answers if answer is not None]


def in_length_order(sequences: Sequence[LatentSequence], size: int) -> Iterator[list[int]]:
    """Places of the sequences in batches, the short ones first."""
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i].latents))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def step_scores(
    method: Method,
    sequences: Sequence[LatentSequence],
    context: Context,
    size: int,
    tick: Tick = lambda done: None,
) -> list[Doubles]:
    """Surprise of each step, float64 [S] a sequence."""
    found = each_in_batches(
        lambda batch: method.predictor.surprise(batch, context), sequences, size, tick
    )
    return [np.asarray(one, np.float64) for one in found]


def ranks_of(
    method: Method,
    sequences: Sequence[LatentSequence],
    context: Context,
    size: int,
    tick: Tick = lambda done: None,
) -> Doubles:
    """Rank of each true step among all steps of the sequences: float64 [N], step after step."""
    predictor = method.predictor
    predicted = each_in_batches(
        lambda batch: predictor.predict(batch, context), sequences, size, tick
    )
    targets = each_in_batches(predictor.targets, sequences, size)
    candidates = np.concatenate(targets)
    return true_ranks(np.concatenate(predicted), candidates, np.arange(len(candidates)))


def fit_baselines(corpus: Corpus, watch: Watch, limit: int | None = None) -> list[Method]:
    """Ridge regression, mean and copy, from the training part of the corpus.

    The strength of the ridge regression is the one with the best mean reciprocal rank on (at most
    2,000 traces of) the validation part, for each context by itself.

    Args:
        corpus: the stores.
        watch: told how far it is.
        limit: of training traces; all by default.

    Raises:
        InputError: there is no training or no validation part.
    """
    standards = fit_standards(corpus, watch, limit)
    places = corpus.places(Split.TRAIN, limit)
    sums = {context: NormalEquations(standards, context) for context in Context}
    tick = watch.phase("fitting ridge regression", len(places))
    for batch in corpus.latents(places, tick):
        for equations in sums.values():
            equations.add(batch)
    choosing = [
        sequence
        for batch in corpus.latents(corpus.places(Split.VALIDATION)[:_CHOOSING])
        for sequence in batch
    ]
    weights: dict[Context, Floats] = {}
    strengths: dict[Context, float] = {}
    tick = watch.phase("choosing its strength", len(Context) * len(STRENGTHS))
    for number, (context, equations) in enumerate(sums.items()):
        best = -1.0
        for i, strength in enumerate(STRENGTHS):
            solved = equations.solve(strength)
            found = _mean_reciprocal_rank(standards, choosing, context, solved)
            tick(number * len(STRENGTHS) + i + 1)
            if found > best:
                best, weights[context], strengths[context] = found, solved, strength
            elif best - found > 0.01:
                break
    return [
        Method(RIDGE, BASELINE, Ridge(standards, weights, strengths)),
        Method(MEAN, BASELINE, MeanOfContext(standards)),
        Method(COPY, BASELINE, CopyOfPrevious(standards)),
    ]


def fit_standards(corpus: Corpus, watch: Watch, limit: int | None = None) -> Standards:
    """Mean and spread of the training part.

    Raises:
        InputError: there is none.
    """
    places = corpus.places(Split.TRAIN, limit)
    return measure(corpus.latents(places, watch.phase("measuring the training part", len(places))))


def _mean_reciprocal_rank(
    standards: Standards, sequences: Sequence[LatentSequence], context: Context, weights: Floats
) -> float:
    predicted = np.concatenate([features(standards, one, context) @ weights for one in sequences])
    candidates = np.concatenate([standards.steps_of(one) for one in sequences])
    truth: Ints = np.arange(len(candidates))
    return float((1.0 / true_ranks(predicted, candidates, truth)).mean())
