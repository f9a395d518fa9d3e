"""What is trained, and how fast."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from rjepa_adapters.world_model.network import Network
from rjepa_adapters.world_model.optimiser import optimiser_of, set_learning_rate
from rjepa_core.config import structure
from rjepa_core.settings.training import TrainSettings


def settings_of(**training: Any) -> TrainSettings:
    model = {"width": 16, "heads": 2, "predictor_width": 16, "predictor_heads": 2}
    return structure(TrainSettings, {"model": model, "training": training})


@pytest.mark.parametrize(("share", "groups"), [(0.0, 2), (0.1, 3), (1.0, 2)])
def test_a_linear_path_may_stay_behind(share: float, groups: int) -> None:
    settings = settings_of(linear_lr=share)
    network = Network.plain(settings, 8, 1)
    optimiser = optimiser_of(network, settings)
    set_learning_rate(optimiser, 2.0)
    rates = {id(p): group["lr"] for group in optimiser.param_groups for p in group["params"]}
    assert len(optimiser.param_groups) == groups
    assert network.jepa.linear is not None
    for values in network.jepa.linear.parameters():
        assert values.requires_grad == (share > 0)
        assert rates.get(id(values), 0.0) == 2.0 * share
    assert network.jepa.encoder is not None
    assert rates[id(network.jepa.encoder.start)] == 2.0
    trained = [p for p in network.parameters() if p.requires_grad]
    assert {id(p) for p in trained} == rates.keys()


def test_a_step_is_one_kernel_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of()
    network = Network.plain(settings, 8, 1)
    assert optimiser_of(network, settings).defaults["fused"]
    original = torch.optim.AdamW

    def without(*given: Any, fused: bool = False, **more: Any) -> torch.optim.AdamW:
        if fused:
            raise RuntimeError("`fused=True` requires all the params to be floating point Tensors")
        return original(*given, **more)

    monkeypatch.setattr(torch.optim, "AdamW", without)
    assert optimiser_of(network, settings).defaults["foreach"]
