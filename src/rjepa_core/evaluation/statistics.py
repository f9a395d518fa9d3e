"""Figures, and their intervals by a paired bootstrap over problems.

A draw takes as many problems as there are, with replacement, and with each of them all of its
traces and steps (Efron and Tibshirani 1993; the percentile interval). The draws depend on the seed
and the number of problems alone, so that two methods see the same ones and their difference has an
interval of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import attrs
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

_AT_ONCE = 50
_TAILS = (2.5, 97.5)


@attrs.frozen
class Estimate:
    """A figure and its 95 % interval.

    Attributes:
        value: on the problems as they are.
        low, high: 2.5 and 97.5 % of the draws; NaN where no draw has a value.
    """

    value: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Zero is outside the interval: for differences."""
        return self.low > 0 or self.high < 0


class Figure(Protocol):
    """A figure that can be told for any weights of the problems."""

    def of(self, weights: Doubles) -> Doubles:
        """float64 [B] for weights [B, P]; NaN where it has no value."""
        ...


class Share:
    """A mean over items: steps, traces or pairs.

    Args:
        values: float64 [N], one an item.
        problems: int64 [N], the problem of each.
        count: of problems, P.
        weights: float64 [N], how much each item counts; 1 by default.
    """

    def __init__(
        self, values: Doubles, problems: Ints, count: int, weights: Doubles | None = None
    ) -> None:
        much = np.ones(len(values)) if weights is None else weights
        self._sums = np.bincount(problems, values * much, count)
        self._counts = np.bincount(problems, much, count)

    def of(self, weights: Doubles) -> Doubles:
        """See `Figure`."""
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Doubles = (weights @ self._sums) / (weights @ self._counts)
        return found


class Explained:
    """The share of the targets' variance that predictions explain: 1 - error / variance.

    Args:
        errors: float64 [N], squared error of each item.
        squares: float64 [N], that of the mean of the training part.
        problems: int64 [N], the problem of each.
        count: of problems, P.
    """

    def __init__(self, errors: Doubles, squares: Doubles, problems: Ints, count: int) -> None:
        self._errors = np.bincount(problems, errors, count)
        self._squares = np.bincount(problems, squares, count)

    def of(self, weights: Doubles) -> Doubles:
        """See `Figure`."""
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Doubles = 1.0 - (weights @ self._errors) / (weights @ self._squares)
        return found


class Separation:
    """The AUROC of scores, ties counted half.

    Args:
        scores: float64 [N].
        positive: bool [N], which ought to score high.
        problems: int64 [N], the problem of each.
    """

    def __init__(self, scores: Doubles, positive: Flags, problems: Ints) -> None:
        order = np.argsort(scores, kind="stable")
        ordered = scores[order]
        new = np.ones(len(ordered), bool)
        new[1:] = ordered[1:] != ordered[:-1]
        self._starts = np.flatnonzero(new)
        self._problems = problems[order]
        self._positive = positive[order].astype(np.float64)

    def of(self, weights: Doubles) -> Doubles:
        """See `Figure`."""
        if not len(self._problems):
            return np.full(len(weights), np.nan)
        items = weights[:, self._problems]
        positives = np.add.reduceat(items * self._positive, self._starts, axis=1)
        negatives = np.add.reduceat(items * (1.0 - self._positive), self._starts, axis=1)
        below = np.cumsum(negatives, axis=1) - negatives
        won = (positives * (below + negatives / 2.0)).sum(1)
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Doubles = won / (positives.sum(1) * negatives.sum(1))
        return found


@attrs.frozen(eq=False)
class Mean:
    """The mean of several figures: of several fits, say."""

    figures: Sequence[Figure]

    def of(self, weights: Doubles) -> Doubles:
        """See `Figure`."""
        found: Doubles = np.mean([figure.of(weights) for figure in self.figures], axis=0)
        return found


@attrs.frozen(eq=False)
class Drawn:
    """A figure's value and what it is in each draw: float64 [draws]."""

    value: float
    draws: Doubles

    def estimate(self) -> Estimate:
        return _estimate(self.value, self.draws)

    def minus(self, other: Drawn) -> Estimate:
        """The difference, paired draw by draw."""
        return _estimate(self.value - other.value, self.draws - other.draws)


@attrs.frozen
class Resampler:
    """Draws problems.

    Attributes:
        problems: how many there are, P.
        draws: how often; 0 gives figures without intervals.
        seed: of the draws.
    """

    problems: int
    draws: int = 2000
    seed: int = 0

    def draw(self, figure: Figure) -> Drawn:
        """The figure on all problems, and on each draw of them."""
        value = float(figure.of(np.ones((1, self.problems)))[0])
        parts = [figure.of(weights) for weights in self._weights()]
        return Drawn(value, np.concatenate(parts) if parts else np.empty(0))

    def _weights(self) -> Iterator[Doubles]:
        random = np.random.default_rng([self.seed, self.problems])
        for start in range(0, self.draws, _AT_ONCE):
            size = (min(_AT_ONCE, self.draws - start), self.problems)
            taken = random.integers(0, self.problems, size)
            taken += np.arange(size[0])[:, None] * self.problems
            counts = np.bincount(taken.ravel(), minlength=size[0] * size[1])
            yield counts.reshape(size).astype(np.float64)


def _estimate(value: float, draws: Doubles) -> Estimate:
    known = draws[np.isfinite(draws)]
    if not len(known):
        return Estimate(value, float("nan"), float("nan"))
    low, high = np.percentile(known, _TAILS)
    return Estimate(value, float(low), float(high))


def auroc(scores: Sequence[float] | Doubles, positive: Sequence[bool] | Flags) -> float:
    """Probability that a positive scores higher than a negative, ties counted half; NaN where one
    of the two is missing. (Hanley and McNeil 1982.)"""
    values, flags = np.asarray(scores, np.float64), np.asarray(positive, bool)
    positives, negatives = int(flags.sum()), int((~flags).sum())
    if not positives or not negatives:
        return float("nan")
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    middle = ends - (counts - 1) / 2.0
    total = float(middle[places][flags].sum())
    return (total - positives * (positives + 1) / 2.0) / (positives * negatives)


def named(scores: NDArray[np.floating], step: int) -> float:
    """1 where the largest score is that of `step`, shared where several are as large."""
    largest = scores.max()
    return float(scores[step] == largest) / int((scores == largest).sum())
