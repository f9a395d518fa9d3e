"""The methods that are compared, and their scores of many traces at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import attrs
import numpy as np

from ..domain.problem import Split
from ..ports.world_model import Context, LatentSequence, TargetSpace, WorldModel
from .baselines import CopyOfPrevious, MeanOfContext, StepPredictor
from .corpus import Corpus, Tick
from .progress import EvaluationWatch
from .results import Seeds
from .ridge import Look, Ridge, fit_ridge
from .statistics import Doubles, Floats
from .targets import Standards, Targets, measure, measure_model

WORLD_MODEL, BASELINE, COMBINED = "world model", "baseline", "combined"
RIDGE, MEAN, COPY = "ridge regression", "mean of the context", "copy of the previous step"
LOGPROB = "log-probability"
CONTEXTS = {Context.OTHERS: "from the other steps", Context.PAST: "from the past alone"}
A = TypeVar("A")


@attrs.frozen(eq=False)
class Method:
    """A method that predicts steps.

    Attributes:
        name: in the tables.
        kind: `world model` or `baseline`.
        predictor: the method.
        against: names of the methods that it is compared with.
        model: the trained run, where it is one.
        ranking: what predicts where ranks are told, if that is another.
        strengths: of a ridge regression, for error and ranks, by context and steps ahead.
    """

    name: str
    kind: str
    predictor: StepPredictor
    against: tuple[str, ...] = ()
    model: WorldModel | None = None
    ranking: StepPredictor | None = None
    strengths: Mapping[Look, tuple[float, float]] = attrs.field(factory=dict)

    def looks(self, ahead: int) -> bool:
        """Whether it predicts so many steps ahead."""
        return self.model is None or self.model.info.horizon >= ahead

    def placed(self, space: Targets) -> Method:
        """A world model's method, predicting in the target space of a table."""
        assert self.model is not None
        return attrs.evolve(self, predictor=InSpace(self.model, space))


@attrs.frozen(eq=False)
class InSpace:
    """A world model's predictions in the target space in which they are compared."""

    model: WorldModel
    space: Targets

    def predict(
        self,
        sequences: Sequence[LatentSequence],
        context: Context = Context.OTHERS,
        ahead: int = 1,
    ) -> list[Floats]:
        """See `Predictor`."""
        predict = self.model.predict
        # World models that predict the next step alone need not know of `ahead`.
        made = predict(sequences, context) if ahead == 1 else predict(sequences, context, ahead)
        return [self.space.place(self.model, one) for one in made]

    def targets(self, sequences: Sequence[LatentSequence]) -> list[Floats]:
        """See `Predictor`."""
        return self.space.of(sequences)

    def surprise(
        self, sequences: Sequence[LatentSequence], context: Context = Context.OTHERS
    ) -> list[Floats]:
        """See `Predictor`."""
        return self.model.surprise(sequences, context)


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


@attrs.frozen(eq=False)
class Comparison:
    """Methods that predict in one target space.

    Attributes:
        name: of the world model whose own space it is; empty for the standardised latents.
        space: of the predictions.
        methods: that are compared.
        seeds: methods that differ in their seeds alone.
    """

    name: str
    space: Targets
    methods: Sequence[Method]
    seeds: Sequence[Seeds] = ()

    @property
    def baselines(self) -> list[Method]:
        """Those that are no trained runs."""
        return [method for method in self.methods if method.model is None]


def compared(
    corpus: Corpus,
    standards: Standards,
    models: Sequence[Method],
    seeds: Sequence[Seeds],
    looks: Sequence[Look],
    watch: EvaluationWatch,
) -> list[Comparison]:
    """World models with the baselines of their target spaces; first those that predict standardised
    latents, with whose baselines the rest is compared, too.

    Args:
        corpus: the stores.
        standards: of the training part.
        models: the world models.
        seeds: those that differ in their seeds alone.
        looks: contexts and steps ahead that they are asked for.
        watch: told how far it is.

    Raises:
        InputError: there is no training or no validation part.
    """
    own: dict[str, Targets] = {}
    places = corpus.places(Split.TRAIN)
    for method in models:
        if method.model and method.model.info.target_space is TargetSpace.MODEL:
            tick = watch.phase(f"measuring the target space of {method.name}", len(places))
            own[method.name] = measure_model(method.model, corpus.latents(places, tick))
    spaces: list[Targets] = [standards, *own.values()]
    found = []
    for name, chosen in zip(
        ["", *own], fit_ridge(corpus, standards, spaces, looks, watch), strict=True
    ):
        space = chosen.space
        theirs = [one for one in models if (own.get(one.name) or standards) is space]
        baselines = [
            Method(
                RIDGE,
                BASELINE,
                Ridge(standards, chosen.for_error, space),
                ranking=Ridge(standards, chosen.for_ranks, space),
                strengths=chosen.strengths,
            ),
            Method(MEAN, BASELINE, MeanOfContext(space)),
            Method(COPY, BASELINE, CopyOfPrevious(space)),
        ]
        methods = [*(one.placed(space) for one in theirs), *baselines]
        found.append(Comparison(name, space, methods, () if name else seeds))
    return found


def fit_standards(corpus: Corpus, watch: EvaluationWatch) -> Standards:
    """Mean and spread of the training part.

    Raises:
        InputError: there is none.
    """
    places = corpus.places(Split.TRAIN)
    return measure(corpus.latents(places, watch.phase("measuring the training part", len(places))))
