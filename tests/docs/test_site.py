"""The site: what its search must find is on its pages, and it is built without a network."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pages import DOCS

import rjepa_core
from rjepa_core import settings

ROOT = DOCS.parent


@pytest.mark.slow
def test_the_site_is_built_whole_and_asks_nobody(tmp_path: Path) -> None:
    no_network = {f"{kind}_proxy": "http://127.0.0.1:9" for kind in ("http", "https")}
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env={**os.environ, **no_network, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr

    pages = {p: p.read_text() for p in (tmp_path / "site").rglob("*.html")}
    loaded = r'<(?:script|img|iframe)[^>]+src="(?:https?:)?//|<link[^>]+href="(?:https?:)?//'
    assert [p.name for p, text in pages.items() if re.search(loaded, text)] == []

    api = "".join(text for p, text in pages.items() if p.parent.name == "api")
    # `hookimpl` is pluggy's own; the page about hooks has it.
    for name in set(rjepa_core.__all__) - {"hookimpl"}:
        assert re.search(rf'id="rjepa_core\.(?:\w+\.)*{name}"', api), name
    for name in settings.__all__:
        assert f'id="rjepa_core.settings.{name}"' in api or not name.endswith("Settings"), name

    found = json.loads((tmp_path / "site" / "search" / "search_index.json").read_text())["docs"]
    titles = {entry["title"] for entry in found}
    assert {"How do I resume?", "Which layer?", "What is in a record?"} <= titles


def test_questions_that_people_ask_have_an_answer() -> None:
    text = (DOCS / "faq.md").read_text()
    for question in ("How do I resume?", "Which layer?", "What is in a record?"):
        assert f"## {question}\n" in text
    assert "No module named 'rjepa'" in text
