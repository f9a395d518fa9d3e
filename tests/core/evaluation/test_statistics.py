"""AUROC, shares and intervals against what they mean, done the slow way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rjepa_core.evaluation.statistics import (
    Explained,
    Mean,
    Resampler,
    Separation,
    Share,
    auroc,
    named,
)

FEW = st.integers(1, 12)
SMALL = st.integers(-3, 3)


def brute_auroc(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> float:
    won = total = 0.0
    for i in np.flatnonzero(positive):
        for j in np.flatnonzero(~positive):
            pairs = weights[i] * weights[j]
            won += pairs * ((scores[i] > scores[j]) + 0.5 * (scores[i] == scores[j]))
            total += pairs
    return won / total if total else float("nan")


@given(st.lists(st.tuples(SMALL, st.booleans()), min_size=1, max_size=30))
def test_auroc_counts_pairs(items: list[tuple[int, bool]]) -> None:
    scores = np.array([s for s, _ in items], float)
    positive = np.array([p for _, p in items])
    expected = brute_auroc(scores, positive, np.ones(len(items)))
    assert auroc(scores, positive) == pytest.approx(expected, nan_ok=True)


@given(st.data())
def test_separation_is_the_auroc_of_the_problems_drawn(data: st.DataObject) -> None:
    count, problems = data.draw(FEW), 4
    scores = data.draw(arrays(np.float64, count, elements=SMALL))
    positive = data.draw(arrays(bool, count))
    of = data.draw(arrays(np.int64, count, elements=st.integers(0, problems - 1)))
    weights = data.draw(arrays(np.float64, (3, problems), elements=st.integers(0, 3)))
    found = Separation(scores, positive, of).of(weights)
    for row, value in zip(weights, found, strict=True):
        assert value == pytest.approx(brute_auroc(scores, positive, row[of]), nan_ok=True)


@given(st.data())
def test_a_share_is_the_mean_over_the_problems_drawn(data: st.DataObject) -> None:
    count, problems = data.draw(FEW), 3
    values = data.draw(arrays(np.float64, count, elements=SMALL))
    of = data.draw(arrays(np.int64, count, elements=st.integers(0, problems - 1)))
    weights = data.draw(arrays(np.float64, (2, problems), elements=st.integers(0, 3)))
    found = Share(values, of, problems).of(weights)
    for row, value in zip(weights, found, strict=True):
        repeated = np.repeat(values, row[of].astype(int))
        expected = repeated.mean() if len(repeated) else float("nan")
        assert value == pytest.approx(expected, nan_ok=True)


@given(st.data())
def test_explained_variance_is_of_the_problems_drawn(data: st.DataObject) -> None:
    count, problems = data.draw(FEW), 3
    errors = data.draw(arrays(np.float64, count, elements=st.integers(0, 5)))
    squares = data.draw(arrays(np.float64, count, elements=st.integers(1, 5)))
    of = data.draw(arrays(np.int64, count, elements=st.integers(0, problems - 1)))
    weights = data.draw(arrays(np.float64, (2, problems), elements=st.integers(0, 3)))
    found = Explained(errors, squares, of, problems).of(weights)
    for row, value in zip(weights, found, strict=True):
        much = row[of]
        expected = 1 - (errors @ much) / (squares @ much) if much.any() else float("nan")
        assert value == pytest.approx(expected, nan_ok=True)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        values = random.normal(0.3, 1.0, 120)
        share = Share(values, np.arange(120) // 2, 60)
        found = Resampler(60, 200).draw(share).estimate()
        covered += found.low <= 0.3 <= found.high
    assert 175 <= covered <= 200


def test_differences_are_paired() -> None:
    """Two methods that differ by a constant differ by it in every draw."""
    values = np.random.default_rng(2).standard_normal(40)
    of = np.arange(40)
    resampler = Resampler(40, 300, seed=7)
    difference = resampler.draw(Share(values + 0.1, of, 40)).minus(
        resampler.draw(Share(values, of, 40))
    )
    assert difference.low == pytest.approx(0.1)
    assert difference.high == pytest.approx(0.1)
    assert difference.clear
    alone = resampler.draw(Share(values, of, 40)).estimate()
    assert alone.high - alone.low > 0.3
    assert not alone.clear


def test_draws_depend_on_the_seed_alone() -> None:
    share = Share(np.arange(10.0), np.arange(10), 10)
    same = [Resampler(10, 120, seed=3).draw(share).draws for _ in range(2)]
    assert np.array_equal(*same)
    assert not np.array_equal(same[0], Resampler(10, 120, seed=4).draw(share).draws)


def test_no_draws_give_no_interval() -> None:
    found = Resampler(2, 0).draw(Share(np.ones(2), np.arange(2), 2)).estimate()
    assert found.value == 1.0
    assert np.isnan(found.low)
    assert np.isnan(found.high)


def test_the_mean_of_figures() -> None:
    shares = [Share(np.full(2, value), np.arange(2), 2) for value in (1.0, 3.0)]
    assert Mean(shares).of(np.ones((1, 2))).tolist() == [2.0]


def test_naming_is_shared_among_equals() -> None:
    assert named(np.array([1.0, 3.0, 2.0]), 1) == 1.0
    assert named(np.array([1.0, 3.0, 2.0]), 2) == 0.0
    assert named(np.array([3.0, 3.0]), 0) == 0.5
