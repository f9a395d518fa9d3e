"""Ridge regression: the linear map that a world model has to beat.

One fit for each context and each number of steps ahead, from (last step given, mean of those given,
prompt) and, from the other steps, the next step. Its strength is chosen on the validation part, for
the error and for the ranks by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import numpy as np

from ..domain.problem import Split
from ..ports.world_model import Context, LatentSequence
from .baselines import Baseline, last_given, mean_given
from .corpus import Corpus
from .progress import EvaluationWatch
from .ranks import ALL, Ranker, Steps
from .statistics import Doubles, Floats
from .targets import Standards, Targets

# Below the least of them nothing changes any more (MRR on GSM8K: 0.704 from 0.001 to 1).
STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0)
# Traces of the validation part that the strength is chosen on.
_CHOOSING = 2000
Look = tuple[Context, int]


class Ridge(Baseline):
    """The prediction of such maps.

    Args:
        standards: of the training part.
        weights: by context and steps ahead, float32 [F + 1, E], the last row a constant's.
        space: of the predictions; the standardised latents by default.
    """

    def __init__(
        self,
        standards: Standards,
        weights: Mapping[Look, Floats],
        space: Targets | None = None,
    ) -> None:
        super().__init__(space or standards)
        self.standards, self.weights = standards, weights

    def predict(
        self,
        sequences: Sequence[LatentSequence],
        context: Context = Context.OTHERS,
        ahead: int = 1,
    ) -> list[Floats]:
        """float32 [S, E] a sequence."""
        if not sequences:
            return []
        inputs = [features(self.standards, one, context, ahead) for one in sequences]
        ends = np.cumsum([len(one) for one in inputs])[:-1]
        return np.split(np.concatenate(inputs) @ self.weights[context, ahead], ends)


def features(
    standards: Standards, sequence: LatentSequence, context: Context, ahead: int = 1
) -> Floats:
    """Inputs of the regression: float32 [S, F + 1].

    They are the vectors named above (zeros for a step that there is not), whether no step before is
    given and, from the other steps, whether the step is the last, and a constant. Without the two
    the regression takes the zeros for a step, and finds clearly less.
    """
    steps = standards.steps_of(sequence)
    prompt = np.broadcast_to(standards.prompt_of(sequence), steps.shape)
    parts = [last_given(steps, ahead), mean_given(steps, context, ahead), prompt]
    facts = np.zeros((len(steps), 3 if context is Context.OTHERS else 2), np.float32)
    facts[:ahead, 0] = facts[:, -1] = 1.0
    if context is Context.OTHERS:
        following = np.zeros_like(steps)
        following[:-1] = steps[1:]
        parts.append(following)
        facts[-1, 1] = 1.0
    return np.concatenate([*parts, facts], axis=1)


class NormalEquations:
    """The sums that ridge regression is solved from: memory is (4 D)², whatever is read.

    Args:
        standards: of the training part.
        context, ahead: what the steps are predicted from.
        size: width of what is predicted; by default that of the latents.
    """

    def __init__(
        self, standards: Standards, context: Context, ahead: int = 1, size: int | None = None
    ) -> None:
        self._standards, self._context, self._ahead = standards, context, ahead
        width = standards.size
        inputs = 4 * width + 3 if context is Context.OTHERS else 3 * width + 2
        self._squares = np.zeros((inputs, inputs))
        self._products = np.zeros((inputs, size or width))

    def add(self, batch: Sequence[LatentSequence], outputs: Sequence[Floats] | None = None) -> None:
        """Take a batch in, with what is predicted, [S, size] a sequence."""
        skipped = self._ahead - 1
        wanted = self._standards.of(batch) if outputs is None else outputs
        given = [features(self._standards, one, self._context, self._ahead) for one in batch]
        inputs = np.concatenate([one[skipped:] for one in given])
        self._squares += inputs.T @ inputs
        self._products += inputs.T @ np.concatenate([one[skipped:] for one in wanted])

    def solve(self, strength: float) -> Floats:
        """Weights of the inputs, each standardised: float32 [F + 1, size]; the constant is free of
        the penalty."""
        squares: Doubles = self._squares.copy()
        count = squares[-1, -1]
        if not count:
            return np.zeros_like(self._products, np.float32)
        means = squares[-1] / count
        variances = np.diag(squares) / count - means**2
        # To penalise each weight by its input's variance is to standardise the inputs. What never
        # varies gets no weight.
        places = np.arange(len(squares) - 1)
        squares[places, places] += strength * np.maximum(variances[:-1], 1e-6)
        return np.linalg.solve(squares, self._products).astype(np.float32)


@attrs.define(eq=False)
class Chosen:
    """The fits of one target space, and their strengths by context and steps ahead."""

    space: Targets
    for_error: dict[Look, Floats] = attrs.field(factory=dict)
    for_ranks: dict[Look, Floats] = attrs.field(factory=dict)
    strengths: dict[Look, tuple[float, float]] = attrs.field(factory=dict)


def fit_ridge(
    corpus: Corpus,
    standards: Standards,
    spaces: Sequence[Targets],
    looks: Sequence[Look],
    watch: EvaluationWatch,
) -> list[Chosen]:
    """Fit to the training part and choose the strengths, for each target space.

    Raises:
        InputError: there is no training or no validation part.
    """
    train = corpus.places(Split.TRAIN)
    choosing = [
        sequence
        for batch in corpus.latents(corpus.places(Split.VALIDATION)[:_CHOOSING])
        for sequence in batch
    ]
    found = [Chosen(space) for space in spaces]
    checks = [_Check(space, choosing) for space in spaces]
    sizes = [space.size for space in spaces]
    ends = np.cumsum(sizes)[:-1]
    for number, look in enumerate(looks, 1):
        which = f"ridge regression, {number} of {len(looks)}"
        equations = NormalEquations(standards, *look, size=sum(sizes))
        for batch in corpus.latents(train, watch.phase(f"fitting {which}", len(train))):
            made = zip(*(space.of(batch) for space in spaces), strict=True)
            equations.add(batch, [np.concatenate(each, axis=1) for each in made])
        tick = watch.phase(f"choosing the strength of {which}", len(STRENGTHS))
        best = [(np.inf, -1.0)] * len(spaces)
        for done, strength in enumerate(STRENGTHS, 1):
            parts = np.split(equations.solve(strength), ends, axis=1)
            inputs = [features(standards, one, *look) for one in choosing]
            for place, (chosen, check, weights) in enumerate(
                zip(found, checks, parts, strict=True)
            ):
                error, top = check.of(inputs, weights, look)
                least, most = best[place]
                of_error, of_ranks = chosen.strengths.get(look, (strength, strength))
                if error < least:
                    chosen.for_error[look], least, of_error = weights, error, strength
                if top > most:
                    chosen.for_ranks[look], most, of_ranks = weights, top, strength
                best[place], chosen.strengths[look] = (least, most), (of_error, of_ranks)
            tick(done)
    return found


class _Check:
    """Error and top-1 of a fit on the validation part."""

    def __init__(self, space: Targets, sequences: Sequence[LatentSequence]) -> None:
        self._steps = Steps.of(space.of(sequences), np.arange(len(sequences)))
        self._ranker = Ranker(self._steps)

    def of(self, inputs: Sequence[Floats], weights: Floats, look: Look) -> tuple[float, float]:
        steps = self._steps
        made = np.concatenate([one @ weights for one in inputs])
        counted = steps.place >= look[1] - 1
        if not counted.any():
            return 0.0, 0.0
        errors = ((made - steps.targets) ** 2).mean(1)
        ranks = self._ranker.rank(made, slice(0, len(made)), *look)[ALL].ranks
        return float(errors[counted].mean()), float((ranks[counted] == 1.0).mean())
