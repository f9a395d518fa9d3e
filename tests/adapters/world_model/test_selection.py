"""Which epoch is the best."""

from __future__ import annotations

import pytest

from rjepa_adapters.world_model.selection import harm, is_better, measure_of, reason

START = {"val_error_past": 0.4, "val_top1_past": 0.7, "val_error_others": 0.3, "val_mrr_past": 0.8}
GOOD = {"val_error_past": 0.4, "val_top1_past": 0.7, "val_error_others": 0.3, "val_mrr_past": 0.9}


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"val_error_past": 0.41}, "error from the past 0.4100, at the start 0.4000"),
        ({"val_top1_past": 0.69}, "top-1 from the past"),
        ({"val_error_others": 0.31}, "error from the others"),
    ],
)
def test_an_epoch_is_worse_than_the_start_in_nothing(change: dict[str, float], what: str) -> None:
    assert harm(GOOD, START) is None
    assert what in str(harm(GOOD | change, START))
    assert harm(GOOD | change, {}) is None, "where there is no start to compare with"


def test_better() -> None:
    assert is_better("retrieval", 0.9, 0.8)
    assert not is_better("retrieval", 0.8, 0.8)
    for select in ("error", "loss"):
        assert is_better(select, 0.8, 0.9)
        assert is_better(select, 0.9, None)
    assert measure_of("loss") == "val_loss"


def test_the_report_says_why() -> None:
    assert "no epoch" in reason("retrieval", None, 0, {}, {})
    line = reason("retrieval", 0.91234, 7, START, GOOD)
    assert line.startswith("epoch 7 is the best: the highest mean reciprocal rank from the past")
    assert "0.9123, of the epochs that are worse than the start in nothing" in line
    assert "start" not in reason("error", 0.4, 7, {}, GOOD)
    assert "error from the past 0.5000" in reason(
        "retrieval", 0.8, 0, START, GOOD | {"val_error_past": 0.5}
    )
    assert "0.9, at the start 0.95" in reason("retrieval", 0.95, 0, START, GOOD)
