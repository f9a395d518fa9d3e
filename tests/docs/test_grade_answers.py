"""The how-to page on grades, run as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from rjepa_cli.main import main

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "grade-answers.md"


def test_the_page_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"```(\w+)\n(.*?)```", text, re.S)
    [solutions] = [block for kind, block in blocks if kind == "json"]
    [shown] = [block for kind, block in blocks if kind == "console" and "rjepa-cli grade" in block]
    [code] = [block for kind, block in blocks if kind == "python"]
    Path("solutions.jsonl").write_text(solutions)
    extract, grade, *output = shown.strip().splitlines()
    for line in (extract, grade):
        result = CliRunner().invoke(main, line.removeprefix("$ rjepa-cli ").split())
        assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == output
    made: dict[str, object] = {}
    exec(code, made)
    assert getattr(made["summary"], "right", None) == 3
