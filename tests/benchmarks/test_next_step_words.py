"""What the benchmark of words counts as found."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("next_step_words")


def test_steps_before_are_no_candidates_and_ties_are_shared(script: Any) -> None:
    # Two solutions of two steps; each row scores all four.
    scores = np.array([[1, 1, 0, 0], [9, 1, 0, 0], [0, 0, 1, 2], [0, 3, 0, 2]], float)
    found = script.found_first(scores, [2, 2])
    assert found["all"].tolist() == [0.5, 1.0, 0.0, 0.0]
    # The last step of a solution has no rival in it.
    np.testing.assert_array_equal(found["own"], [0.5, np.nan, 0.0, np.nan])


def test_a_rare_word_weighs_more(script: Any) -> None:
    known = script.Words(["the hens lay", "the cats", "the dogs"])
    vector = known.vector("The hens")
    assert vector["hens"] > vector["the"]
    assert abs(sum(value**2 for value in vector.values()) - 1) < 1e-9
