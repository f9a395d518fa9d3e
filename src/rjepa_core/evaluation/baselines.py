"""What a world model has to beat: predictions that need no training, and ridge regression.

Each answers as a world model does (`Predictor`), in the latents standardised by the mean and the
spread of the training steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import attrs
import numpy as np

from ..ports.world_model import Context, LatentSequence
from .metrics import Doubles, Floats

# Below the least of them nothing changes any more (MRR on GSM8K: 0.704 from 0.001 to 1).
STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0)
Batches = Iterable[Sequence[LatentSequence]]


class Predictor(Protocol):
    """The part of the world-model port that the evaluation compares methods by."""

    def predict(
        self, sequences: Sequence[LatentSequence], context: Context = Context.OTHERS
    ) -> list[Floats]: ...

    def targets(self, sequences: Sequence[LatentSequence]) -> list[Floats]: ...

    def surprise(
        self, sequences: Sequence[LatentSequence], context: Context = Context.OTHERS
    ) -> list[Floats]: ...


@attrs.frozen(eq=False)
class Standards:
    """Mean and spread of the training part.

    Attributes:
        mean, scale: float32 [D], of the steps.
        prompt_mean, prompt_scale: float32 [D], of the prompts.
        sequences, steps: that they were taken from.
    """

    mean: Floats
    scale: Floats
    prompt_mean: Floats
    prompt_scale: Floats
    sequences: int
    steps: int

    def steps_of(self, sequence: LatentSequence) -> Floats:
        """float32 [S, D], standardised."""
        return (sequence.latents - self.mean) / self.scale

    def prompt_of(self, sequence: LatentSequence) -> Floats:
        """float32 [D], standardised."""
        return (sequence.prompt - self.prompt_mean) / self.prompt_scale


def measure(batches: Batches) -> Standards:
    """Standards of some sequences, batch by batch.

    Raises:
        ValueError: there are none.
    """
    sums = [_Moments(), _Moments()]
    for batch in batches:
        sums[0].add(np.concatenate([sequence.latents for sequence in batch]))
        sums[1].add(np.stack([sequence.prompt for sequence in batch]))
    if not sums[0].count:
        raise ValueError("there is nothing to measure")
    return Standards(*sums[0].result(), *sums[1].result(), sums[1].count, sums[0].count)


class _Moments:
    """Sums about the first batch's mean, so that large means cost no digits."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, rows: Floats) -> None:
        if not self.count:
            self._origin = rows.mean(0, dtype=np.float64)
            self._first = np.zeros_like(self._origin)
            self._second = np.zeros_like(self._origin)
        moved = rows - self._origin
        self.count += len(rows)
        self._first += moved.sum(0)
        self._second += (moved**2).sum(0)

    def result(self) -> tuple[Floats, Floats]:
        shift = self._first / self.count
        spread = np.sqrt(np.maximum(self._second / self.count - shift**2, 0.0))
        spread = np.where(spread > 1e-6, spread, 1.0)
        return (self._origin + shift).astype(np.float32), spread.astype(np.float32)


class Baseline:
    """Targets and surprise of a method that predicts standardised latents.

    Args:
        standards: of the training part.
    """

    def __init__(self, standards: Standards) -> None:
        self.standards = standards

    def predict(
        self, sequences: Sequence[LatentSequence], context: Context = Context.OTHERS
    ) -> list[Floats]:
        """float32 [S, D] a sequence."""
        return [self._predict(self.standards.steps_of(one), context) for one in sequences]

    def targets(self, sequences: Sequence[LatentSequence]) -> list[Floats]:
        """float32 [S, D] a sequence."""
        return [self.standards.steps_of(one) for one in sequences]

    def surprise(
        self, sequences: Sequence[LatentSequence], context: Context = Context.OTHERS
    ) -> list[Floats]:
        """float32 [S] a sequence."""
        predicted, true = self.predict(sequences, context), self.targets(sequences)
        return [((p - t) ** 2).mean(1) for p, t in zip(predicted, true, strict=True)]

    def _predict(self, steps: Floats, context: Context) -> Floats:
        raise NotImplementedError


