"""The how-to page on grades, run as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from pages import Page

from rjepa_cli.main import main

PAGE = Page("how-to/grade-answers.md")


def test_the_page_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    [solutions], [shown], [code] = (PAGE.take(kind) for kind in ("json", "console", "python"))
    Path("solutions.jsonl").write_text(solutions)
    extract, grade, *output = shown.strip().splitlines()
    for line in (extract, grade):
        result = CliRunner().invoke(main, line.removeprefix("$ rjepa-cli ").split())
        assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == output
    made: dict[str, object] = {}
    exec(code, made)
    assert getattr(made["summary"], "right", None) == 3
    PAGE.finish()
