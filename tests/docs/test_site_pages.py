"""Pages and links of the site, looked at by MkDocs itself, without the API reference."""

from __future__ import annotations

import html
import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from mkdocs.config import load_config
from mkdocs.structure.files import get_files, set_exclusions
from mkdocs.structure.nav import get_navigation
from pages import DOCS

ROOT = DOCS.parent


@pytest.fixture(scope="module")
def site() -> dict[str, str]:
    """The site's pages by address, with all that MkDocs has to say of pages and links."""
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("mkdocs")
    logger.addHandler(handler)
    try:
        pages = _read()
    finally:
        logger.removeHandler(handler)
    return {**pages, "said": "\n".join(said)}


def _read() -> dict[str, str]:
    config = load_config(str(ROOT / "mkdocs.yml"))
    hook: Any = config.hooks["docs/site/repository.py"]
    copying: Any = config.hooks["docs/site/console.py"]
    hook.on_config(config)
    files = config.plugins.on_files(get_files(config), config=config)
    set_exclusions(files, config)
    get_navigation(files, config)
    read: list[Any] = [file.page for file in files.documentation_pages()]
    for page in read:
        page.read_source(config)
        page.markdown = hook.on_page_markdown(page.markdown, page=page)
        page.render(config, files)
        page.content = copying.on_page_content(page.content)
    for page in read:
        page.validate_anchor_links(files=files, log_level=logging.WARNING)
    nothing = [
        page.url for page in read if not page.meta["description"] and "/api/" not in page.url
    ]
    assert nothing == [], "pages without a description"
    return {page.url: page.content for page in read} | {"copyright": str(config.copyright)}


def test_every_page_is_in_the_menu_and_every_link_leads_somewhere(site: dict[str, str]) -> None:
    assert site["said"] == ""


def test_no_link_leaves_the_site_by_a_relative_way(site: dict[str, str]) -> None:
    """MkDocs follows links to its pages; those to other files it cannot know."""
    addresses = {url for url in site if url.endswith(".html")}
    gone = []
    for url in addresses:
        for link in re.findall(r'<a [^>]*href="([^"#]+)', site[url]):
            if "://" in link or link.startswith("mailto:"):
                continue
            target = (Path("/") / url).parent / link
            found = target.resolve().relative_to("/")
            if str(found) not in addresses and not (DOCS / found).is_file():
                gone.append(f"{url}: {link}")
    assert gone == []


def test_no_markdown_is_left_on_a_page(site: dict[str, str]) -> None:
    """Rows beside their table, escapes within code, links named after files."""
    raw = {
        url: found[0]
        for url, text in site.items()
        if (found := re.search(r"<code>[^<]*\\\||<p>\| |<p>[^<]*\|$|>[\w/-]+\.md</a>", text))
    }
    assert raw == {}


def test_files_of_the_repository_are_pages(site: dict[str, str]) -> None:
    assert "Keep a Changelog" in site["changelog.html"]
    assert 'href="security.html"' in site["contributing.html"]
    assert 'href="how-to/serve.html#let-others-reach-it"' in site["security.html"]
    assert 'href="../explanation/world-model.html#' in site["reference/gsm8k-smollm2.html"]
    from rjepa_core import __version__

    assert __version__ in site["copyright"]


def test_the_copy_button_gives_commands_alone(site: dict[str, str]) -> None:
    copied = [
        html.unescape(text)
        for url, page in site.items()
        for text in re.findall(r'<div class="language-console highlight" data-copy="([^"]*)"', page)
    ]
    assert len(copied) > 50
    assert [text for text in copied if re.search(r"^(?:\w+)?\$ ", text, re.MULTILINE)] == []
    assert "rjepa-cli show latents\nrjepa-cli show latents demo-01" in "".join(copied)
    hook: Any = load_config(str(ROOT / "mkdocs.yml")).hooks["docs/site/console.py"]
    page = "$ cat <<'END' | sh\nls\n$ ls\nEND\n$ say 'a\n b'   # it's\nit says\n(.venv) $ no\n"
    assert hook.commands(page) == "cat <<'END' | sh\nls\n$ ls\nEND\nsay 'a\n b'   # it's"
    assert hook.commands("x$ ls \\\n  -l\ntotal 0\n") == "ls \\\n  -l"


@pytest.mark.parametrize("link", ["gone.md", "page.md#gone", ""])
def test_a_broken_link_makes_the_build_fail(tmp_path: Path, link: str) -> None:
    """With the command of `make docs`, and what `mkdocs.yml` says of links."""
    command = re.search(r"-m (mkdocs build .*)", (ROOT / "Makefile").read_text())
    assert command
    ours = re.search(r"^validation:\n(?:  .*\n)+", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert ours
    config = {"site_name": "x", "theme": {"name": None, "custom_dir": "theme"}, "plugins": []}
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(config) + ours[0])
    for folder in ("docs", "theme"):
        (tmp_path / folder).mkdir()
    (tmp_path / "theme" / "main.html").write_text("{{ page.content }}")
    (tmp_path / "docs" / "page.md").write_text(f"# Page\n\n[there]({link})\n" if link else "# Page")
    done = subprocess.run([sys.executable, "-m", *command[1].split()], cwd=tmp_path)
    assert (done.returncode == 0) == (link == "")
