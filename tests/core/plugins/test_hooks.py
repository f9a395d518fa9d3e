"""The reference of the hooks is what the hook specifications give, and every port has its suite."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from rjepa_core.plugins.hooks import KIND_HOOKS, KINDS

PLACE = Path(__file__).parents[3] / "docs" / "reference"


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hooks_reference", PLACE / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_is_current(writer: ModuleType) -> None:
    assert (PLACE / "hooks.md").read_text(encoding="utf-8") == writer.render(), (
        "the hooks have changed: run `python docs/reference/hooks.py`"
    )


def test_every_kind_has_a_port_and_a_suite(writer: ModuleType) -> None:
    assert set(writer.PORTS) == set(KINDS.values())
    for kind, (ports, suites) in writer.PORTS.items():
        # A pretrained run is opened by the adapter of a world model.
        assert ports or kind == "pretrained_run"
        for suite in suites:
            module, _, name = suite.partition(".")
            contract = getattr(importlib.import_module(f"rjepa_core.testing.{module}"), name)
            assert [n for n in dir(contract) if n.startswith("test_")]


def test_every_hook_and_field_is_there(writer: ModuleType) -> None:
    page = writer.render()
    for hook, descriptor in KIND_HOOKS.items():
        assert f"## `{hook}`" in page
        assert f"def {hook}() -> Iterable[{descriptor.__name__}]" in page
    assert "| `diagnose` |" in page
    assert "KeyError" in page, "what a port raises is told"
