"""Scores of whole solutions from those of their steps, and logistic models over several."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs
import numpy as np

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


_STEPS = 50
_ENOUGH = 1e-8


@attrs.frozen(eq=False)
class Logistic:
    """A fitted model.

    Attributes:
        mean, scale: float64 [F], by which features are standardised.
        weights: float64 [F].
        bias: of the logit.
    """

    mean: Doubles
    scale: Doubles
    weights: Doubles
    bias: float

    def logits(self, features: Doubles) -> Doubles:
        """float64 [N] for features [N, F]; higher is more likely positive."""
        found: Doubles = ((features - self.mean) / self.scale) @ self.weights + self.bias
        return found


def fit_logistic(features: Doubles, positive: Flags, penalty: float = 1.0) -> Logistic:
    """Fit to features [N, F], standardised by their own mean and spread.

    Args:
        features: float64 [N, F].
        positive: bool [N]; both values must occur.
        penalty: of the squared weights, halved, against the sum of the losses; above 0.

    Raises:
        ValueError: all are positive, or none is; or there is no penalty.
    """
    if positive.all() or not positive.any():
        raise ValueError("both classes must occur")
    if not penalty > 0:
        raise ValueError(f"penalty must be above 0, got {penalty}")
    features = np.asarray(features, np.float64)
    mean, scale = features.mean(0), features.std(0)
    scale = np.where(scale > 1e-12, scale, 1.0)
    inputs = (features - mean) / scale
    basis = None
    if inputs.shape[1] > len(inputs):
        # The weights lie in the span of the inputs: in its basis the same problem is a small one.
        _, _, basis = np.linalg.svd(inputs, full_matrices=False)
        inputs = inputs @ basis.T
    weights = _newton(inputs, positive.astype(np.float64), penalty)
    found = weights[:-1] if basis is None else basis.T @ weights[:-1]
    return Logistic(mean, scale, found, float(weights[-1]))


def _newton(inputs: Doubles, labels: Doubles, penalty: float) -> Doubles:
    """Weights [F], then the bias, which is free of the penalty."""
    design = np.hstack([inputs, np.ones((len(inputs), 1))])
    penalties = np.full(design.shape[1], penalty)
    penalties[-1] = 0.0
    weights = np.zeros(design.shape[1])
    loss = _loss(design, labels, penalties, weights)
    for _ in range(_STEPS):
        likely = _sigmoid(design @ weights)
        gradient = design.T @ (likely - labels) + penalties * weights
        curvature = (design.T * (likely * (1.0 - likely))) @ design + np.diag(penalties + 1e-9)
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while size > 1e-4:
            tried = weights - size * step
            now = _loss(design, labels, penalties, tried)
            if now <= loss:
                break
            size /= 2.0
        else:
            break
        weights, gained, loss = tried, loss - now, now
        if gained <= _ENOUGH * (1.0 + loss):
            break
    return weights


def _loss(design: Doubles, labels: Doubles, penalties: Doubles, weights: Doubles) -> float:
    logits = design @ weights
    losses = np.logaddexp(0.0, logits) - labels * logits
    return float(losses.sum() + (penalties * weights**2).sum() / 2.0)


def _sigmoid(logits: Doubles) -> Doubles:
    found: Doubles = 0.5 * (1.0 + np.tanh(logits / 2.0))
    return found
