"""The tutorial of a backend plugin, followed word for word."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from pages import Command, File, Page, follow, parts

ROOT = Path(__file__).parents[2]
PAGE = Page("tutorial/a-backend-plugin.md")
# Those that make an environment.
FIRST = 3
TESTS = "test_parrot.py"


def test_the_page_is_one_path() -> None:
    found = list(parts(PAGE))
    files = [part.path for part in found if isinstance(part, File)]
    assert files == [f"rjepa-parrot/{n}" for n in ("pyproject.toml", "rjepa_parrot.py", TESTS)]
    commands = [part.line for part in found if isinstance(part, Command)]
    assert commands[0] == "python3 -m venv venv"
    assert commands[FIRST - 1].endswith("./rjepa[testing]'")
    assert sum(command.startswith("pytest") for command in commands) == 3


def test_followed_with_what_is_installed(tmp_path: Path) -> None:
    """All of it but the making of an environment; the plugin goes into a folder of its own."""
    site = tmp_path / "site"
    scripts = sysconfig.get_path("scripts")
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([scripts, os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")])),
        "PIP_TARGET": str(site),
        "PIP_UPGRADE": "1",
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",
        "PIP_NO_INDEX": "1",
    }
    given = follow(PAGE, tmp_path, environment, leave_out=FIRST)
    assert len(given) >= 8
    PAGE.finish()
    assert (site / "rjepa_parrot.py").exists()


@pytest.mark.slow
def test_followed_by_a_stranger(tmp_path: Path) -> None:
    """All of it, from a fresh environment, with the tracked files of this checkout."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        copy = tmp_path / "rjepa" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((ROOT / name).read_bytes())
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    base = Path(sys.base_prefix) / "bin"
    kept["PATH"] = os.pathsep.join([str(base), "/usr/local/bin", "/usr/bin", "/bin"])
    given = follow(PAGE, tmp_path, kept)
    assert given[0].line == "python3 -m venv venv"
    assert (tmp_path / "venv" / "bin" / "rjepa-cli").exists()
