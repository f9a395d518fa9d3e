"""The registry: names become adapters, and a broken plugin stays its own problem."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, distributions
from pathlib import Path

import pytest

from rjepa_core import __version__
from rjepa_core.errors import (
    IncompatiblePluginError,
    PluginError,
    SettingsError,
    UnknownAdapterError,
    UsageError,
)
from rjepa_core.plugins.hooks import GROUP, BackendAdapter, SchedulerAdapter
from rjepa_core.plugins.registry import Plugin, Registry
from rjepa_core.ports.backend import InFlight

OFFERS = """
import attrs
from rjepa_core.plugins import BackendAdapter, SchedulerAdapter, hookimpl

@attrs.frozen
class Settings:
    depth: int = 1

@hookimpl
def rjepa_backends():
    return [BackendAdapter(name=name, settings=Settings, create=lambda m, s: (m, s))
            for name in {names!r}]
"""


class Place:
    """A folder of distributions, as a site-packages is one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.modules: list[str] = []

    def add(self, distribution: str, entry: str, code: str, *groups: str) -> None:
        module = f"{distribution}_for_test"
        self.modules.append(module)
        (self.path / f"{module}.py").write_text(code)
        info = self.path / f"{distribution}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
        )
        points = [f"[{group}]\n{entry} = {module}\n" for group in groups or (GROUP,)]
        (info / "entry_points.txt").write_text("\n".join(points))

    def registry(self) -> Registry:
        found: list[EntryPoint] = []
        for distribution in distributions(path=[str(self.path)]):
            found.extend(distribution.entry_points)
        return Registry(sorted(found, key=lambda e: e.name))

    def loaded(self) -> list[str]:
        return [module for module in self.modules if module in sys.modules]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.syspath_prepend(str(tmp_path))
    place = Place(tmp_path)
    yield place
    for module in place.loaded():
        del sys.modules[module]


def offers(*names: str) -> str:
    return OFFERS.format(names=names)


def test_only_the_entry_point_of_that_name_is_loaded(place: Place) -> None:
    place.add("first", "aaa", offers("aaa"))
    place.add("second", "zzz", offers("zzz"))
    assert place.registry().find(BackendAdapter, "zzz").name == "zzz"
    assert place.loaded() == ["second_for_test"]


def test_an_adapter_behind_another_entry_name_is_found(place: Place) -> None:
    place.add("first", "family", offers("one", "two"))
    assert place.registry().find(BackendAdapter, "two").name == "two"


def test_a_plugin_that_raises_harms_nobody_else(place: Place) -> None:
    place.add("bad", "aaa", "raise RuntimeError('no such luck\\nsecond line')")
    place.add("exits", "bbb", "import sys; sys.exit(3)")
    place.add("good", "zzz", offers("zzz", "yyy"))
    registry = place.registry()
    assert registry.find(BackendAdapter, "zzz").name == "zzz"
    assert registry.find(BackendAdapter, "yyy").name == "yyy"
    bad, exits, good = registry.plugins()
    assert bad.error == "RuntimeError: no such luck"
    assert "bad_for_test.py" in bad.details
    assert exits.error is not None
    assert bad.state == exits.state == "failed"
    assert good == Plugin("zzz", "good", "1.0", good.adapters)


def test_the_one_that_is_wanted_and_failed_is_named(place: Place) -> None:
    place.add("bad", "mine", "import nowhere_to_be_found")
    with pytest.raises(PluginError, match=r"mine.*bad 1\.0.*nowhere_to_be_found"):
        place.registry().find(BackendAdapter, "mine")


def test_unknown_name_suggests_the_nearest_and_tells_what_failed(place: Place) -> None:
    place.add("bad", "broken", "1/0")
    place.add("good", "template", offers("template"))
    with pytest.raises(UnknownAdapterError) as caught:
        place.registry().find(BackendAdapter, "templte")
    assert "did you mean 'template'?" in str(caught.value)
    assert "broken" in str(caught.value)


def test_a_name_of_another_kind_is_unknown(place: Place) -> None:
    place.add("good", "template", offers("template"))
    with pytest.raises(UnknownAdapterError, match="unknown scheduler"):
        place.registry().find(SchedulerAdapter, "template")


