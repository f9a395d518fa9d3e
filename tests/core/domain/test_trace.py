"""Keys: what they say about what is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rjepa_core.domain.trace import RecordKey, check_key, check_keys
from rjepa_core.errors import ArgumentError


@pytest.mark.parametrize("sample", ["0", 0.0, None])
def test_a_sample_is_a_number(sample: Any) -> None:
    with pytest.raises(ArgumentError, match=f"RecordKey: its sample is {sample!r}, expected an"):
        RecordKey("demo-01", sample)


def test_numbers_of_numpy_are_samples() -> None:
    assert RecordKey("demo-01", np.int64(2)) == RecordKey("demo-01", 2)  # type: ignore[arg-type]


def test_where_the_text_of_a_key_is_taken_is_said() -> None:
    with pytest.raises(ArgumentError) as refused:
        check_key("demo-01#2")
    assert str(refused.value) == (
        "key: got 'demo-01#2', expected a RecordKey(problem_id, sample): RecordKey('demo-01', 2); "
        "store['demo-01#2'] takes the text"
    )
    with pytest.raises(ArgumentError, match="keys: got 'demo-01', expected several RecordKeys: Re"):
        check_keys("demo-01")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"keys\[0\]: got 'demo-01', expected a RecordKey"):
        check_keys(["demo-01"])  # type: ignore[list-item]
