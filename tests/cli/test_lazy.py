"""What starting up loads: no engine, no adapter, no plugin."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import in_own_process, install_plugin

HEAVY = {"torch", "transformers", "lmdb", "datasets", "pyarrow", "pandas", "awq"}


def imported(*arguments: str) -> set[str]:
    """Top-level names of all modules that a call of Python imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


def test_importing_the_core() -> None:
    names = imported("-c", "import rjepa_core")
    assert "numpy" in names, "the test sees nothing"
    assert not names & (HEAVY | {"click", "rich", "yaml", "pytest", "hypothesis", "rjepa_adapters"})


@pytest.mark.parametrize("arguments", [["--help"], []])
def test_help(arguments: list[str]) -> None:
    names = imported("-m", "rjepa_cli", *arguments)
    assert "click" in names, "the test sees nothing"
    assert not names & (HEAVY | {"numpy", "ml_dtypes", "rich", "rjepa_core", "rjepa_adapters"})


def test_help_of_extract_loads_no_engine() -> None:
    names = imported("-m", "rjepa_cli", "extract", "--help")
    assert "rjepa_adapters" in names
    assert not names & HEAVY


@pytest.mark.parametrize("name", ["verify", "rm", "export", "import", "merge"])
def test_help_of_the_store_commands_loads_no_engine(name: str) -> None:
    names = imported("-m", "rjepa_cli", "store", name, "--help")
    assert "rjepa_core" in names, "the test sees nothing"
    assert not names & (HEAVY | {"rich", "rjepa_adapters"})


def test_version_loads_no_engine() -> None:
    assert not imported("-m", "rjepa_cli", "--version") & HEAVY


def test_help_loads_no_plugin(tmp_path: Path) -> None:
    install_plugin(tmp_path, "noisy", "print('loaded'); raise RuntimeError('no')")
    assert "loaded" not in in_own_process("--help", path=tmp_path).stdout
    assert "loaded" not in in_own_process("extract", "--help", path=tmp_path).stdout
