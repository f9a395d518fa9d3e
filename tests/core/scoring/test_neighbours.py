"""Stored steps near a prediction: the ones that a full search finds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from evaluation_stores import make_run, make_store, registry

from rjepa_core.domain.trace import RecordKey
from rjepa_core.errors import IdentityError
from rjepa_core.plugins.locate import open_store, open_world_model
from rjepa_core.ports.store import LatentStore
from rjepa_core.ports.world_model import WorldModel
from rjepa_core.scoring.neighbours import NearestSteps
from rjepa_core.scoring.text_encoder import sequence_of


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LatentStore]:
    with open_store(make_store(tmp_path_factory.mktemp("near"), count=40)) as store:
        yield store


@pytest.fixture(scope="module")
def model(store: LatentStore, tmp_path_factory: pytest.TempPathFactory) -> WorldModel:
    run = make_run(store.location, tmp_path_factory.mktemp("runs") / "run")
    return open_world_model(run, registry=registry())


def every_target(store: LatentStore, model: WorldModel) -> dict[tuple[RecordKey, int], np.ndarray]:
    return {
        (key, step): target
        for key in list(store.keys())
        for step, target in enumerate(model.targets([sequence_of(store.get(key))])[0])
    }


def test_a_step_is_nearest_to_itself(store: LatentStore, model: WorldModel) -> None:
    nearest, targets = NearestSteps.of(store, model), every_target(store, model)
    assert len(nearest) == len(targets)
    for (key, step), target in list(targets.items())[::7]:
        [found] = nearest.find(target, 1)
        same = targets[found.key, found.step]
        np.testing.assert_allclose(same, target, atol=2e-3)
        assert 0 <= found.distance < 1e-4
        assert (key, step) == (found.key, found.step) or np.allclose(same, target, atol=2e-3)


def test_the_nearest_are_those_of_a_full_search(store: LatentStore, model: WorldModel) -> None:
    nearest, targets = NearestSteps.of(store, model), every_target(store, model)
    asked = np.random.default_rng(0).standard_normal(model.info.target_size).astype(np.float32)
    distances = sorted(float(np.square(target - asked).mean()) for target in targets.values())
    found = nearest.find(asked, 6)
    np.testing.assert_allclose([one.distance for one in found], distances[:6], rtol=5e-3)
    for one in found:
        own = float(np.square(targets[one.key, one.step] - asked).mean())
        assert one.distance == pytest.approx(own, rel=5e-3)


def test_no_more_steps_are_held_than_asked_for(store: LatentStore, model: WorldModel) -> None:
    asked = np.zeros(model.info.target_size, np.float32)
    few = NearestSteps.of(store, model, most=7)
    assert len(few) == 7
    assert len(few.find(asked, 100)) == 7
    none = NearestSteps.of(store, model, most=0)
    assert len(none) == 0
    assert none.find(asked, 3) == []
    assert few.find(asked, 0) == []


def test_a_store_of_another_space_is_refused(
    model: WorldModel, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("other")
    with (
        open_store(make_store(home, count=5, pooling="last")) as other,
        pytest.raises(IdentityError, match="pooling"),
    ):
        NearestSteps.of(other, model)
