"""What a world model has to beat: predictions that need no training.

Each answers as a world model does (`StepPredictor`), in the target space that it is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ..ports.world_model import Context, LatentSequence
from .statistics import Floats
from .targets import Targets


class StepPredictor(Protocol):
    """The part of the world-model port that the evaluation compares methods by."""

    def predict(
        self,
        sequences: Sequence[LatentSequence],
        context: Context = Context.OTHERS,
        ahead: int = 1,
    ) -> list[Floats]: ...

    def targets(self, sequences: Sequence[LatentSequence]) -> list[Floats]: ...

    def surprise(
        self, sequences: Sequence[LatentSequence], context: Context = Context.OTHERS
    ) -> list[Floats]: ...


class Baseline:
    """Targets and surprise of a method that predicts in a target space.

    Args:
        space: that it predicts in.
    """

    def __init__(self, space: Targets) -> None:
        self.space = space

    def predict(
        self,
        sequences: Sequence[LatentSequence],
        context: Context = Context.OTHERS,
        ahead: int = 1,
    ) -> list[Floats]:
        """float32 [S, E] a sequence."""
        return [self._predict(one, context, ahead) for one in self.space.of(sequences)]

    def targets(self, sequences: Sequence[LatentSequence]) -> list[Floats]:
        """float32 [S, E] a sequence."""
        return self.space.of(sequences)

    def surprise(
        self, sequences: Sequence[LatentSequence], context: Context = Context.OTHERS
    ) -> list[Floats]:
        """float32 [S] a sequence."""
        predicted, true = self.predict(sequences, context), self.targets(sequences)
        return [((p - t) ** 2).mean(1) for p, t in zip(predicted, true, strict=True)]

    def _predict(self, steps: Floats, context: Context, ahead: int) -> Floats:
        raise NotImplementedError


class MeanOfContext(Baseline):
    """The mean of the steps given; of the whole training part where none is given."""

    def _predict(self, steps: Floats, context: Context, ahead: int) -> Floats:
        return mean_given(steps, context, ahead)


class CopyOfPrevious(Baseline):
    """The last step given before; the mean of the training part where there is none."""

    def _predict(self, steps: Floats, context: Context, ahead: int) -> Floats:
        return last_given(steps, ahead)


def last_given(steps: Floats, ahead: int = 1) -> Floats:
    """[S, E]: the step `ahead` before each; zeros where there is none."""
    last = np.zeros_like(steps)
    last[ahead:] = steps[:-ahead]
    return last


def mean_given(steps: Floats, context: Context, ahead: int = 1) -> Floats:
    """[S, E]: the mean of the steps that each is predicted from; zeros where there are none."""
    total = len(steps)
    if context is Context.OTHERS:
        return (steps.sum(0) - steps) / max(1, total - 1) if total > 1 else np.zeros_like(steps)
    sums = np.cumsum(steps, axis=0) / np.arange(1, total + 1, dtype=np.float32)[:, None]
    return last_given(sums, ahead)