class MeanOfContext(Baseline):
    """The mean of the steps seen; of the whole training part where none is seen."""

    def _predict(self, steps: Floats, context: Context) -> Floats:
        return _mean_seen(steps, context)


class CopyOfPrevious(Baseline):
    """The step before; the mean of the training part for the first."""

    def _predict(self, steps: Floats, context: Context) -> Floats:
        return _previous(steps)


class Ridge(Baseline):
    """Ridge regression from (previous step, next step, mean of the others, prompt), or, from the
    past alone, (previous step, mean of the past, prompt).

    Args:
        standards: of the training part.
        weights: by context, float32 [F + 1, D], the last row a constant's.
        strengths: by context, the strength of the penalty.
    """

    def __init__(
        self,
        standards: Standards,
        weights: dict[Context, Floats],
        strengths: dict[Context, float],
    ) -> None:
        super().__init__(standards)
        self.weights, self.strengths = weights, strengths

    def predict(
        self, sequences: Sequence[LatentSequence], context: Context = Context.OTHERS
    ) -> list[Floats]:
        """float32 [S, D] a sequence."""
        if not sequences:
            return []
        inputs = np.concatenate([features(self.standards, one, context) for one in sequences])
        ends = np.cumsum([len(one.latents) for one in sequences])[:-1]
        return np.split(inputs @ self.weights[context], ends)


def features(standards: Standards, sequence: LatentSequence, context: Context) -> Floats:
    """Inputs of the regression: float32 [S, F + 1].

    They are the vectors named above (zeros for a step that there is not), whether the step is the
    first and, but from the past alone, whether it is the last, and a constant. Without the two the
    regression takes the zeros for a step, and finds clearly less.
    """
    steps = standards.steps_of(sequence)
    prompt = np.broadcast_to(standards.prompt_of(sequence), steps.shape)
    parts = [_previous(steps), _mean_seen(steps, context), prompt]
    facts = np.zeros((len(steps), 3 if context is Context.OTHERS else 2), np.float32)
    facts[0, 0] = facts[:, -1] = 1.0
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
        context: what the steps are predicted from.
    """

    def __init__(self, standards: Standards, context: Context) -> None:
        self._standards, self._context = standards, context
        width = len(standards.mean)
        inputs = 4 * width + 3 if context is Context.OTHERS else 3 * width + 2
        self._squares = np.zeros((inputs, inputs))
        self._products = np.zeros((inputs, width))

    def add(self, batch: Sequence[LatentSequence]) -> None:
        """Take a batch in."""
        inputs = np.concatenate([features(self._standards, one, self._context) for one in batch])
        outputs = np.concatenate([self._standards.steps_of(one) for one in batch])
        self._squares += inputs.T @ inputs
        self._products += inputs.T @ outputs

    def solve(self, strength: float) -> Floats:
        """Weights of the inputs, each standardised: float32 [F + 1, D]; the constant is free of
        the penalty."""
        squares: Doubles = self._squares.copy()
        count = squares[-1, -1]
        means = squares[-1] / count
        variances = np.diag(squares) / count - means**2
        # To penalise each weight by its input's variance is to standardise the inputs. What never
        # varies gets no weight.
        places = np.arange(len(squares) - 1)
        squares[places, places] += strength * np.maximum(variances[:-1], 1e-6)
        return np.linalg.solve(squares, self._products).astype(np.float32)


def _previous(steps: Floats) -> Floats:
    previous = np.zeros_like(steps)
    previous[1:] = steps[:-1]
    return previous


def _mean_seen(steps: Floats, context: Context) -> Floats:
    total = len(steps)
    if context is Context.OTHERS:
        return (steps.sum(0) - steps) / max(1, total - 1) if total > 1 else np.zeros_like(steps)
    seen = np.cumsum(steps, axis=0) - steps
    counts = np.maximum(np.arange(total), 1).astype(np.float32)
    means: Floats = seen / counts[:, None]
    # Sums and what was taken off again leave dust.
    means[0] = 0.0
    return means
