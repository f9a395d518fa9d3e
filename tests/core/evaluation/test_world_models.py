"""How world models are named, put together with their other seeds, and compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from rjepa_core.evaluation.methods import BASELINE, RIDGE, WORLD_MODEL
from rjepa_core.evaluation.settings import EvaluateSettings
from rjepa_core.evaluation.world_models import horizons_of, methods_of, names_of, seeds_of
from rjepa_core.ports.world_model import TargetSpace, WorldModel, WorldModelInfo
from rjepa_core.testing.samples import sample_identity


@attrs.frozen
class Told:
    """A world model that only says what it is."""

    info: WorldModelInfo


def told(network: str = "transformer", lr: float = 1.0, **more: Any) -> Any:
    info = WorldModelInfo("run", sample_identity().space, 4, 4, TargetSpace.LLM, "frozen")
    configuration = {"training": {"lr": lr}}
    return Told(attrs.evolve(info, network=network, **{"configuration": configuration, **more}))


def named(places: list[str], models: list[Any]) -> Mapping[str, WorldModel]:
    return dict(zip(names_of(places, models), models, strict=True))


def test_one_of_a_kind_needs_no_folder() -> None:
    found = names_of(["runs/a", "runs/l", "runs/p"], [told(), told("linear"), told("perceptron")])
    assert found == ["world model", "linear map", "perceptron"]


def test_several_have_the_names_of_their_folders() -> None:
    assert names_of(["x/a/", "y/b", "y/l"], [told(), told(), told("linear")]) == [
        "world model a",
        "world model b",
        "linear map",
    ]
    assert names_of(["x/a", "y/a"], [told(), told()]) == ["world model x/a", "world model y/a"]


def test_seeds_are_of_one_configuration() -> None:
    models = named(
        ["frozen-0", "small", "frozen-1", "l_0", "l_1", "frozen-2"],
        [told(), told(lr=0.5), told(), told("linear"), told("linear"), told()],
    )
    frozen, linear = seeds_of(models)
    assert frozen.members == tuple(f"world model frozen-{i}" for i in range(3))
    assert (frozen.name, frozen.best) == ("world model frozen, the worst of 3 seeds", False)
    assert linear.members == ("linear map l_0", "linear map l_1")
    assert (linear.name, linear.best) == ("linear map l, the best of 2 seeds", True)


def test_names_that_begin_alike_are_told_apart() -> None:
    models = named(["a0", "a1", "a2", "a3"], [told(), told(), told(lr=2.0), told(lr=2.0)])
    assert [one.name for one in seeds_of(models)] == [
        "world model a0, world model a1, the worst of 2 seeds",
        "world model a2, world model a3, the worst of 2 seeds",
    ]


def test_what_is_not_known_is_not_put_together() -> None:
    unknown = {"configuration": {}}
    assert not seeds_of(named(["a", "b"], [told(**unknown), told(**unknown)]))
    own = {"target_space": TargetSpace.MODEL}
    assert not seeds_of(named(["a", "b"], [told(**own), told(**own)]))


def test_world_models_are_compared_with_the_best_of_the_trained_baselines() -> None:
    def against(*networks: str) -> dict[str, tuple[str, tuple[str, ...]]]:
        models = named([f"r-{i}" for i in range(len(networks))], [told(n) for n in networks])
        return {one.name: (one.kind, one.against) for one in methods_of(models, seeds_of(models))}

    assert against("transformer", "linear", "perceptron") == {
        "world model": (WORLD_MODEL, (RIDGE, "linear map", "perceptron")),
        "linear map": (BASELINE, (RIDGE,)),
        "perceptron": (BASELINE, (RIDGE,)),
    }
    assert against("transformer", "linear", "linear")["world model"] == (
        WORLD_MODEL,
        (RIDGE, "linear map r, the best of 2 seeds"),
    )
    assert against("")["world model"] == (WORLD_MODEL, (RIDGE,))


def test_horizons_reach_as_far_as_some_model_looks() -> None:
    asked = EvaluateSettings()
    assert horizons_of(asked, {"a": told(horizon=2), "b": told()}) == (1, 2)
    assert horizons_of(asked, {"a": told(horizon=99)}) == (1, 2, 3)
    assert horizons_of(EvaluateSettings(horizons=(5, 1)), {"a": told(horizon=9)}) == (1, 5)
