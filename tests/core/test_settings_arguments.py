"""Settings given from Python: converted, or refused with the line that the command line gives."""

from __future__ import annotations

import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

import rjepa_core
from rjepa_core import (
    AdapterSettings,
    DataSettings,
    EncodingSettings,
    EvaluateSettings,
    ExtractionSettings,
    ModelSettings,
    ProblemSettings,
    PromptSettings,
    SamplingSettings,
    TrainSettings,
    WorldModelSettings,
    evaluate,
    open_world_model,
    run_extraction,
    train_world_model,
)
from rjepa_core.config import structure
from rjepa_core.errors import ArgumentError, SettingsError, UnknownAdapterError

CLASSES = [getattr(rjepa_core, name) for name in rjepa_core.__all__ if name.endswith("Settings")]


def extraction(**given: Any) -> ExtractionSettings:
    return ExtractionSettings(**{"model": "m", "store": "s", **given})


def test_sections_may_be_names_paths_lists_and_mappings(tmp_path: Path) -> None:
    assert extraction(problems="demo").problems == ProblemSettings(sources="demo")
    # A text alone is one file, whatever its name.
    assert extraction(problems="a,b.jsonl").problems.sources == ("a,b.jsonl",)
    assert extraction(problems=tmp_path).problems.sources == (str(tmp_path),)
    assert extraction(problems=["a", "b"]).problems.sources == ("a", "b")
    assert ProblemSettings(traces=[tmp_path]).traces == (str(tmp_path),)
    assert extraction(model=tmp_path).model == ModelSettings(name=str(tmp_path))
    assert extraction(scheduler="fixed").scheduler == AdapterSettings(name="fixed")
    assert extraction(scheduler={"batch_size": 4}).scheduler.options == {"batch_size": 4}
    assert extraction(sampling={"top_k": 3}).sampling == SamplingSettings(top_k=3)
    assert AdapterSettings(name="fixed", batch_size=4).options == {"batch_size": 4}
    assert TrainSettings(data=tmp_path).data.stores == (str(tmp_path),)
    assert TrainSettings(model={"objective": "verifier"}).training.select == "loss"
    assert PromptSettings(system="").system == ""


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: extraction(problem="x"), "problem: unknown setting; did you mean problems?"),
        (lambda: extraction(problems=3), "problems: expected a section with keys, got 3"),
        (lambda: ExtractionSettings(model="m"), "store.path: missing; it has no default"),
        (lambda: extraction(encoding=ModelSettings(name="m")), "encoding: expected a section"),
        (lambda: ModelSettings(nam="m"), "model.nam: unknown setting; did you mean model.name?"),
        (lambda: ModelSettings("m"), "model: settings are given by name: ModelSettings(name='m')"),
        (lambda: SamplingSettings(temperature=-1), "sampling.temperature: must be >= 0, got -1"),
        (lambda: SamplingSettings(top_k="3"), "sampling.top_k: expected a whole number, got '3'"),
        (lambda: PromptSettings(thinking="on"), "prompt.thinking: expected true or false"),
        (lambda: EncodingSettings(pooling="men"), "(did you mean mean?)"),
        (lambda: TrainSettings(training={"lr": 0}), "training.lr: must be > 0, got 0"),
        (lambda: EvaluateSettings(split="tst"), "evaluate.split: must be one of test, validation"),
    ],
)
def test_what_is_refused(make: Callable[[], Any], line: str) -> None:
    with pytest.raises(SettingsError) as raised:
        make()
    assert line in str(raised.value)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_settings_class_names_an_unknown_setting(cls: type[Any]) -> None:
    if "options" in attrs.fields_dict(cls):
        pytest.skip("the rest are an adapter's")
    with pytest.raises(SettingsError, match=r"sed_: unknown setting; (did you mean|known keys)"):
        cls(sed_=1)


@pytest.mark.parametrize(
    ("cls", "section", "wrong"),
    [
        (SamplingSettings, "sampling", {"temperature": -1.0}),
        (SamplingSettings, "sampling", {"seed": 1.5}),
        (EncodingSettings, "encoding", {"store_dtype": "int8"}),
        (EncodingSettings, "encoding", {"layers": []}),
        (PromptSettings, "prompt", {"date": "yesterday"}),
        (ProblemSettings, "problems", {"limit": 0}),
        (ProblemSettings, "problems", {"fields": 3}),
        (ModelSettings, "model", {"name": ""}),
    ],
)
def test_the_line_is_that_of_the_command_line(
    cls: type[Any], section: str, wrong: dict[str, Any]
) -> None:
    with pytest.raises(SettingsError) as ours:
        cls(**wrong)
    with pytest.raises(SettingsError) as theirs:
        structure(cls, wrong, section)
    assert str(ours.value) == str(theirs.value)


def test_calls_take_mappings_and_refuse_the_rest(tmp_path: Path) -> None:
    values = {"model": "m", "store": str(tmp_path / "s"), "problems": "demo", "backend": "seeded"}
    assert run_extraction(values).store.records == 24
    for call, line in (
        (lambda: run_extraction("x"), "settings: got 'x', expected ExtractionSettings"),
        (lambda: train_world_model("x", 3), "settings: got 3, expected TrainSettings"),
        (lambda: train_world_model(3, {}), "run: got 3, expected a string or a path"),
        (lambda: evaluate(3), "settings: got 3, expected EvaluateRunSettings"),
        (lambda: open_world_model(3), "location: got 3, expected a string or a path"),
    ):
        with pytest.raises(ArgumentError) as raised:
            call()  # type: ignore[no-untyped-call]
        assert line in str(raised.value)
    with pytest.raises(UnknownAdapterError, match="did you mean 'tqdm'"):
        run_extraction(values, progress="tqmd")


def test_a_whole_number_is_the_same_temperature(tmp_path: Path) -> None:
    """A store that was begun with 1 goes on with 1.0."""
    from rjepa_core.domain.identity import Generation, Identity, differences
    from rjepa_core.testing.samples import sample_identity

    space = sample_identity().space
    one, other = (Identity(space, Generation("sampled", 300, t)) for t in (1, 1.0))
    assert differences(one, other) == []
    for other in (0.5, True):
        third = Identity(space, Generation("sampled", 300, other))
        assert [key for key, _, _ in differences(one, third)] == ["generation.temperature"]


def test_an_open_store_or_world_model_stands_for_its_location() -> None:
    store: Any = types.SimpleNamespace(location="runs/first")
    wm: Any = types.SimpleNamespace(info=types.SimpleNamespace(location="runs/wm"))
    assert TrainSettings(data=store).data.stores == ("runs/first",)
    assert TrainSettings(data=[store, "b"]).data.stores == ("runs/first", "b")
    assert DataSettings(stores=store).stores == ("runs/first",)
    verifier = WorldModelSettings(objective="verifier", network="linear", world_model=wm)
    assert verifier.world_model == "runs/wm"
    asked = EvaluateSettings(world_models=wm, stores=store)
    assert (asked.world_models, asked.stores) == (("runs/wm",), ("runs/first",))
    asked = EvaluateSettings(world_models=[wm, "b"], stores=(store,))
    assert (asked.world_models, asked.stores) == (("runs/wm", "b"), ("runs/first",))
    assert ExtractionSettings(model="m", problems="demo", store=store).store.path == "runs/first"
