"""What a step draws from, kept and put back."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rjepa_adapters.world_model.checkpoint import shapes_of
from rjepa_adapters.world_model.run_state import RandomStates


def test_there_and_back() -> None:
    found = RandomStates(torch.Generator().manual_seed(3), torch.device("cpu"))
    before = found.tensors()
    drawn = [torch.rand(3, generator=found.generator), torch.rand(3)]
    found.restore(before)
    assert torch.equal(torch.rand(3, generator=found.generator), drawn[0])
    assert torch.equal(torch.rand(3), drawn[1])
    assert set(before) == {"generator", "torch"}


def test_a_card_has_a_generator_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a card that is none: which states are asked for, kept and put back."""
    states = {"cuda:1": torch.arange(16, dtype=torch.uint8)}

    def put(state: Tensor, device: torch.device) -> None:
        states[str(device)] = state

    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: states[str(device)].clone())
    monkeypatch.setattr(torch.cuda, "set_rng_state", put)
    found = RandomStates(torch.Generator(), torch.device("cuda:1"))
    before = found.tensors()
    states["cuda:1"] = states["cuda:1"] + 1
    found.restore(before)
    assert torch.equal(states["cuda:1"], torch.arange(16, dtype=torch.uint8))

    shapes = shapes_of(before)
    assert set(found.check({**shapes, "more": ("F32", ())})) == {"generator", "torch", "cuda"}
    with pytest.raises(ValueError, match="cuda is missing, or no state"):
        found.check({**shapes, "cuda": ("U8", (3,))})
    # A run that was begun on the CPU goes on.
    del shapes["cuda"], before["cuda"]
    found.check(shapes)
    found.restore(before)
