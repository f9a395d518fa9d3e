"""Opening stores by their places, whatever adapter keeps them."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

import pytest

from rjepa_core.errors import ArgumentError, UnknownAdapterError, UsageError
from rjepa_core.plugins.hooks import (
    GROUP,
    PretrainedRunAdapter,
    StoreAdapter,
    WorldModelAdapter,
    hookimpl,
)
from rjepa_core.plugins.locate import (
    PRETRAINED,
    StorePlace,
    find_store,
    is_store,
    locate,
    open_store,
    open_world_model,
    split_location,
)
from rjepa_core.plugins.registry import Registry
from rjepa_core.settings.extraction import StoreSettings
from rjepa_core.testing.memory_store import MemorySettings, exists, forget, rjepa_stores


def test_an_adapter_is_not_asked_for_a_mode_that_there_is_not() -> None:
    asked: list[object] = []
    adapter = StoreAdapter(
        name="lax",
        summary="takes any mode",
        settings=MemorySettings,
        create=lambda *arguments: asked.append(arguments),  # type: ignore[arg-type,func-returns-value]
        exists=exists,
    )
    wrong: Any
    for wrong in ("rw", None, "", ["read"]):
        with pytest.raises(ArgumentError, match=r"^mode: got .*, expected 'read' or 'write'"):
            StorePlace("lax:x", adapter, "x").open(wrong)
    assert not asked


def test_a_path_names_what_its_text_names() -> None:
    place = locate(PurePosixPath("memory:some/where"))
    assert place == locate("memory:some/where")
    assert (place.path, place.adapter, place.place) == (
        "memory:some/where",
        next(iter(rjepa_stores())),
        "some/where",
    )
    place.open("write").close()
    assert place.exists
    forget("some/where")


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("my_store:x", ("my_store", "x")),
        ("my.store:x:y", ("my.store", "x:y")),
        ("s3+http:bucket/x", ("s3+http", "bucket/x")),
        ("acme-store:", ("acme-store", "")),
        ("runs/a_b:x", ("lmdb", "runs/a_b:x")),
        ("./a_b:x", ("lmdb", "./a_b:x")),
        ("~a:x", ("lmdb", "~a:x")),
        ("a b:x", ("lmdb", "a b:x")),
        ("C:stores", ("lmdb", "C:stores")),
        ("my_store", ("lmdb", "my_store")),
    ],
)
def test_a_name_is_told_from_a_path(path: str, found: tuple[str, str]) -> None:
    assert split_location(path) == found


def offers(monkeypatch: pytest.MonkeyPatch, name: str) -> Registry:
    """The built-in stores, and one more of that name."""
    module = ModuleType("offers_a_store")
    adapter = StoreAdapter(name=name, create=lambda *given: given, exists=lambda place: True)  # type: ignore[arg-type,return-value]
    module.rjepa_stores = hookimpl(lambda: [adapter], specname="rjepa_stores")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    built_in = [one for one in entry_points(group=GROUP) if one.name in ("lmdb", "memory")]
    return Registry([*built_in, EntryPoint(name, module.__name__, GROUP)])


@pytest.mark.parametrize("name", ["my_store", "my.store", "s3+http", "stores2"])
def test_a_plugins_store_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    registry = offers(monkeypatch, name)
    place = locate(f"{name}:x", registry)
    assert (place.adapter.name, place.place) == (name, "x")
    adapter, where = find_store(StoreSettings(path=f"{name}:x"), registry)
    assert (adapter.name, where) == (name, "x")
    assert is_store(f"{name}:x", registry)


@pytest.mark.parametrize("name", ["x", "a/b", "a b", ""])
def test_a_name_that_no_place_can_name_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    states = {plugin.entry: plugin.error for plugin in offers(monkeypatch, name).plugins()}
    assert "NAME:PLACE cannot name" in (states[name] or "")


def test_a_directory_may_look_like_a_name_and_a_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    open_store("./my_runs:2", "write").close()
    for path in ("my_runs:2", "./my_runs:2"):
        assert locate(path).adapter.name == "lmdb"
        assert is_store(path, Registry())
        open_store(path).close()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert not is_store("hf:owner/name", Registry())
    with pytest.raises(UnknownAdapterError, match=r"unknown store 'my_runs'; .*: \./my_runs:3$"):
        locate("my_runs:3")


def carries(monkeypatch: pytest.MonkeyPatch, *names: str) -> Registry:
    """A kind of world model that lives at `place-…`, and pretrained ones of these names there."""
    module = ModuleType("carries_a_run")
    kind = WorldModelAdapter(
        name="kind",
        open=lambda place, device: (place, device),  # type: ignore[arg-type,return-value]
        claims=lambda place: place.startswith("place-") or place == "both",
    )
    runs = [PretrainedRunAdapter(name=n, location=lambda n=n: f"place-of-{n}") for n in names]  # type: ignore[misc]
    module.rjepa_world_models = hookimpl(lambda: [kind], specname="rjepa_world_models")  # type: ignore[attr-defined]
    module.rjepa_pretrained_runs = hookimpl(lambda: runs, specname="rjepa_pretrained_runs")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return Registry([EntryPoint("carrier", module.__name__, GROUP)])


def test_a_pretrained_world_model_is_opened_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = carries(monkeypatch, "mine", "both")
    assert open_world_model("mine", "cpu", registry) == ("place-of-mine", "cpu")
    assert open_world_model("place-x", "cpu", registry) == ("place-x", "cpu")
    with pytest.raises(UsageError, match=r"both: is a pretrained .* the run is \./both"):
        open_world_model("both", "cpu", registry)


@pytest.mark.parametrize("name", PRETRAINED)
def test_a_missing_package_is_named_with_its_command(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with pytest.raises(UsageError, match=f"install {PRETRAINED[name]}$"):
        open_world_model(name, "cpu", carries(monkeypatch))


@pytest.mark.parametrize(
    ("name", "hint"),
    [("gsm8k-smolm2", "did you mean 'gsm8k-smollm2'"), ("minne", "'mine'"), ("runs/wm", "nor")],
)
def test_a_near_miss_is_told(monkeypatch: pytest.MonkeyPatch, name: str, hint: str) -> None:
    with pytest.raises(UsageError, match=f"{name}: there is no trained world model.*{hint}"):
        open_world_model(name, "cpu", carries(monkeypatch, "mine"))
