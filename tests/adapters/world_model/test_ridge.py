"""The linear path starts as ridge regression."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from latent_stores import make_store

from rjepa_adapters.world_model.batches import LengthBatches
from rjepa_adapters.world_model.dataset import LatentDataset
from rjepa_adapters.world_model.index import open_index
from rjepa_adapters.world_model.masks import past, split
from rjepa_adapters.world_model.model import LinearPath
from rjepa_adapters.world_model.network import Network
from rjepa_adapters.world_model.normalise import Standardiser
from rjepa_adapters.world_model.prediction import predict_each
from rjepa_adapters.world_model.ridge import start_from_ridge
from rjepa_adapters.world_model.workers import Loader
from rjepa_core.evaluation.ridge import NormalEquations, Ridge
from rjepa_core.evaluation.targets import Standards
from rjepa_core.ports.world_model import Context, LatentSequence
from rjepa_core.settings.training import DataSettings, TrainSettings, WorldModelSettings


@pytest.mark.parametrize("context", list(Context))
def test_the_untrained_model_is_the_regression(tmp_path: Path, context: Context) -> None:
    """Against the evaluation's own, which is written apart from it."""
    store = make_store(tmp_path / "s", [2 + i % 4 for i in range(80)])
    data = LatentDataset(open_index(DataSettings(stores=(store,)), None))
    network = Network(TrainSettings(), Standardiser.fit(data), 1).eval()
    start_from_ridge(network, Loader(data, LengthBatches(data.index.steps, 7, ordered=True)), 3.0)

    standards = Standards(
        network.step_mean.numpy(),
        network.step_std.numpy(),
        network.prompt_mean.numpy(),
        network.prompt_std.numpy(),
        len(data),
        int(data.index.steps.sum()),
    )
    sequences, made = [], []
    for i in range(len(data)):
        one = data[i]
        sequences.append(
            LatentSequence(one.latents[0].float().numpy(), one.prompts[0].float().numpy())
        )
        steps, prompt = network.standardise(one.latents, one.prompts)
        domain = torch.zeros(1, dtype=torch.long)
        with torch.no_grad():
            made.append(predict_each(network.jepa, steps, prompt, domain, context)[0].numpy())
    equations = NormalEquations(standards, context)
    equations.add(sequences)
    ridge = Ridge(standards, {(context, 1): equations.solve(3.0)})
    wanted = np.concatenate(ridge.predict(sequences, context))
    assert np.abs(wanted).max() > 0.1
    np.testing.assert_allclose(np.concatenate(made), wanted, atol=2e-3)


@pytest.mark.parametrize("prompt", [True, False])
@pytest.mark.parametrize("steps", [1, 2, 9])
def test_inputs_of_a_long_trace_are_those_of_any(prompt: bool, steps: int) -> None:
    """They are made at once, without the steps being repeated for each that is left out."""
    path = LinearPath(WorldModelSettings(prompt=prompt), 6, 6)
    given, prompts = torch.randn(3, steps, 6), torch.randn(3, 6)
    others = [
        path.features(given, prompts, split(torch.full((3, 1), i), steps)) for i in range(steps)
    ]
    before = [path.features(given, prompts, past(3, i, i + 1)) for i in range(steps)]
    for one, each in ((others, False), (before, True)):
        found = path.features_each(given, prompts, each)
        torch.testing.assert_close(found, torch.cat(one, 1), atol=1e-6, rtol=1e-6)
