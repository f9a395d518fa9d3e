"""The promises of every plugin, whatever it offers, as tests that its own tests inherit.

    class TestMyPlugin(PluginContract):
        entry = "mine"

The plugin must be installed. Each failure names the broken promise.
"""

from __future__ import annotations

from typing import ClassVar

import attrs
import pytest

from ..errors import SettingsError
from ..plugins import GROUP, KINDS, Adapter, Plugin, Registry
from .promises import raises


class PluginContract:
    """Inherit and name the entry point.

    Attributes:
        entry: name of the plugin's entry point in the group `rjepa_core.plugins.GROUP`.
    """

    entry: ClassVar[str]

    @pytest.fixture
    def plugin(self) -> Plugin:
        found = [plugin for plugin in Registry().plugins() if plugin.entry == self.entry]
        assert found, (
            f"no entry point named {self.entry!r} in the group {GROUP}: install the plugin, and "
            f'look at [project.entry-points."{GROUP}"] in its pyproject.toml'
        )
        assert len(found) == 1, (
            f"two distributions have a plugin {self.entry!r}: "
            f"{' and '.join(plugin.origin for plugin in found)}"
        )
        return found[0]

    def test_it_loads(self, plugin: Plugin) -> None:
        assert plugin.state == "ok", f"the plugin is {plugin.state}: {plugin.error}"
        assert plugin.adapters, "a plugin offers an adapter"

    def test_its_adapters_are_found_by_name(self, plugin: Plugin) -> None:
        registry = Registry()
        for adapter in plugin.adapters:
            name = adapter.name
            plain = len(name) > 1 and name.replace("-", "").replace("_", "").isalnum()
            assert plain, (
                f"{name!r}: a name is two letters, digits, - or _, or more, so that it can stand "
                "in `NAME:PLACE`"
            )
            assert adapter.summary, f"{name}: a summary tells `rjepa-cli plugins` what it is"
            assert "\n" not in adapter.summary, f"{name}: a summary is one line"
            found = registry.find(_kind(adapter), name)
            assert found.name == name, f"{name}: it is found by its name"

    def test_its_settings_have_defaults_and_descriptions(self, plugin: Plugin) -> None:
        for adapter in plugin.adapters:
            cls = adapter.settings
            assert attrs.has(cls), f"{adapter.name}: settings are an attrs class: {cls!r}"
            for field in attrs.fields(cls):
                where = f"{adapter.name}: setting {field.name}"
                assert field.default is not attrs.NOTHING, f"{where} has a default"
                assert f"{field.name}:" in (cls.__doc__ or "") or f"{field.name}," in (
                    cls.__doc__ or ""
                ), f"{where} is described under `Attributes:` in the docstring of {cls.__name__}"
            adapter.configure({}, "section")
            with raises(SettingsError, f"{adapter.name}: an unknown setting is refused"):
                adapter.configure({"no_such_setting": 1}, "section")


def _kind(adapter: Adapter) -> type[Adapter]:
    return next(kind for kind in KINDS if isinstance(adapter, kind))