def test_two_distributions_with_the_same_name_are_refused(place: Place) -> None:
    place.add("one", "same", offers("same"))
    place.add("two", "same", offers("same"))
    with pytest.raises(PluginError, match=r"one 1\.0 and two 1\.0"):
        place.registry().find(BackendAdapter, "same")


def test_a_hook_that_returns_something_else_is_a_failure_of_its_plugin(place: Place) -> None:
    place.add(
        "bad",
        "wrong",
        "from rjepa_core.plugins import hookimpl\n"
        "@hookimpl\ndef rjepa_backends():\n    return ['template']\n",
    )
    (plugin,) = place.registry().plugins()
    assert plugin.error is not None
    assert "BackendAdapter descriptors" in plugin.error


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("names = 1", "bad_for_test has no hooks: mark a function such as rjepa_backends()"),
        (
            "@hookimpl\ndef rjepa_backend(): return []",
            "there is no hook rjepa_backend; did you mean",
        ),
        (
            "@hookimpl\ndef rjepa_backends(): return 7",
            "rjepa_backends returned 7; it returns a list",
        ),
        ("@hookimpl\ndef rjepa_stores(): pass", "rjepa_stores returned None; it returns a list"),
    ],
)
def test_mistakes_with_hooks_are_told(place: Place, code: str, says: str) -> None:
    place.add("bad", "bad", f"from rjepa_core.plugins import hookimpl\n{code}\n")
    place.add("good", "zzz", offers("zzz"))
    registry = place.registry()
    bad, good = registry.plugins()
    assert says in (bad.error or "")
    assert (bad.state, good.state) == ("failed", "ok")


def test_another_version_of_the_hooks_is_refused_by_name(place: Place) -> None:
    place.add("newer", "mine", "raise RuntimeError('it was imported')", "rjepa.v3")
    place.add("good", "zzz", offers("zzz"))
    registry = place.registry()
    with pytest.raises(IncompatiblePluginError) as caught:
        registry.find(BackendAdapter, "mine")
    assert str(caught.value) == (
        f"backend 'mine' (newer 1.0) is refused: made for version 3 of the plugin hooks, and rjepa "
        f"{__version__} has version 2: upgrade rjepa, or install an older newer"
    )
    assert isinstance(caught.value, UsageError), "the user can mend it before anything runs"
    assert registry.find(BackendAdapter, "zzz").name == "zzz"
    assert place.loaded() == ["good_for_test"]
    assert {p.entry: p.state for p in registry.plugins()} == {"mine": "refused", "zzz": "ok"}
    with pytest.raises(UnknownAdapterError, match=r"refused: mine; see"):
        registry.find(BackendAdapter, "other")


def test_an_older_version_is_told_to_upgrade(place: Place) -> None:
    place.add("older", "mine", offers("mine"), "rjepa")
    (plugin,) = place.registry().plugins()
    assert plugin.state == "refused"
    assert "made for version 1" in (plugin.error or "")
    assert "upgrade older, or install an older rjepa" in (plugin.error or "")


def test_a_plugin_may_serve_several_versions(place: Place) -> None:
    place.add("both", "mine", offers("mine"), "rjepa", "rjepa.v2")
    place.add("other", "mine", offers("mine"), "rjepa.v3")
    place.add("foreign", "mine", "raise RuntimeError", "rjepa.things")
    registry = place.registry()
    assert registry.find(BackendAdapter, "mine").name == "mine"
    states = sorted((p.distribution, p.state) for p in registry.plugins())
    assert states == [("both", "ok"), ("other", "refused")]


def test_configure_names_the_key(place: Place) -> None:
    place.add("good", "template", offers("template"))
    adapter = place.registry().find(BackendAdapter, "template")
    assert adapter.configure({"depth": "3"}, "backend").depth == 3
    assert adapter.diagnose is None
    with pytest.raises(SettingsError, match=r"^backend\.dpth: .* did you mean backend\.depth"):
        adapter.configure({"dpth": 3}, "backend")


def test_the_built_in_adapters_come_through_the_same_hooks() -> None:
    adapter = Registry().find(SchedulerAdapter, "fixed")
    scheduler = adapter.create(adapter.configure({"batch_size": 3}, "scheduler"))
    assert scheduler.room(InFlight()).rows == 3
