"""What a trained run says of itself."""

from __future__ import annotations

import attrs
import pytest

from rjepa_adapters.world_model.inference import configuration_of
from rjepa_core.settings import TrainingSettings, TrainSettings


@pytest.mark.parametrize("change", [{"seed": 7}, {"device": "cuda"}, {"num_workers": 2}])
def test_seeds_are_of_one_configuration(change: dict[str, object]) -> None:
    other = TrainSettings(training=attrs.evolve(TrainingSettings(), **change))
    assert configuration_of(other) == configuration_of(TrainSettings())


@pytest.mark.parametrize("change", [{"lr": 1e-4}, {"max_epochs": 3}, {"contrastive": 0.0}])
def test_other_settings_are_another_configuration(change: dict[str, object]) -> None:
    other = TrainSettings(training=attrs.evolve(TrainingSettings(), **change))
    assert configuration_of(other) != configuration_of(TrainSettings())
