"""From plain mappings to settings classes: every mistake named with its full key."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Literal

import attrs
import pytest
from attrs import validators as v
from hypothesis import given
from hypothesis import strategies as st

from rjepa_core.config import structure, unstructure
from rjepa_core.errors import SettingsError
from rjepa_core.settings.extraction import (
    AdapterSettings,
    EncodingSettings,
    ExtractionSettings,
    ModelSettings,
    ProblemSettings,
    PromptSettings,
    RunSettings,
    SamplingSettings,
    StoreSettings,
)


class Speed(enum.Enum):
    SLOW = "slow"
    FAST = "fast"


@attrs.frozen(kw_only=True)
class Plug:
    """A third party's settings, with every kind of check and type."""

    least: int = attrs.field(default=3, validator=v.ge(1))
    above: float = attrs.field(default=0.5, validator=v.gt(0.0))
    most: float | None = attrs.field(default=None, validator=v.optional(v.le(2.5)))
    below: int = attrs.field(default=0, validator=v.lt(10))
    choice: str = attrs.field(default="left", validator=v.in_(("left", "right")))
    literal: Literal["a", "b"] = "a"
    speed: Speed = Speed.SLOW
    text: str = attrs.field(default="x", validator=v.min_len(1))
    pair: tuple[int, ...] = attrs.field(default=(1, 2), validator=v.min_len(2))
    few: list[float] = attrs.field(factory=list, validator=v.max_len(2))
    kind: Any = attrs.field(default=1, validator=v.instance_of(int))
    code: str = attrs.field(default="x1", validator=v.matches_re(r"x\d"))
    either: int | str = 1
    labels: Mapping[str, int] = attrs.field(factory=dict)
    on: bool = False


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("least", 0, "plug.least: must be >= 1, got 0"),
        ("least", "0", "plug.least: must be >= 1, got 0"),
        ("least", 2.5, "plug.least: expected a whole number, got 2.5"),
        ("least", True, "plug.least: expected a whole number, got True"),
        ("least", None, "plug.least: expected a whole number, got None"),
        ("above", 0, "plug.above: must be > 0, got 0"),
        ("above", "warm", "plug.above: expected a number, got 'warm'"),
        ("most", 3, "plug.most: must be <= 2.5, got 3"),
        ("below", 10, "plug.below: must be < 10, got 10"),
        (
            "choice",
            "lef",
            "plug.choice: must be one of left, right; got 'lef' (did you mean left?)",
        ),
        ("literal", "c", "plug.literal: must be one of a, b; got 'c'"),
        ("speed", "fats", "plug.speed: must be one of slow, fast; got 'fats' (did you mean fast?)"),
        ("text", "", "plug.text: must not be empty"),
        ("text", ["x"], "plug.text: expected text, got ['x']"),
        ("pair", [1], "plug.pair: must have at least 2, got 1"),
        ("pair", [1, "b"], "plug.pair[1]: expected a whole number, got 'b'"),
        ("few", [1, 2, 3], "plug.few: must have at most 2, got 3"),
        ("kind", "x", "plug.kind: must be int, got 'x' that is a str"),
        ("code", "y", "plug.code: must match regex 'x\\\\d' ('y' doesn't)"),
        ("labels", 3, "plug.labels: expected keys and values, got 3"),
        ("labels", {"a": "b"}, "plug.labels.a: expected a whole number, got 'b'"),
        ("on", "perhaps", "plug.on: expected true or false, got 'perhaps'"),
        ("leest", 3, "plug.leest: unknown setting; did you mean plug.least?"),
    ],
)
def test_what_a_check_objects_to(key: str, value: Any, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        structure(Plug, {key: value}, "plug")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("least", "7", 7),
        ("above", "1e-3", 0.001),
        ("above", "1%", 0.01),
        ("most", "none", None),
        ("most", "", None),
        ("choice", "right", "right"),
        ("literal", "b", "b"),
        ("speed", "fast", Speed.FAST),
        ("pair", "-2, -8", (-2, -8)),
        ("few", "1,2.5", [1.0, 2.5]),
        ("either", "12", 12),
        ("either", "twelve", "twelve"),
        ("on", "on", True),
        ("on", "off", False),
    ],
)
def test_text_as_from_a_command_line(key: str, text: str, value: Any) -> None:
    assert getattr(structure(Plug, {key: text}), key) == value


