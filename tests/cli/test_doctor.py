"""`rjepa-cli doctor`."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from importlib.metadata import metadata, version
from pathlib import Path

import psutil
import pytest
from click.testing import Result

from rjepa_adapters.optional import install_extra, install_plugin
from rjepa_cli import offers

PLUGINS = Path(__file__).parents[2] / "plugins"


def test_facts(invoke: Callable[..., Result]) -> None:
    facts = json.loads(invoke("doctor", "--json").stdout)
    assert facts["python"] == platform.python_version()
    assert facts["versions"]["torch"] == version("torch")
    assert set(facts["versions"]) >= {"transformers", "autoawq", "gptqmodel", "gguf", "pyarrow"}
    cpu = facts["devices"][0]
    assert cpu["name"] == "cpu"
    assert 0 < cpu["free_bytes"] <= cpu["limit_bytes"] <= psutil.virtual_memory().total
    assert facts["threads"] >= 1
    assert "awq" in facts["backends"]["huggingface"]


def test_lines(invoke: Callable[..., Result]) -> None:
    shown = invoke("doctor")
    assert shown.exit_code == 0
    assert f"torch         {version('torch')}" in shown.stdout
    assert "device        cpu" in shown.stdout


def test_every_extra_and_plugin_is_listed_with_how_to_get_it() -> None:
    extras = {offer.name: offer for offer in offers.extras()}
    assert set(extras) == set(metadata("rjepa").get_all("Provides-Extra") or ())
    assert all(offer.what and f"[{name}]" in offer.get for name, offer in extras.items())
    plugins = {offer.name: offer for offer in offers.plugins()}
    here = {folder.name for folder in PLUGINS.iterdir() if (folder / "pyproject.toml").is_file()}
    assert here - {"template"} <= set(plugins)
    assert all(offer.what and name in offer.get for name, offer in plugins.items())


def test_what_is_missing(monkeypatch: pytest.MonkeyPatch, invoke: Callable[..., Result]) -> None:
    absent = {"math-verify", "gguf", "rjepa-ray"}
    monkeypatch.setattr(
        offers, "version_of", lambda name: None if name in absent else "1.0", raising=True
    )
    missing = {offer.name: offer.missing for offer in offers.extras() if offer.missing}
    assert missing["grade"] == ("math-verify",)
    assert missing["all"] == missing["dev"] == ("gguf", "math-verify")
    shown = invoke("doctor").stdout
    assert "extra         dev:" not in shown
    assert "extra         dev:" in invoke("doctor", "--verbose").stdout
    assert "extra         grade: the grader math; lacks math-verify\n" in shown
    assert f"                {install_extra('grade')}\n" in shown
    assert "plugin        rjepa-prefect: runs as Prefect flows, queued; 1.0\n" in shown
    assert f"                {install_plugin('rjepa-ray')}\n" in shown
