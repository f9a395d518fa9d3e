"""How the program is named in the commands that it prints."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from rjepa_cli.errors import resume_command
from rjepa_cli.program import program
from rjepa_cli.wording import Wording

from .conftest import command, in_own_process


@pytest.fixture
def installed(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment below the working directory, which is not activated."""
    place = home / ".venv" / "bin"
    place.mkdir(parents=True)
    (place / "rjepa-cli").touch(mode=0o755)
    monkeypatch.setenv("PATH", "/nowhere")
    return place


@pytest.mark.parametrize("called", [".venv/bin/rjepa-cli", "{home}/.venv/bin/rjepa-cli"])
def test_not_on_path_as_it_was_called(
    installed: Path, home: Path, monkeypatch: pytest.MonkeyPatch, called: str
) -> None:
    monkeypatch.setattr(sys, "argv", [called.format(home=home), "demo"])
    assert program() == ".venv/bin/rjepa-cli"
    assert resume_command(["--store", "s"]) == (".venv/bin/rjepa-cli extract --store s --resume")
    assert Wording()("damaged; repair the store") == (
        "damaged; repair the store (.venv/bin/rjepa-cli store repair STORE NEW_STORE)"
    )
    away = home / "away"
    away.mkdir()
    monkeypatch.chdir(away)
    monkeypatch.setattr(sys, "argv", [str(installed / "rjepa-cli"), "demo"])
    assert program() == str(installed / "rjepa-cli")


def test_on_path_its_name(installed: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(installed / "rjepa-cli"), "demo"])
    monkeypatch.setenv("PATH", str(installed))
    assert program() == "rjepa-cli"
    other = home / "other"
    other.mkdir()
    (other / "rjepa-cli").touch(mode=0o755)
    monkeypatch.setenv("PATH", os.pathsep.join(map(str, (other, installed))))
    assert program() == ".venv/bin/rjepa-cli", "PATH finds another installation"


def test_a_folder_with_a_space_is_quoted(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["my env/bin/rjepa-cli"])
    assert program() == "'my env/bin/rjepa-cli'"


def test_called_from_python_its_name() -> None:
    assert program() == "rjepa-cli"


def test_as_a_module(home: Path) -> None:
    done = in_own_process("extract", "--problems", "demo", "--backend", "seeded", "--model", "m",
                          "--store", "s", "--limit", "1")  # fmt: skip
    assert f"look at it: {' '.join(command('show', 's'))}" in done.stdout
