"""The order in which traces are read."""

from __future__ import annotations

import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rjepa_adapters.world_model.batches import LengthBatches, RankShare, Rows

STEPS = st.lists(st.integers(1, 9), min_size=1, max_size=200).map(lambda x: np.array(x, np.int32))


@given(STEPS, st.integers(1, 17), st.integers(0, 9), st.integers(0, 5), st.booleans())
def test_each_once_in_even_batches(
    steps: np.ndarray, size: int, seed: int, epoch: int, ordered: bool
) -> None:
    sampler = LengthBatches(steps, size, seed, ordered=ordered)
    sampler.set_epoch(epoch)
    batches = list(sampler)
    assert sorted(i for rows in batches for i in rows) == list(range(len(steps)))
    assert all(len({int(steps[i]) for i in rows}) == 1 for rows in batches)
    assert all(1 <= len(rows) <= size for rows in batches)
    # At most one smaller batch a length.
    assert len(batches) == sum(-(-int(n) // size) for n in np.bincount(steps) if n)
    assert len(batches) == len(sampler) == sampler.batches
    again = LengthBatches(steps, size, seed, ordered=ordered)
    again.set_epoch(epoch)
    assert list(again) == batches == list(sampler)


@given(STEPS, st.integers(1, 9), st.integers(1, 4), st.data())
def test_start_leaves_the_tail(
    steps: np.ndarray, size: int, accumulate: int, data: st.DataObject
) -> None:
    sampler = LengthBatches(steps, size, 3, accumulate)
    sampler.set_epoch(2)
    parts = list(sampler)
    ends = [0, *(i + 1 for i, part in enumerate(parts) if part.last)]
    assert len(ends) == sampler.batches + 1
    k = data.draw(st.integers(0, sampler.batches))
    sampler.start(k)
    assert list(sampler) == parts[ends[k] :]
    assert len(sampler) == len(parts) - ends[k]
    sampler.set_epoch(2)
    assert list(sampler) == parts


@given(STEPS, st.integers(1, 12), st.integers(1, 5))
def test_parts_make_up_the_batches(steps: np.ndarray, size: int, accumulate: int) -> None:
    whole = list(LengthBatches(steps, size, 1))
    parts = list(LengthBatches(steps, size, 1, accumulate))
    joined: list[list[int]] = []
    current: list[int] = []
    for part in parts:
        assert len(part) <= -(-size // accumulate)
        current += part
        if part.last:
            assert len(current) == part.whole
            joined.append(current)
            current = []
    assert not current
    assert joined == whole


def test_epochs_and_seeds_differ() -> None:
    steps = np.repeat(np.arange(2, 8, dtype=np.int32), 30)
    seen = []
    for seed in (0, 1):
        sampler = LengthBatches(steps, 8, seed)
        for epoch in (0, 1):
            sampler.set_epoch(epoch)
            seen.append(list(sampler))
    assert all(a != b for i, a in enumerate(seen) for b in seen[i + 1 :])
    lengths = [int(steps[rows[0]]) for rows in seen[0]]
    assert lengths != sorted(lengths)
    ordered = list(LengthBatches(steps, 8, ordered=True))
    assert all(a < b for a, b in pairwise(i for rows in ordered for i in rows))


def test_the_order_is_fixed_for_good() -> None:
    """A resumed run must meet the same order, on whatever machine."""
    sampler = LengthBatches(np.array([2, 3, 2, 3, 2, 3, 2, 4], np.int32), 2, seed=5)
    sampler.set_epoch(1)
    assert [list(rows) for rows in sampler] == [[1, 5], [2, 0], [6, 4], [3], [7]]


def test_rows_travel_to_workers() -> None:
    rows = pickle.loads(pickle.dumps(Rows([1, 2], 5, False)))
    assert (rows, rows.whole, rows.last, rows.share) == ([1, 2], 5, False, RankShare(0, 2, 2))
    share = RankShare(1, 2, 2)
    assert pickle.loads(pickle.dumps(Rows([2], 5, True, share))).share == share


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        LengthBatches(np.array([2]), 0)
    with pytest.raises(ValueError, match="no batch 3"):
        LengthBatches(np.array([2]), 1).start(3)
