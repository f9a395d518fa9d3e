"""How far a verifier's probabilities can be believed."""

from __future__ import annotations

import numpy as np
import pytest

from rjepa_adapters.world_model.calibration import (
    Judged,
    better_than_chance,
    figures,
    log_loss,
    platt,
    probability,
    reliability,
)

RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.standard_normal(4000) * 2
WRONG = RANDOM.random(4000) < probability(LOGITS)


@pytest.mark.parametrize(("slope", "shift"), [(1.0, 0.0), (3.0, -1.0), (0.2, 2.0)])
def test_what_was_sure_of_itself_is_brought_back(slope: float, shift: float) -> None:
    found = platt((LOGITS - shift) / slope, WRONG)
    assert found == (pytest.approx(slope, rel=0.1), pytest.approx(shift, abs=0.15))


def test_what_knows_nothing_says_how_often() -> None:
    logits, wrong = RANDOM.standard_normal(2000), RANDOM.random(2000) < 0.2
    for sign in (1, -1):
        slope, shift = platt(sign * logits, wrong)
        assert slope > 0
        assert probability(slope * logits + shift).mean() == pytest.approx(wrong.mean(), abs=0.02)
    slope, _ = platt(-5 * LOGITS, WRONG)
    assert slope > 0


def test_labels_of_one_kind_calibrate_nothing() -> None:
    assert platt(LOGITS, np.ones(4000, bool)) == platt(LOGITS, np.zeros(4000, bool)) == (1.0, 0.0)


def test_the_loss_is_that_after_calibration() -> None:
    honest = Judged((LOGITS, WRONG), (LOGITS, WRONG))
    sure = Judged((9 * LOGITS + 3, WRONG), (LOGITS, WRONG))
    assert sure.loss == pytest.approx(honest.loss, abs=1e-3)
    assert log_loss(9 * LOGITS + 3, WRONG) > 2 * log_loss(LOGITS, WRONG)
    none = np.zeros(0), np.zeros(0, bool)
    assert Judged(none, (LOGITS, WRONG)).loss == pytest.approx(honest.loss, abs=1e-6)


def test_figures_of_what_is_known() -> None:
    none = np.zeros(0), np.zeros(0, bool)
    row = figures(Judged(none, (LOGITS, WRONG)), [1.0, 1.0], [0.0, 0.0])
    assert set(row) == {"val_log_loss_answers", "val_auroc_answers", "val_brier_answers"}
    assert row["val_auroc_answers"] > 0.8
    assert row["val_brier_answers"] == pytest.approx(np.square(probability(LOGITS) - WRONG).mean())
    same = np.zeros(5), np.ones(5, bool)
    row = figures(Judged(same, (LOGITS, WRONG)), [1.0, 1.0], [0.0, 0.0])
    assert "val_auroc_steps" not in row


def test_better_than_chance() -> None:
    assert better_than_chance(LOGITS, WRONG)
    assert not better_than_chance(-LOGITS, WRONG)
    assert not better_than_chance(np.zeros(400), np.arange(400) % 2 == 0)
    # Of many sets that mean nothing, about one in forty is above two standard errors.
    random = np.random.default_rng(0)
    found = [better_than_chance(random.normal(size=60), np.arange(60) < 20) for _ in range(400)]
    assert 0.005 < np.mean(found) < 0.06
    # The same order is more on many than on few.
    few = np.array([0.0, 1.0, 2.0, 3.0]), np.array([False, True, False, True])
    assert not better_than_chance(*few)
    assert better_than_chance(np.tile(few[0], 50), np.tile(few[1], 50))


def test_bins() -> None:
    found = reliability(np.array([0.0, 0.04, 0.95, 1.0]), np.array([False, True, True, True]))
    assert [(one.predicted, one.observed, one.count) for one in found] == [
        (pytest.approx(0.02), 0.5, 2),
        (pytest.approx(0.975), 1.0, 2),
    ]
    every = reliability(probability(LOGITS), WRONG)
    assert sum(one.count for one in every) == 4000
    assert all(abs(one.predicted - one.observed) < 0.1 for one in every)


def test_no_overflow() -> None:
    with np.errstate(over="raise", invalid="raise"):
        assert probability(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]
        assert log_loss(np.array([1e4, -1e4]), np.array([True, False])) == 0.0
