"""Files that the documentation and docstrings name are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Made by the reader of a page, who is told how.
OF_THE_READER = {
    "night.py",
    "rjepa_parrot.py",
    "test_parrot.py",
    "rjepa_caseless.py",
    "test_caseless.py",
}
FOLDERS = ("src", "plugins", "tests", "benchmarks", "docs")
THERE = {path.name for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")}
PAGES = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "src").rglob("*.py"),
    *(ROOT / "plugins").glob("*/src/**/*.py"),
]
# What changed and what was measured stay as they were written.
HISTORY = {"CHANGELOG.md", "benchmarks.md"}


def test_files_that_are_named_exist() -> None:
    missing = {}
    for page in PAGES:
        if page.name in HISTORY or "benchmarks" in page.parts:
            continue
        named = set(re.findall(r"([\w.-]*\w\.py)\b", page.read_text()))
        if gone := sorted(named - THERE - OF_THE_READER):
            missing[str(page.relative_to(ROOT))] = gone
    assert missing == {}
