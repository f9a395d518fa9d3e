"""What is looked at on the validation part."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rjepa_adapters.world_model.validation import Sampled, ranks_from_past, sample


def steps_of(lengths: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    trace = torch.tensor([i for i, count in enumerate(lengths) for _ in range(count)])
    return trace, torch.tensor([place for count in lengths for place in range(count)])


@given(lengths=st.lists(st.integers(1, 5), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_ranks_are_those_among_all_steps_but_the_given_ones(lengths: list[int], seed: int) -> None:
    source = torch.Generator().manual_seed(seed)
    trace, place = steps_of(lengths)
    # Few values, so that distances tie.
    made, wanted = torch.randint(3, (2, len(trace), 2), generator=source).float()
    ranks = ranks_from_past(Sampled(made, wanted, wanted, trace, place))
    for i, found in enumerate(ranks.tolist()):
        distance = (made[i] - wanted).square().sum(1)
        pool = [j for j in range(len(trace)) if trace[j] != trace[i] or place[j] >= place[i]]
        closer = sum(bool(distance[j] < distance[i]) for j in pool)
        equal = sum(bool(distance[j] == distance[i]) for j in pool) - 1
        assert found == 1 + closer + equal / 2


def test_a_collapsed_space_is_at_chance() -> None:
    trace, place = steps_of([2] * 500)
    same = torch.zeros(1000, 4)
    ranks = ranks_from_past(Sampled(same, same, same, trace, place))
    assert ranks.mean() == pytest.approx(500, rel=0.01)


def test_the_sample_is_of_whole_traces_of_all_lengths_and_the_same_each_time() -> None:
    """A validation part sorted by length would be judged by its short traces alone."""
    steps = np.repeat(np.arange(2, 42, dtype=np.int32), 50)
    found = sample(steps, 7)
    assert 4096 - 41 <= steps[found].sum() <= 4096
    assert len(set(found.tolist())) == len(found)
    assert set(steps[found].tolist()) == set(range(2, 42))
    np.testing.assert_array_equal(found, sample(steps, 7))
    assert found.tolist() != sample(steps, 8).tolist()
    assert sorted(sample(steps[:30], 7).tolist()) == list(range(30)), "all, where they are few"
    assert len(sample(np.array([100_000], np.int32), 0)) == 1
