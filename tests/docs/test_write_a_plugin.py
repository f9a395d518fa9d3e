"""How to write a plugin: the example of the page is found, tested and used."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from pages import Command, File, Page, check_shown, parts, run_command

PAGE = Page("how-to/write-a-plugin.md")


def test_the_example_is_found_tested_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is installed by pip, without the seconds that pip takes; the tests are its own."""
    monkeypatch.chdir(tmp_path)
    files = {part.path: part.text for part in parts(PAGE) if isinstance(part, File)}
    for name, text in files.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)
    folder = tmp_path / "rjepa-caseless"
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    [(group, entries)] = project["entry-points"].items()
    info = folder / "rjepa_caseless-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    lines = [f"[{group}]", *(f"{name} = {module}" for name, module in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(folder))

    install, *commands = [part for part in parts(PAGE) if isinstance(part, Command)]
    assert install.line == "pip install --quiet ./rjepa-caseless"
    for command in commands:
        if command.line.startswith("pytest"):
            words = [sys.executable, "-m", *command.line.split()]
            paths = {**os.environ, "PYTHONPATH": str(folder)}
            subprocess.run(words, env=paths, check=True, timeout=300)
        else:
            check_shown(command, run_command(command, {}))
    PAGE.finish()
