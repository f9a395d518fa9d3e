"""The site: what its search must find is on its pages, and it is built without a network."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest
from browsing import go, needs_browser, open_browser, wait_for
from pages import DOCS

import rjepa_core
from rjepa_core import settings

ROOT = DOCS.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site, with nothing to be fetched from anywhere."""
    folder = tmp_path_factory.mktemp("built") / "site"
    no_network = {f"{kind}_proxy": "http://127.0.0.1:9" for kind in ("http", "https")}
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, **no_network, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


@pytest.mark.slow
def test_the_site_is_built_whole_and_asks_nobody(site: Path) -> None:
    pages = {p: p.read_text() for p in site.rglob("*.html")}
    loaded = r'<(?:script|img|iframe)[^>]+src="(?:https?:)?//|<link[^>]+href="(?:https?:)?//'
    assert [p.name for p, text in pages.items() if re.search(loaded, text)] == []

    api = "".join(text for p, text in pages.items() if p.parent.name == "api")
    # `hookimpl` is pluggy's own; the page about hooks has it.
    for name in set(rjepa_core.__all__) - {"hookimpl"}:
        assert re.search(rf'id="rjepa_core\.(?:\w+\.)*{name}"', api), name
    for name in settings.__all__:
        assert f'id="rjepa_core.settings.{name}"' in api or not name.endswith("Settings"), name

    found = json.loads((site / "search" / "search_index.json").read_text())["docs"]
    titles = {entry["title"] for entry in found}
    assert {"How do I resume?", "Which layer?", "What is in a record?"} <= titles


# What is looked for, and the page that must be among the first results.
SOUGHT = {
    "store_dtype": "reference/settings.html",
    "encoding.store_dtype": "reference/settings.html",
    "max_new_tokens": "reference/settings.html",
    "LatentStore": "reference/hooks.html",
    **dict.fromkeys(
        (
            "how do I resume",
            "vulnerability",
            "release notes",
            "upload",
            "publish",
            "ENOSPC",
            "no space left",
            "gigabytes",
            "DataFrame",
            "interrupted",
            "own store",
        ),
        "faq.html",
    ),
}
FOUND = (
    """return [...document.querySelectorAll('.md-search-result__link')].map(it => it.pathname)"""
)


@pytest.mark.slow
@needs_browser
def test_the_search_finds_what_is_asked_and_a_button_copies_commands(site: Path) -> None:
    from selenium.webdriver import ActionChains

    handler = partial(SimpleHTTPRequestHandler, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, open_browser() as browser:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        for query, page in SOUGHT.items():
            go(browser, f"{address}/index.html?q={quote(query)}")
            for _ in range(100):
                if found := browser.execute_script(FOUND):
                    break
                time.sleep(0.1)
            assert f"/{page}" in list(dict.fromkeys(found))[:3], query

        go(browser, f"{address}/tutorial/first-latents.html")
        browser.execute_script(
            "document.addEventListener('copy', it => { window.copied = it.target.value })"
        )
        button = wait_for(browser, ".language-console .md-code__button", 3)[1]
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
        # A browser copies for nobody but a person: the mouse goes there and clicks.
        ActionChains(browser).move_to_element(button).click().perform()
        copied = browser.execute_script("return window.copied")
        assert copied.splitlines()[-1] == "rjepa-cli show latents demo-01"
        assert "$" not in copied
        server.shutdown()


def test_questions_that_people_ask_have_an_answer() -> None:
    text = (DOCS / "faq.md").read_text()
    for question in ("How do I resume?", "Which layer?", "What is in a record?"):
        assert f"## {question}\n" in text
    assert "No module named 'rjepa'" in text