def test_settings_of_the_library_name_their_full_key() -> None:
    base = {"model": {"name": "m"}, "store": {"path": "s"}}
    for section, values, message in [
        ("sampling", {"temperature": -1}, "sampling.temperature: must be >= 0, got -1"),
        ("sampling", {"top_p": 1.5}, "sampling.top_p: must be <= 1, got 1.5"),
        ("encoding", {"layers": []}, "encoding.layers: must name at least one"),
        ("run", {"allow_failures": "150%"}, "run.allow_failures: must be <= 1, got 1.5"),
        ("steps", {"strategy": "line"}, "did you mean lines?"),
        ("prompt", {"templates": {"default": "x"}}, "prompt.templates.default: a prompt template"),
        ("prompt", {"templates": {"code": "{statement}"}}, "prompt: needs a template named"),
        ("problems", 3, "problems: expected a section with keys, got 3"),
    ]:
        with pytest.raises(SettingsError) as caught:
            structure(ExtractionSettings, {**base, section: values})
        assert message in str(caught.value)


def test_what_is_missing() -> None:
    with pytest.raises(SettingsError, match=r"^model\.name: missing; it has no default$"):
        structure(ExtractionSettings, {"store": "s"})
    with pytest.raises(SettingsError, match=r"^store\.path: missing"):
        structure(ExtractionSettings, {"model": "m"})
    with pytest.raises(
        SettingsError, match=r"^store\.pth: unknown setting; did you mean store\.path"
    ):
        structure(ExtractionSettings, {"model": "m", "store": {"pth": "s"}})


def test_sections_in_short() -> None:
    settings = structure(
        ExtractionSettings,
        {"model": "m", "store": "s", "backend": "template", "scheduler": {"batch_size": 4}},
    )
    assert settings.model.name == "m"
    assert settings.store.path == "s"
    assert settings.backend == AdapterSettings(name="template")
    # Its options are those of the scheduler that is there by default.
    assert settings.scheduler == AdapterSettings(name="adaptive", options={"batch_size": 4})


def test_an_adapters_options_stand_beside_its_name_and_wait_for_its_class() -> None:
    section = structure(AdapterSettings, {"name": "x", "depth": 3, "options": {"width": 2}})
    assert section.options == {"width": 2, "depth": 3}


TEXT = st.text(min_size=1, max_size=8).filter(lambda t: t.lower() not in ("none", "null"))
SETTINGS = st.builds(
    ExtractionSettings,
    model=st.builds(ModelSettings, name=TEXT),
    store=st.builds(StoreSettings, path=TEXT, options=st.just({"checkpoint_every": 3})),
    problems=st.builds(
        ProblemSettings,
        sources=st.lists(TEXT).map(tuple),
        domain=st.none() | TEXT,
        fields=st.dictionaries(TEXT, TEXT, max_size=2),
        limit=st.none() | st.integers(1),
    ),
    prompt=st.builds(PromptSettings, system=st.none() | TEXT, thinking=st.booleans()),
    sampling=st.builds(
        SamplingSettings,
        temperature=st.floats(0, 5),
        top_p=st.none() | st.floats(0.01, 1),
        seed=st.integers(0, 2**63),
    ),
    encoding=st.builds(
        EncodingSettings, layers=st.lists(st.integers(-40, 40), min_size=1).map(tuple)
    ),
    run=st.builds(RunSettings, max_hours=st.none() | st.floats(0.001, 1e6)),
)


@given(SETTINGS)
def test_there_and_back(settings: ExtractionSettings) -> None:
    assert structure(ExtractionSettings, unstructure(settings)) == settings


def test_a_day_as_text_and_as_yaml_has_it() -> None:
    for value in ("2024-02-29", date(2024, 2, 29)):
        assert structure(PromptSettings, {"date": value}, "prompt").date == "2024-02-29"
    assert structure(PromptSettings, {"date": None}, "prompt").date is None
    for wrong in ("2024-02-30", "20240229", "today", datetime(2024, 2, 29, 12), 7):
        with pytest.raises(
            SettingsError, match=r"prompt\.date: must be a day like 2026-11-03, got"
        ):
            structure(PromptSettings, {"date": wrong}, "prompt")
