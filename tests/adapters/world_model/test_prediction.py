"""Predictions in bounded parts: the same values, however long a trace is."""

from __future__ import annotations

import pytest
import torch
from latent_stores import make_store

from rjepa_adapters.world_model import prediction
from rjepa_adapters.world_model.inference import JepaWorldModel
from rjepa_adapters.world_model.masks import Mask
from rjepa_adapters.world_model.prediction import predict_each
from rjepa_adapters.world_model.run import train
from rjepa_core.config import structure
from rjepa_core.ports.world_model import Context, TrainWatch
from rjepa_core.settings import TrainSettings


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> JepaWorldModel:
    place = tmp_path_factory.mktemp("prediction")
    store = make_store(place / "s", [2 + i % 4 for i in range(40)])
    small = {"width": 16, "heads": 2, "depth": 1, "predictor_width": 16, "predictor_heads": 2}
    training = {"max_epochs": 1, "batch_size": 8, "device": "cpu"}
    settings = structure(
        TrainSettings, {"model": small, "training": training, "data": {"stores": [store]}}
    )
    train(str(place / "run"), settings, TrainWatch())
    return JepaWorldModel(str(place / "run"), "cpu")


def predicted(model: JepaWorldModel, steps: int, context: Context, ahead: int = 1) -> torch.Tensor:
    width = model.info.hidden_size
    generator = torch.Generator().manual_seed(steps)
    given = torch.randn(2, steps, width, generator=generator)
    prompt = torch.randn(2, width, generator=generator)
    domain = torch.zeros(2, dtype=torch.int64)
    with torch.no_grad():
        return predict_each(model._network.jepa, given, prompt, domain, context, ahead=ahead)


@pytest.mark.parametrize("context", list(Context))
@pytest.mark.parametrize("steps", [1, 2, 7, 60])
def test_parts_change_nothing(
    model: JepaWorldModel, context: Context, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = predicted(model, steps, context)
    sizes: list[int] = []
    parts = prediction.parts
    monkeypatch.setattr(prediction, "PASS_BYTES", 200_000)
    monkeypatch.setattr(
        prediction, "parts", lambda count, size: (sizes.append(size), parts(count, size))[1]
    )
    torch.testing.assert_close(predicted(model, steps, context), whole, rtol=1e-5, atol=1e-5)
    if steps == 60:
        assert sizes[0] < 2 * steps, "nothing was divided"


@pytest.mark.parametrize("steps", [100, 2000, 4096])
def test_a_pass_stays_within_its_memory(model: JepaWorldModel, steps: int) -> None:
    each = prediction.row_bytes(model._network.jepa, steps)
    rows = prediction.pairs_at_once(steps, each)
    assert rows == 1 or rows * each <= prediction.PASS_BYTES


@pytest.mark.parametrize("steps", [1, 5, 9])
def test_the_past_in_one_pass_is_the_past_step_by_step(model: JepaWorldModel, steps: int) -> None:
    whole = predicted(model, steps, Context.PAST)
    width = model.info.hidden_size
    generator = torch.Generator().manual_seed(steps)
    given = torch.randn(2, steps, width, generator=generator)
    prompt = torch.randn(2, width, generator=generator)
    domain = torch.zeros(2, dtype=torch.int64)
    for place in range(steps):
        with torch.no_grad():
            alone = predict_each(
                model._network.jepa,
                given[:, : place + 1],
                prompt,
                domain,
                Context.PAST,
                torch.tensor([place]),
            )
        torch.testing.assert_close(alone[:, 0], whole[:, place], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("ahead", [1, 2, 3, 9])
def test_a_look_ahead_is_the_past_without_its_last_steps(model: JepaWorldModel, ahead: int) -> None:
    steps = 5
    whole = predicted(model, steps, Context.PAST, ahead)
    generator = torch.Generator().manual_seed(steps)
    given = torch.randn(2, steps, model.info.hidden_size, generator=generator)
    prompt = torch.randn(2, model.info.hidden_size, generator=generator)
    for place in range(steps):
        seen = torch.arange(max(0, place - ahead + 1)).expand(2, -1)
        mask = Mask(seen, torch.full((2, 1), place))
        with torch.no_grad():
            alone = model._network.jepa(given, prompt, torch.zeros(2, dtype=torch.int64), mask)
        torch.testing.assert_close(alone[:, 0], whole[:, place], rtol=1e-5, atol=1e-5)
