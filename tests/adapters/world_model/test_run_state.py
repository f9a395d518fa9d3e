"""A run may be anyone's: whatever it says, it is opened or refused in one line, at once."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from latent_stores import make_store
from safetensors.torch import load_file, save_file

from rjepa_adapters.world_model import checkpoint
from rjepa_adapters.world_model.checkpoint import MODEL, STATE, TRAINING
from rjepa_adapters.world_model.inference import JepaWorldModel
from rjepa_adapters.world_model.run import train
from rjepa_core.config import structure
from rjepa_core.errors import UsageError
from rjepa_core.ports.world_model import LatentSequence, TrainWatch
from rjepa_core.settings.training import TrainSettings

# One checkpoint: that of the start is kept as well where there is ridge regression to start from.
SMALL = {
    "width": 16,
    "heads": 2,
    "depth": 1,
    "predictor_width": 16,
    "predictor_heads": 2,
    "ridge": 0.0,
}
State = dict[str, Any]
Tensors = dict[str, torch.Tensor]


def settings_of(store: str) -> TrainSettings:
    training = {"max_epochs": 1, "batch_size": 8, "device": "cpu"}
    tree = {"model": SMALL, "training": training, "data": {"stores": [store]}}
    return structure(TrainSettings, tree)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_store(tmp_path_factory.mktemp("stores") / "s", [2 + i % 4 for i in range(60)])


@pytest.fixture(scope="module")
def trained(store: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "r"
    train(str(run), settings_of(store))
    return run


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "r", symlinks=True))


def place_of(run: Path) -> Path:
    [(_, place)] = checkpoint.steps(run)
    return place


def rewrite(
    run: Path,
    state: Callable[[State], object] = lambda state: None,
    model: Callable[[Tensors], object] = lambda tensors: None,
    training: Callable[[Tensors], object] = lambda tensors: None,
) -> None:
    """Change a checkpoint, with digests that fit."""
    place = place_of(run)
    for name, change in ((MODEL, model), (TRAINING, training)):
        tensors = load_file(place / name)
        change(tensors)
        save_file(tensors, place / name)
    said = json.loads((place / STATE).read_text())
    del said["digest"]
    for name in (MODEL, TRAINING):
        said["digests"][name] = checkpoint._digest(place / name)
    state(said)
    write(place / STATE, said)


def write(path: Path, said: State) -> None:
    path.write_text(json.dumps({"digest": checkpoint._json_digest(said), **said}))


def refusal(run: Path) -> str:
    """What is said of a run that cannot be opened: one line, at once."""
    began = time.monotonic()
    with pytest.raises(UsageError) as caught:
        JepaWorldModel(str(run), "cpu")
    assert time.monotonic() - began < 5
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 1000
    return message


def put(*keys: str, value: Any) -> Callable[[State], object]:
    def change(state: State) -> None:
        for key in keys[:-1]:
            state = state[key]
        state[keys[-1]] = value

    return change


def deep(levels: int) -> Any:
    found: Any = 1
    for _ in range(levels):
        found = [found]
    return found


@pytest.mark.parametrize(
    ("keys", "value", "said"),
    [
        (("settings", "model", "depth"), 10**9, "smaller model"),
        (("settings", "model", "predictor_depth"), 10**12, "smaller model"),
        (("settings", "model", "depth"), 2, "encoder.blocks.1"),
        (("settings", "model", "depth"), -1, "depth: must be >= 0"),
        (("settings", "model", "depth"), "deep", "depth: expected a whole number"),
        (("settings", "model", "depth"), 1.5, "depth: expected a whole number"),
        (("settings", "model", "depth"), None, "depth: expected a whole number"),
        (("settings", "model", "depth"), [[1]], "depth: expected a whole number"),
        (("settings", "model", "width"), 2**40, "settings ask for|no such model"),
        (("settings", "model", "width"), 2**70, "settings ask for|no such model"),
        (("settings", "model", "max_steps"), 10**12, "settings ask for"),
        (("settings", "model", "heads"), 0, "heads: must be >= 1"),
        (("settings", "model", "heads"), 3, "multiple of"),
        (("settings", "model", "dropout"), float("nan"), "dropout: must be"),
        (("settings", "model", "dropout"), 1e400, "dropout: must be"),
        pytest.param(("settings", "model", "dropout"), 10**400, "too large", id="huge"),
        (("settings", "model", "objective"), "emma", "objective: must be one of"),
        (("settings", "model", "objective"), "ema", "settings ask for|is missing"),
        (("settings", "model", "domains"), True, "is missing"),
        (("settings", "model", "colour"), 1, "unknown setting"),
        (("settings", "model"), 7, "expected a section"),
        (("settings",), [], "expected a section"),
        (("settings",), None, ""),
        (("space",), "llm", "expected a section"),
        (("space", "layers"), {"a": 1}, "layers"),
        (("space", "hidden_size"), 2**60, "no statistics of"),
        (("space", "hidden_size"), "wide", "expected a whole number"),
        (("space", "prompt"), 3, "prompt"),
        (("space", "prompt", "system"), ["x"], "system"),
        (("space", "colour"), "red", "unknown setting"),
        (("domains",), {"math": 1}, "domains"),
        (("domains",), [None], "domains"),
        (("traces",), "many", "traces"),
        (("traces",), -1, "traces"),
        (("quantiles",), [1], "quantiles"),
        (("quantiles",), {"two": [0.0] * 101}, "no number of steps"),
        pytest.param(("quantiles",), {"9" * 5000: [0.0] * 101}, "no number of", id="long"),
        (("quantiles",), {"2": [0.0] * 3}, "101 finite numbers"),
        (("quantiles",), {"2": [float("inf")] * 101}, "101 finite numbers"),
        (("quantiles",), {"2": [float("nan")] * 101}, "101 finite numbers"),
        (("quantiles",), {"2": list(range(101, 0, -1))}, "ascend"),
        (("quantiles",), {"2": ["a"] * 101}, "expected a number"),
        (("standing",), [], "expected a section"),
        (("standing", "step"), -3, "step: must be >= 0"),
        (("standing", "curve"), [5], "curve"),
        (("standing", "curve"), [{"loss": 1.0}], "tells no epoch"),
        (("limits",), {"long": -1}, "limits"),
        (("limits",), "none", "limits"),
        (("digests",), None, "damaged"),
        (("version",), 10**30, "is of format"),
        (("version",), "2", "is of format"),
        (("extra",), deep(900), ""),
    ],
)  # fmt: skip
def test_a_state_of_another_kind_is_one_line(
    run: Path, keys: tuple[str, ...], value: Any, said: str
) -> None:
    rewrite(run, put(*keys, value=value))
    if keys == ("extra",):
        JepaWorldModel(str(run), "cpu")
        return
    message = refusal(run)
    assert any(one in message for one in said.split("|")), message


@pytest.mark.parametrize(
    "name",
    ["settings", "space", "domains", "traces", "standing", "quantiles", "version", "digests"],
)
def test_a_state_that_lacks_something_is_one_line(run: Path, name: str) -> None:
    rewrite(run, lambda state: state.pop(name))
    refusal(run)


def some(tensors: Tensors, name: str, value: torch.Tensor) -> None:
    assert name in tensors
    tensors[name] = value


NORM, MEAN, STD = "jepa.encoder.norm.weight", "statistics.step_mean", "statistics.step_std"
MODELS: dict[str, Callable[[Tensors], object]] = {
    "is missing": lambda t: t.pop(NORM),
    "no tensor of the model": lambda t: t.update(more=torch.ones(3)),
    "no statistics": lambda t: t.pop(MEAN),
    "I64 [16], where its settings ask for F32": lambda t: some(t, NORM, torch.ones(16).long()),
    "F16 [4, 4]": lambda t: some(t, NORM, torch.ones(4, 4).half()),
    f"{STD} is F16": lambda t: some(t, STD, t[STD].half()),
    "[4, 4]": lambda t: some(t, NORM, torch.ones(4, 4)),
    f"{NORM} has a value that is not finite": lambda t: t[NORM].fill_(float("nan")),
    f"{MEAN} has a value that is not finite": lambda t: t[MEAN].fill_(float("inf")),
    f"{STD} has a spread that is not above 0": lambda t: t[STD].fill_(0.0),
    "prompt_std has a spread": lambda t: t["statistics.prompt_std"].neg_(),
}


@pytest.mark.parametrize("said", MODELS)
def test_a_model_of_another_kind_is_one_line(run: Path, said: str) -> None:
    rewrite(run, model=MODELS[said])
    assert said in refusal(run)


def test_weights_may_be_kept_in_half_the_space(run: Path) -> None:
    width = JepaWorldModel(str(run), "cpu").info.hidden_size
    values = np.random.default_rng(0).standard_normal((4, width)).astype(np.float32)
    given = [LatentSequence(values[1:], values[0])]
    whole = JepaWorldModel(str(run), "cpu").surprise(given)

    def halve(tensors: Tensors) -> None:
        for name, values in tensors.items():
            if not name.startswith("statistics."):
                tensors[name] = values.half()

    rewrite(run, model=halve)
    np.testing.assert_allclose(JepaWorldModel(str(run), "cpu").surprise(given), whole, rtol=1e-2)


def many_keys(place: Path) -> None:
    text = (place / STATE).read_text()
    (place / STATE).write_text(text.replace('"traces":', '"traces": 1, "traces":', 1))


def sparse(place: Path) -> None:
    os.truncate(place / STATE, 2**40)


def fifo(place: Path) -> None:
    (place / STATE).unlink()
    os.mkfifo(place / STATE)


FILES: dict[str, Callable[[Path], object]] = {
    "damaged": lambda place: (place / STATE).write_text("[" * 10**6),
    "it is damaged": many_keys,
    "holds no object": lambda place: (place / STATE).write_text("[1]"),
    "bytes, at most": sparse,
    "is no file": fifo,
    "is missing": lambda place: (place / STATE).unlink(),
    "cannot be read": lambda place: (place / MODEL).write_bytes(b"\xff" * 64),
}


@pytest.mark.parametrize("said", FILES)
def test_a_file_of_another_kind_is_one_line(run: Path, said: str) -> None:
    FILES[said](place_of(run))
    assert said in refusal(run)


@pytest.mark.parametrize("name", [STATE, MODEL, ""])
def test_a_link_leads_nowhere(run: Path, tmp_path: Path, name: str) -> None:
    place = place_of(run)
    path = place / name if name else place
    moved = Path(shutil.move(path, tmp_path / "elsewhere"))
    path.symlink_to(moved, target_is_directory=not name)
    assert "leads out of the run" in refusal(run)


def test_a_link_to_the_run_is_the_run(run: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(run)
    JepaWorldModel(str(tmp_path / "link"), "cpu")


@pytest.mark.parametrize(
    "said",
    [
        {"checkpoint": "../../other/checkpoints/step-00000008"},
        {"checkpoint": "/etc"},
        {"checkpoint": "step-00000008/../../x"},
        {"checkpoint": ["step-00000008"]},
        {"checkpoint": None},
        {},
        [],
        "step-00000008",
        deep(500),
    ],
)
def test_the_best_is_named_plainly(run: Path, tmp_path: Path, said: Any) -> None:
    """One that is not is passed over, and nothing outside of the run is looked at."""
    (run / "best.json").write_text(json.dumps(said))
    shutil.copytree(run, tmp_path / "other")
    warned: list[str] = []
    JepaWorldModel(str(run), "cpu", warned.append)
    assert len(warned) == 1
    assert "the latest checkpoint is used" in warned[0]
    assert "\n" not in warned[0]


TRAININGS: dict[str, Callable[[Tensors], object]] = {
    "generator is missing": lambda t: t.pop("generator"),
    "torch is missing, or no state": lambda t: some(t, "torch", torch.zeros(3, dtype=torch.uint8)),
    "generator is missing, or no": lambda t: some(t, "generator", torch.zeros(5056)),
    "'optimiser.x.step' is none of": lambda t: t.update({"optimiser.x.step": torch.ones(())}),
    "'optimiser.999.step' is none": lambda t: t.update({"optimiser.999.step": torch.ones(())}),
    "or of another shape": lambda t: some(t, "optimiser.0.exp_avg", torch.ones(2)),
    "optimiser.0.exp_avg_sq is missing": lambda t: t.pop("optimiser.0.exp_avg_sq"),
    "'more' is none of": lambda t: t.update(more=torch.ones(3)),
}


@pytest.mark.parametrize("said", TRAININGS)
def test_training_goes_on_from_its_own_kind_alone(run: Path, store: str, said: str) -> None:
    rewrite(run, training=TRAININGS[said])
    with pytest.raises(UsageError) as caught:
        train(str(run), settings_of(store), TrainWatch(resume=True))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "value", "said"),
    [
        (("settings", "model", "heads"), 4, "model.heads was 4 and is 2"),
        (("standing", "batch"), 10**6, "is at batch 1,000,000"),
        (("traces",), 7, "was begun with 7 traces"),
    ],
)
def test_a_run_that_contradicts_itself_is_not_gone_on_with(
    run: Path, store: str, keys: tuple[str, ...], value: Any, said: str
) -> None:
    rewrite(run, put(*keys, value=value))
    with pytest.raises(UsageError, match=said):
        train(str(run), settings_of(store), TrainWatch(resume=True))


def test_a_run_without_limits_is_an_older_one(run: Path, store: str) -> None:
    rewrite(run, lambda state: state.pop("limits"))
    train(str(run), settings_of(store), TrainWatch(resume=True))
    model = JepaWorldModel(str(run), "cpu")
    latents = np.zeros((3, model.info.hidden_size), np.float32)
    assert len(model.surprise([LatentSequence(latents, latents[0])])[0]) == 3
