"""A solution as text: bars, and marks by the rule of the page."""

from __future__ import annotations

import numpy as np
import pytest

from rjepa_cli.views.solution import LARGEST, STANDS_OUT, above, picture
from rjepa_core.ports.world_model import Verification
from rjepa_core.scoring import Comparison, ScoredTrace
from rjepa_core.testing.samples import sample_identity, sample_record


def scored(percentiles: tuple[float, ...] | None, verdict: bool = False) -> ScoredTrace:
    trace = sample_record(sample_identity(), steps=3).trace
    surprise = np.array([0.1, 0.9, 0.3], np.float32)
    said = Verification(np.array([0.1, 0.8, 0.2], np.float32), 0.25) if verdict else None
    among = None if percentiles is None else Comparison(3, 44, ())
    return ScoredTrace(trace, surprise, percentiles, said, among)


@pytest.mark.parametrize(
    ("percentiles", "marked"),
    [
        ((1.0, 98.6, 95.0), {1: f"above 98 %  <- {STANDS_OUT} (largest)", 2: f"<- {STANDS_OUT}"}),
        ((1.0, 94.9, 50.0), {1: f"above 94 %  <- {LARGEST}"}),
        (None, {1: f"0.90  <- {LARGEST}"}),
    ],
)
def test_marks(percentiles: tuple[float, ...] | None, marked: dict[int, str]) -> None:
    shown = list(picture(scored(percentiles)))
    bars = [line for line in shown if "█" in line]
    assert len(bars) == 3
    for number, line in enumerate(bars):
        assert line.endswith(marked[number]) if number in marked else "<-" not in line
    assert all(len(line) <= 80 for line in shown)


def test_percentages_say_what_of() -> None:
    assert list(picture(scored((1.0, 98.6, 50.0))))[-1] == (
        "     (per cent of the steps of 44 validation solutions of 3 steps)"
    )
    assert "fewer than 20 solutions" in list(picture(scored(None)))[-1]


def test_a_verdict_is_shown() -> None:
    text = "\n".join(picture(scored((1.0, 50.0, 2.0), verdict=True)))
    assert "wrong    80 %" in text
    assert text.count("<- probably wrong") == 1
    assert "right 25 %: the probability that the answer is right" in text


def test_a_percentile_is_never_more_than_it_is() -> None:
    assert [above(p) for p in (0, 0.2, 94.99, 95, 100)] == [
        "above none", "above 1 %", "above 94 %", "above 95 %", "above 100 %",
    ]  # fmt: skip
