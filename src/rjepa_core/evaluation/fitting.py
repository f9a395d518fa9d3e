"""Scores of whole solutions from those of their steps, and logistic models over several."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from .logistic import fit_logistic
from .statistics import Doubles, Flags, Ints

Scores = Sequence[Doubles]
# The smallest surprise that its logarithm tells apart.
_LEAST = 1e-9


def largest(scores: Scores) -> Doubles:
    """float64 [N]: the largest score of a solution's steps."""
    return np.array([one.max() for one in scores])


def average(scores: Scores) -> Doubles:
    """float64 [N]: their mean."""
    return np.array([one.mean() for one in scores])


def last(scores: Scores) -> Doubles:
    """float64 [N]: the score of their last step."""
    return np.array([one[-1] for one in scores])


def in_logs(scores: Scores) -> list[Doubles]:
    """Logarithms of surprises, whose tail is long."""
    return [np.log(np.maximum(one, _LEAST)) for one in scores]


def solution_features(
    kinds: Sequence[Scores], of: Sequence[Callable[[Scores], Doubles]] = (largest, average)
) -> Doubles:
    """float64 [N, F K]: F figures of each of K kinds of scores; largest and mean by default."""
    return np.stack([figure(scores) for scores in kinds for figure in of], axis=1)


def step_features(kinds: Sequence[Scores]) -> list[Doubles]:
    """float64 [S, K] a solution: each step's scores, less the solution's mean of them."""
    return [
        np.stack([one - one.mean() for one in of_solution], axis=1)
        for of_solution in zip(*kinds, strict=True)
    ]


def fitted_crosswise(features: Doubles, positive: Flags, halves: Ints) -> Doubles:
    """Logits float64 [N], each half's of a model that was fitted on the other.

    Raises:
        ValueError: a half holds items of one class alone.
    """
    logits = np.empty(len(features))
    for half in (0, 1):
        train, test = halves != half, halves == half
        logits[test] = fit_logistic(features[train], positive[train]).logits(features[test])
    return logits


def can_cross(positive: Flags, halves: Ints) -> bool:
    """Whether each half holds items of both classes."""
    return all(0 < positive[halves == half].sum() < (halves == half).sum() for half in (0, 1))


def flat_labels(changed: Sequence[int], steps: Sequence[int]) -> Flags:
    """bool [N], step after step: which were changed."""
    found = [np.arange(count) == step for step, count in zip(changed, steps, strict=True)]
    return np.concatenate(found)


def split_scores(logits: Doubles, steps: Sequence[int]) -> list[Doubles]:
    """The flat logits, solution by solution."""
    return list(np.split(logits, np.cumsum(steps)[:-1]))


def prepared(kinds: Mapping[str, Scores], surprises: Sequence[str]) -> dict[str, Scores]:
    """The scores as logistic models take them: surprises as logarithms."""
    return {
        name: in_logs(scores) if name in surprises else scores for name, scores in kinds.items()
    }
