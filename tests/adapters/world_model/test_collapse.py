"""Targets are compared with what they were made of."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rjepa_adapters.world_model.collapse import collapse_warning, rank_me
from rjepa_adapters.world_model.dataset import Batch
from rjepa_adapters.world_model.network import Network
from rjepa_adapters.world_model.normalise import Standardiser
from rjepa_adapters.world_model.validation import collapse_on
from rjepa_core.settings.training import TrainSettings


def gaussian(rows: int, width: int = 256, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


@given(rows=st.integers(1, 40), seed=st.integers(0, 20))
def test_a_gaussian_of_few_rows_has_not_collapsed(rows: int, seed: int) -> None:
    """N rows have rank N - 1 at most."""
    made = gaussian(rows, seed=seed)
    assert collapse_warning(made, made) is None
    assert collapse_warning(made @ gaussian(256, 16) / 16, made) is None


def test_steps_that_are_alike_may_have_targets_that_are() -> None:
    same = gaussian(1).expand(64, -1)
    assert collapse_warning(same, same) is None
    nearly = same + 1e-3 * gaussian(64)
    assert collapse_warning(nearly, nearly) is None
    line = gaussian(64, 1) @ gaussian(1)
    assert collapse_warning(line, line) is None


@pytest.mark.parametrize("rows", [4, 12, 64, 4000])
def test_a_collapse_is_told(rows: int) -> None:
    inputs = gaussian(rows, 64)
    assert "hardly differ" in str(collapse_warning(0 * inputs + 1, inputs))
    assert "hardly differ" in str(collapse_warning(0.01 * inputs, inputs))
    line = inputs[:, :1] @ gaussian(1, 64)
    assert "use 1.0 dimensions" in str(collapse_warning(line, inputs))


def test_the_rank_is_of_rows_from_everywhere() -> None:
    """They are sorted by length: the first ones are of short traces."""
    made = torch.cat([torch.zeros(3000, 8), gaussian(3000, 8)])
    assert rank_me(made) > 7


def test_frozen_targets_cannot_collapse() -> None:
    network = Network(TrainSettings(), Standardiser.identity(8), 1)
    batch = Batch(torch.ones(6, 2, 8), torch.ones(6, 8), torch.zeros(6, dtype=torch.long), 6)
    assert collapse_on(network, batch, torch.device("cpu")) is None
