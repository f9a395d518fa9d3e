"""Logistic regression: the minimum that it says it found, in both of its forms."""

from __future__ import annotations

import numpy as np
import pytest

from rjepa_core.evaluation.fitting import Logistic, fit_logistic
from rjepa_core.evaluation.statistics import auroc


def data(count: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    features = random.standard_normal((count, width)) * 5.0 + 2.0
    logits = features[:, 0] - 2.0 + random.logistic(size=count)
    return features, logits > 0


def loss(fit: Logistic, features: np.ndarray, positive: np.ndarray, penalty: float) -> float:
    logits = fit.logits(features)
    losses = np.logaddexp(0, logits) - positive * logits
    return float(losses.sum() + penalty * (fit.weights**2).sum() / 2)


@pytest.mark.parametrize(("count", "width"), [(80, 5), (20, 60)])
def test_nothing_near_is_better(count: int, width: int) -> None:
    features, positive = data(count, width)
    fit = fit_logistic(features, positive, 2.0)
    best = loss(fit, features, positive, 2.0)
    random = np.random.default_rng(3)
    for _ in range(50):
        weights = fit.weights + 0.01 * random.standard_normal(width)
        other = Logistic(fit.mean, fit.scale, weights, fit.bias + 0.01 * random.standard_normal())
        assert loss(other, features, positive, 2.0) >= best - 1e-9


def test_it_learns() -> None:
    features, positive = data(400, 3)
    test_features, test_positive = data(400, 3, seed=1)
    assert auroc(fit_logistic(features, positive).logits(test_features), test_positive) > 0.95


def test_separable_and_constant_features_are_no_trouble() -> None:
    features = np.array([[0.0, 7.0], [1.0, 7.0], [2.0, 7.0], [3.0, 7.0]])
    fit = fit_logistic(features, np.array([False, False, True, True]), 1e-3)
    assert np.isfinite(fit.weights).all()
    assert (fit.logits(features) > 0).tolist() == [False, False, True, True]


def test_one_class_or_no_penalty_is_refused() -> None:
    with pytest.raises(ValueError, match="both classes"):
        fit_logistic(np.ones((3, 1)), np.ones(3, bool))
    with pytest.raises(ValueError, match="above 0"):
        fit_logistic(np.ones((2, 1)), np.array([True, False]), 0.0)
