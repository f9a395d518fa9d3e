"""`rjepa-cli doctor`."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from importlib.metadata import version

import psutil
from click.testing import Result


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
