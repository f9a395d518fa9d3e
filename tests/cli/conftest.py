"""The command line as a user meets it: in this process where that is enough, else in its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from rjepa_cli.main import main
from rjepa_core.plugins import GROUP

Invoke = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with a file of problems in it."""
    monkeypatch.chdir(tmp_path)
    write_problems(tmp_path / "problems.jsonl", 10)
    return tmp_path


@pytest.fixture
def invoke(home: Path) -> Invoke:
    """Run `rjepa-cli` in this process, in `home`."""

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, list(arguments))

    return run


@pytest.fixture
def extract(invoke: Invoke) -> Invoke:
    """`rjepa-cli extract` with the seeded backend into the store `s`."""

    def run(*arguments: str, problems: Sequence[str] = ("--problems", "problems.jsonl")) -> Result:
        usual = ["--model", "m", "--backend", "seeded", *problems]
        store = [] if "--store" in arguments else ["--store", "s"]
        return invoke("extract", *usual, *store, *arguments)

    return run


@pytest.fixture
def store(extract: Invoke) -> str:
    """Ten problems, two samples each."""
    assert extract("--samples", "2", "--temperature", "0.3").exit_code == 0
    return "s"


@pytest.fixture
def failing(home: Path, extract: Invoke) -> str:
    """Two records, three failures."""
    rows = [{"id": f"f{i}", "question": f"{i}?", "solution": "#### 7"} for i in range(3)]
    rows += [{"id": f"ok{i}", "question": "and?", "solution": "Step 1: 7."} for i in range(2)]
    (home / "given.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = extract("--store", "failing", problems=("--traces", "given.jsonl"))
    assert result.exit_code == 3
    return "failing"


def write_problems(path: Path, count: int, **fields: Any) -> None:
    rows = [
        {"id": f"p{i}", "question": f"What is {i} plus 1?", "answer": str(i + 1), **fields}
        for i in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "rjepa_cli", *arguments]


def in_own_process(*arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `rjepa-cli` as a user would; `path` is searched for modules and distributions."""
    environment = dict(os.environ)
    if path is not None:
        environment["PYTHONPATH"] = os.pathsep.join(
            filter(None, [str(path), environment.get("PYTHONPATH")])
        )
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, env=environment, timeout=120
    )


def install_plugin(path: Path, name: str, code: str, group: str = GROUP) -> None:
    """A distribution `NAME-plugin 1.0` under `path` whose one module is behind entry point NAME."""
    (path / f"{name}_plugin.py").write_text(code)
    info = path / f"{name}_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {name}_plugin\n")


def only_line(text: str) -> str:
    """The one error line of a command's stderr."""
    lines = [line for line in text.splitlines() if line.startswith("rjepa-cli: error:")]
    assert len(lines) == 1, text
    assert text.rstrip().endswith(lines[0]), f"something follows the error line:\n{text}"
    assert "Traceback" not in text
    return lines[0].removeprefix("rjepa-cli: error: ")
