"""Which steps are hidden."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rjepa_adapters.world_model.masks import Masker, each_past, past, split
from rjepa_core.settings.training import MASKS, MaskerSettings


@given(
    kind=st.sampled_from(MASKS),
    batch=st.integers(1, 5),
    steps=st.integers(1, 20),
    seed=st.integers(0, 99),
)
def test_every_step_is_shown_or_hidden_and_never_both(
    kind: str, batch: int, steps: int, seed: int
) -> None:
    masker = Masker(MaskerSettings(masks={kind: 1.0}))
    mask = masker.draw(batch, steps, torch.Generator().manual_seed(seed))
    assert len(mask.visible) == len(mask.masked) == batch
    assert mask.masked.shape[1] >= 1
    for shown, hidden in zip(mask.visible.tolist(), mask.masked.tolist(), strict=True):
        assert shown == sorted(set(shown))
        assert hidden == sorted(set(hidden))
        assert not set(shown) & set(hidden)
        if kind == "causal":
            assert shown == list(range(hidden[0]))
            assert hidden == list(range(hidden[0], hidden[-1] + 1))
            assert hidden[-1] < steps
        else:
            assert sorted(shown + hidden) == list(range(steps))
        if kind == "leave_one_out":
            assert len(hidden) == 1
        if kind == "contiguous":
            assert hidden == list(range(hidden[0], hidden[0] + len(hidden)))
        if kind in ("contiguous", "random") and steps > 3:
            assert 0.3 * steps - 1 <= len(hidden) <= 0.7 * steps + 1


def test_the_same_seed_hides_the_same() -> None:
    drawn = []
    for _ in range(2):
        source = torch.Generator().manual_seed(7)
        masker = Masker(MaskerSettings())
        drawn.append([masker.draw(4, 6, source).masked.tolist() for _ in range(20)])
    assert drawn[0] == drawn[1]
    assert len({len(one[0]) for one in drawn[0]}) > 1


def test_kinds_come_by_their_weights() -> None:
    masker = Masker(MaskerSettings(masks={"leave_one_out": 3.0, "contiguous": 1.0}))
    source = torch.Generator().manual_seed(0)
    single = sum(masker.draw(1, 10, source).masked.shape[1] == 1 for _ in range(400))
    assert 260 < single < 340


def test_swapped_steps_are_steps_of_the_batch() -> None:
    steps = torch.arange(60.0).view(5, 4, 3)
    seen = Masker(MaskerSettings(swap=0.5)).swap(steps, torch.Generator().manual_seed(0))
    same = (seen == steps).all(-1)
    assert 0.2 < same.float().mean() < 0.8
    whole = {tuple(row) for row in steps.reshape(-1, 3).tolist()}
    assert {tuple(row) for row in seen.reshape(-1, 3).tolist()} <= whole
    assert Masker(MaskerSettings(swap=0.0)).swap(steps, torch.Generator()) is steps


def test_each_past_is_filled_up_to_the_longest() -> None:
    mask = each_past(torch.tensor([2, 0, 1]))
    assert mask.visible.tolist() == [[0, 1]] * 3
    assert mask.shown is not None
    assert mask.shown.tolist() == [[True, True], [False, False], [True, False]]
    assert mask.masked.tolist() == [[2], [0], [1]]
    assert mask.steps is None
    assert each_past(torch.tensor([0])).visible.shape == (1, 0)


def test_the_past() -> None:
    mask = past(2, 2, 4)
    assert mask.visible.tolist() == [[0, 1]] * 2
    assert mask.masked.tolist() == [[2, 3]] * 2


def test_a_masked_future_sometimes_tells_how_long_the_trace_is() -> None:
    masker = Masker(MaskerSettings(masks={"causal": 1.0}))
    generator = torch.Generator().manual_seed(0)
    drawn = [masker.draw(2, 5, generator) for _ in range(200)]
    assert 60 < sum(mask.steps is None for mask in drawn) < 140
    assert {mask.steps for mask in drawn} == {None, 5}
    assert all(mask.masked.min() == mask.visible.shape[1] for mask in drawn)


def test_split_of_given_places() -> None:
    mask = split(torch.tensor([[0, 3], [1, 2]]), 4)
    assert mask.visible.tolist() == [[1, 2], [0, 3]]
    assert split(torch.tensor([[0]]), 1).visible.shape == (1, 0)


def test_a_mask_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="weight above 0"):
        MaskerSettings(masks={"random": 0.0})
