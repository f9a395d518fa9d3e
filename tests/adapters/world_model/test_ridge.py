"""The linear path starts as ridge regression."""

from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
import pytest
import torch
from latent_stores import make_store

from rjepa_adapters.world_model.batches import LengthBatches
from rjepa_adapters.world_model.dataset import LatentDataset
from rjepa_adapters.world_model.index import open_index
from rjepa_adapters.world_model.linear_path import LinearPath
from rjepa_adapters.world_model.masks import past, split
from rjepa_adapters.world_model.network import Network
from rjepa_adapters.world_model.normalise import Standardiser
from rjepa_adapters.world_model.prediction import predict_each
from rjepa_adapters.world_model.ridge import start_from_ridge
from rjepa_adapters.world_model.validation import look
from rjepa_adapters.world_model.workers import Loader
from rjepa_core.domain.problem import Split
from rjepa_core.evaluation.ridge import NormalEquations, Ridge
from rjepa_core.evaluation.targets import Standards
from rjepa_core.ports.world_model import Context, LatentSequence
from rjepa_core.settings.training import DataSettings, TrainSettings, WorldModelSettings


@pytest.mark.parametrize("context", list(Context))
def test_the_untrained_model_is_the_regression(tmp_path: Path, context: Context) -> None:
    """Against the evaluation's own, which is written apart from it."""
    store = make_store(tmp_path / "s", [2 + i % 4 for i in range(80)])
    data = LatentDataset(open_index(DataSettings(stores=(store,)), None))
    settings = TrainSettings(model=WorldModelSettings(first_apart=False))
    network = Network(settings, Standardiser.fit(data), 1).eval()
    batches = Loader(data, LengthBatches(data.index.steps, 7, ordered=True))
    start_from_ridge(network, batches, list(batches), (3.0,), (1.0,))

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


def test_each_map_has_the_strength_that_predicts_best(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s", [2 + i % 4 for i in range(80)])
    data = LatentDataset(open_index(DataSettings(stores=(store,)), Split.TRAIN))
    held_out = LatentDataset(open_index(DataSettings(stores=(store,)), Split.VALIDATION))
    batches, looked_at = (
        list(Loader(one, LengthBatches(one.index.steps, 7, ordered=True)))
        for one in (data, held_out)
    )
    settings = TrainSettings(model=WorldModelSettings(first_apart=False))
    network = Network(settings, Standardiser.fit(data), 1).eval()
    alone = {
        s: start_from_ridge(network, batches, looked_at, (s,), (1.0,)) for s in (3.0, 30.0, 3e5)
    }
    found = start_from_ridge(network, batches, looked_at, tuple(alone), (1.0,))
    for name, value in found.items():
        best = min if "error" in name else max
        assert value == best(one[name] for one in alone.values()), name
    device = torch.device("cpu")
    row = look(network, looked_at, [], device).row
    for name in ("val_error_past", "val_error_others"):
        assert row[name] == pytest.approx(found[name], rel=1e-4)


def test_a_prediction_is_stretched_for_ranks_and_costs_little(tmp_path: Path) -> None:
    """Steps that their prompts tell, noise aside; the regression shrinks what it says."""
    store = make_store(tmp_path / "s", [3] * 60)
    data = LatentDataset(open_index(DataSettings(stores=(store,)), None))
    given = list(Loader(data, LengthBatches(data.index.steps, 7, ordered=True)))
    places = torch.randn(3, data.index.hidden_size, generator=torch.Generator().manual_seed(0))
    batches = []
    for one in given:
        told = one.prompts[:, None] + 0.3 * places
        batches.append(attrs.evolve(one, latents=told + 0.3 * one.latents))
    network = Network(TrainSettings(), Standardiser.identity(data.index.hidden_size), 1)
    rows = []
    for gains in ((1.0,), (1.0, 1.02, 1.05, 3.0)):
        plain = start_from_ridge(network, batches, batches, (300.0,), gains)
        rows.append(look(network, batches, [], torch.device("cpu")).row)
    assert rows[1]["val_mrr_past"] >= rows[0]["val_mrr_past"]
    assert rows[1]["val_error_past"] <= 1.0501 * rows[0]["val_error_past"]
    assert rows[1]["val_error_past"] <= plain["val_error_past"]


def test_of_the_first_step_the_prompt_may_say_something_else(tmp_path: Path) -> None:
    """As it does: the first step is the prompt here, and each other one the opposite."""
    store = make_store(tmp_path / "s", [2 + i % 4 for i in range(80)])
    data = LatentDataset(open_index(DataSettings(stores=(store,)), None))
    given = list(Loader(data, LengthBatches(data.index.steps, 7, ordered=True)))
    batches = []
    for one in given:
        sign = torch.tensor([1.0, *[-1.0] * (one.latents.shape[1] - 1)])
        batches.append(attrs.evolve(one, latents=one.prompts[:, None] * sign[:, None]))
    network = Network(TrainSettings(), Standardiser.identity(data.index.hidden_size), 1)
    plain = start_from_ridge(network, batches, batches, (1.0,))
    row = look(network, batches, [], torch.device("cpu")).row
    for name in ("val_error_past", "val_error_others"):
        assert row[name] < 0.1 * plain[name], name


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
