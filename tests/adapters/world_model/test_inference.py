"""What a trained run says of itself."""

from __future__ import annotations

import inspect
from pathlib import Path

import attrs
import numpy as np
import pytest
from latent_stores import make_store

from rjepa_adapters.world_model.inference import JepaWorldModel, configuration_of
from rjepa_adapters.world_model.run import train
from rjepa_core import open_store
from rjepa_core.config import structure
from rjepa_core.errors import ArgumentError, InputError
from rjepa_core.ports.world_model import LatentSequence
from rjepa_core.settings import TrainingSettings, TrainSettings


@pytest.mark.parametrize("change", [{"seed": 7}, {"device": "cuda"}, {"num_workers": 2}])
def test_seeds_are_of_one_configuration(change: dict[str, object]) -> None:
    other = TrainSettings(training=attrs.evolve(TrainingSettings(), **change))
    assert configuration_of(other) == configuration_of(TrainSettings())


@pytest.mark.parametrize("change", [{"lr": 1e-4}, {"max_epochs": 3}, {"contrastive": 0.0}])
def test_other_settings_are_another_configuration(change: dict[str, object]) -> None:
    other = TrainSettings(training=attrs.evolve(TrainingSettings(), **change))
    assert configuration_of(other) != configuration_of(TrainSettings())


def test_targets_need_no_domain(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s", [2 + i % 4 for i in range(40)])
    small = {"width": 16, "heads": 2, "depth": 1, "predictor_width": 16, "predictor_heads": 2}
    model = {**small, "objective": "sigreg", "domains": True}
    training = {"max_epochs": 1, "batch_size": 16, "device": "cpu"}
    tree = {"model": model, "training": training, "data": {"stores": [store]}}
    train(str(tmp_path / "run"), structure(TrainSettings, tree))
    opened = JepaWorldModel(str(tmp_path / "run"), "cpu")
    assert opened.info.seed == 0
    assert opened.info.network == "transformer"
    latents = np.random.default_rng(0).standard_normal((3, opened.info.hidden_size))
    of_none = LatentSequence(latents.astype(np.float32), latents[0].astype(np.float32))
    known = attrs.evolve(of_none, domain="math")
    np.testing.assert_array_equal(*opened.targets([of_none, known]))
    with pytest.raises(InputError, match="was not trained on"):
        opened.predict([of_none])
    assert (inspect.getdoc(type(opened).surprise) or "").startswith("Return the surprise of each")
    with open_store(store) as held:
        record = next(iter(held))
    for given in (record, [record], latents, [latents], "2 + 3", known):
        for call in (opened.surprise, opened.targets, opened.embeddings, opened.predict):
            with pytest.raises(ArgumentError, match=r"expected a .*score\(store, keys") as raised:
                call(given)
            assert "\n" not in str(raised.value)
