"""Targets and losses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rjepa_adapters.world_model.masks import Mask, each_past, past, split
from rjepa_adapters.world_model.model import Jepa
from rjepa_adapters.world_model.objectives import (
    Objective,
    damage,
    detection_loss,
    sigreg,
    squared_distances,
)
from rjepa_core.settings.training import OBJECTIVES, TrainingSettings, WorldModelSettings

WIDTH = 12


def parts(objective: str, **training: Any) -> tuple[Jepa, Objective]:
    torch.manual_seed(0)
    settings = WorldModelSettings(
        objective=objective, width=16, heads=2, predictor_width=16, predictor_heads=2, depth=1
    )
    model = Jepa(settings, WIDTH)
    return model, Objective(settings, TrainingSettings(**training), model)


def batch(rows: int = 6, steps: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(1)
    made = torch.randn(rows, steps, WIDTH, generator=source)
    return made, torch.randn(rows, WIDTH, generator=source), torch.zeros(rows, dtype=torch.long)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_target_knows_neither_neighbours_nor_place(objective: str) -> None:
    model, found = parts(objective)
    steps, _, _ = batch()
    whole = found.targets(model, steps)
    alone = found.targets(model, steps[:, 2:3])
    torch.testing.assert_close(whole[:, 2:3], alone)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_term_counts_and_all_that_is_trained_has_a_gradient(objective: str) -> None:
    model, found = parts(objective, detection=0.5)
    steps, prompt, domain = batch(4)
    mask = split(torch.arange(4)[:, None], 4)
    losses = found(model, steps, prompt, domain, mask, torch.Generator().manual_seed(0))
    total = losses.regression + losses.contrastive + losses.regulariser
    torch.testing.assert_close(losses.total, total)
    losses.total.backward()
    ahead = found(model, steps, prompt, domain, past(len(steps), 2, 4), torch.Generator())
    ahead.total.backward()
    for name, value in [*model.named_parameters(), *found.named_parameters()]:
        if value.requires_grad:
            assert value.grad is not None, name
    if objective == "ema":
        assert found.teacher is not None
        assert all(value.grad is None for value in found.teacher.parameters())


@pytest.mark.parametrize("mask", [split(torch.tensor([[1, 2]] * 3), 4), past(3, 1, 3),
                                  each_past(torch.tensor([0, 3, 2]))])  # fmt: skip
def test_what_the_model_was_given_is_no_candidate(mask: Mask) -> None:
    model, found = parts("frozen", regression=0.0, contrastive=1.0, temperature=0.5)
    model.eval()
    steps, prompt, domain = batch(3)
    predicted = model(steps, prompt, domain, mask)
    losses = []
    for row, asked in enumerate(mask.masked.tolist()):
        shown = mask.visible[row] if mask.shown is None else mask.visible[row][mask.shown[row]]
        given = {(row, place) for place in shown.tolist()}
        for number, place in enumerate(asked):
            distance = (predicted[row, number] - steps).square().mean(-1) / -0.5
            pool = [distance[r, s] for r in range(3) for s in range(4) if (r, s) not in given]
            losses.append(torch.stack(pool).logsumexp(0) - distance[row, place])
    made = found(model, steps, prompt, domain, mask, torch.Generator())
    torch.testing.assert_close(made.total, torch.stack(losses).mean())


def test_the_averaged_encoder_follows() -> None:
    model, found = parts("ema", momentum=0.9)
    assert found.teacher is not None
    with torch.no_grad():
        model.encoder.start.add_(1.0)
    before = found.teacher.start.clone()
    found.after_step(model, 0.0)
    torch.testing.assert_close(found.teacher.start, before + 0.1)
    found.after_step(model, 1.0)
    torch.testing.assert_close(found.teacher.start, before + 0.1)


def test_the_regulariser_knows_a_gaussian() -> None:
    source = torch.Generator().manual_seed(0)
    normal = torch.randn(4096, 8, generator=source)
    held = {
        "normal": normal,
        "wide": 3 * normal,
        "collapsed": normal * 0,
        "flat": normal * torch.tensor([1.0] * 4 + [0.0] * 4),
        "two heaps": normal + 4 * (torch.arange(4096) % 2)[:, None] - 2,
    }
    found = {
        name: float(sigreg(made, torch.Generator().manual_seed(1))) for name, made in held.items()
    }
    assert all(found["normal"] < 0.05 * value for name, value in found.items() if name != "normal")


def test_distances() -> None:
    a, b = torch.randn(5, 7), torch.randn(3, 7)
    torch.testing.assert_close(squared_distances(a, b), torch.cdist(a, b).square())


@given(rows=st.integers(2, 9), steps=st.integers(2, 6), seed=st.integers(0, 50))
def test_damage_replaces_one_step_of_each_of_the_first_half(
    rows: int, steps: int, seed: int
) -> None:
    whole = torch.arange(float(rows * steps)).view(rows, steps, 1)
    damaged, place = damage(whole, torch.Generator().manual_seed(seed))
    changed = (damaged != whole)[..., 0]
    assert changed.sum(1).tolist() == [1] * (rows // 2) + [0] * (rows - rows // 2)
    assert changed[: rows // 2].float().argmax(1).tolist() == place.tolist()
    for row, at in enumerate(place.tolist()):
        assert int(damaged[row, at, 0]) // steps != row, "another trace's step"


def test_detection_is_learned() -> None:
    """Traces whose steps resemble their prompt: a foreign step stands out once that is seen."""
    model, found = parts("frozen")
    optimiser = torch.optim.Adam([*model.parameters(), found.log_detection], lr=3e-3)
    source = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(150):
        prompt = torch.randn(16, WIDTH, generator=source)
        steps = prompt[:, None] + 0.3 * torch.randn(16, 4, WIDTH, generator=source)
        loss = detection_loss(
            model,
            lambda made: made,
            steps,
            prompt,
            torch.zeros(16, dtype=torch.long),
            found.log_detection.exp(),
            source,
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-20:]) < 0.5 * sum(losses[:20])


def test_too_few_to_tell() -> None:
    model, _ = parts("frozen")
    steps, prompt, domain = batch(1)
    one = torch.ones(())
    assert detection_loss(model, lambda s: s, steps, prompt, domain, one, torch.Generator()) == 0
