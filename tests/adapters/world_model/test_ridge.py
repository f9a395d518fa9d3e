"""The linear path starts as ridge regression."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from latent_stores import make_store

from rjepa_adapters.world_model.batches import LengthBatches
from rjepa_adapters.world_model.dataset import LatentDataset, loader
from rjepa_adapters.world_model.index import open_index
from rjepa_adapters.world_model.network import Network
from rjepa_adapters.world_model.ridge import start_from_ridge
from rjepa_adapters.world_model.scoring import predict_each
from rjepa_adapters.world_model.statistics import Standardiser
from rjepa_core.ports.world_model import Context
from rjepa_core.train_settings import DataSettings, TrainSettings


def test_the_untrained_model_is_the_regression(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s", [2 + i % 4 for i in range(80)])
    data = LatentDataset(open_index(DataSettings(stores=(store,)), None))
    network = Network(TrainSettings(), Standardiser.fit(data), 1).eval()
    batches = loader(data, LengthBatches(data.index.steps, 7, ordered=True))
    start_from_ridge(network, batches, 3.0)

    inputs, wanted, traces = [], [], []
    for i in range(len(data)):
        one = data[i]
        steps, prompt = network.standardise(one.latents, one.prompts)
        z, q = steps[0].numpy(), prompt[0].numpy()
        traces.append((steps, prompt))
        for j in range(len(z)):
            none = np.zeros_like(q)
            before = z[j - 1] if j else none
            after = z[j + 1] if j + 1 < len(z) else none
            inputs.append(np.concatenate([before, after, np.delete(z, j, 0).mean(0), q]))
            wanted.append(z[j])
    x, y = np.stack(inputs).astype(np.float64), np.stack(wanted).astype(np.float64)
    weights = np.linalg.solve(x.T @ x + 3.0 * np.eye(x.shape[1]), x.T @ y)
    with torch.no_grad():
        made = [
            predict_each(
                network.jepa, steps, prompt, torch.zeros(1, dtype=torch.long), Context.OTHERS
            )
            for steps, prompt in traces
        ]
    found = torch.cat([one[0] for one in made]).numpy()
    np.testing.assert_allclose(found, x @ weights, atol=2e-3)
