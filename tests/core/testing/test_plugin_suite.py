"""Every built-in plugin keeps the promises of a plugin, and one that does not is told which."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import attrs
import pytest

import rjepa_core.plugins.registry
from rjepa_core.plugins.hooks import BackendAdapter, hookimpl
from rjepa_core.plugins.registry import Plugin, Registry
from rjepa_core.testing.plugin_suite import PluginContract
from rjepa_core.testing.seeded import SeededBackend

BUILT_IN = [p.entry for p in Registry().plugins() if p.distribution == "rjepa"]


class TestBuiltIn(PluginContract):
    @pytest.fixture(params=BUILT_IN)
    def plugin(self, request: pytest.FixtureRequest) -> Plugin:
        return next(p for p in Registry().plugins() if p.entry == request.param)


def test_all_kinds_are_built_in() -> None:
    assert len(BUILT_IN) >= 9


@attrs.frozen
class Undescribed:
    """Nothing is said of it."""

    depth: int = 1


@attrs.frozen
class Required:
    """Attributes:
    depth: how deep.
    """

    depth: int


class Offers:
    """A module of a plugin with one backend."""

    __name__ = "offers"

    def __init__(self, **fields: Any) -> None:
        self._fields = {"name": "mine", "summary": "a summary", "create": SeededBackend, **fields}

    @hookimpl
    def rjepa_backends(self) -> list[BackendAdapter]:
        return [BackendAdapter(**self._fields)]


@pytest.mark.parametrize(
    ("fields", "test", "says"),
    [
        ({"name": "my backend"}, "found_by_name", "'my backend': a name is two letters"),
        ({"name": "b"}, "found_by_name", "'b': a name is two letters"),
        ({"summary": ""}, "found_by_name", "mine: a summary tells"),
        ({"settings": Undescribed}, "defaults_and_descriptions", "setting depth is described"),
        ({"settings": Required}, "defaults_and_descriptions", "setting depth has a default"),
        ({"settings": dict}, "defaults_and_descriptions", "settings are an attrs class"),
    ],
)
def test_what_is_wrong_is_said(
    fields: dict[str, Any], test: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = EntryPoint("mine", "offers", "rjepa")
    monkeypatch.setattr(EntryPoint, "load", lambda self: Offers(**fields))
    monkeypatch.setattr(rjepa_core.plugins.registry, "groups", lambda: ["rjepa"])
    monkeypatch.setattr(rjepa_core.plugins.registry, "entry_points", lambda group: [entry])
    (plugin,) = Registry().plugins()
    method = next(n for n in dir(PluginContract) if n.startswith("test_") and n.endswith(test))
    with pytest.raises(AssertionError, match=says):
        getattr(PluginContract(), method)(plugin)
