"""Every block of code of the tutorials and how-tos is run by a test, or says why not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pages import DOCS, Page, parts

ROOT = DOCS.parent
PAGES = sorted(
    str(path.relative_to(DOCS))
    for folder in ("tutorial", "how-to")
    for path in (DOCS / folder).glob("*.md")
)
# What runs a page ends with `finish`, which looks at each of its blocks.
RUN = {
    name
    for path in Path(__file__).parent.glob("test_*.py")
    if ".finish()" in path.read_text()
    for name in re.findall(r'Page\("([^"]+)"\)', path.read_text())
}


@pytest.mark.parametrize("name", PAGES)
def test_blocks_are_run_or_say_why_not(name: str) -> None:
    page = Page(name)
    if name not in RUN:
        page.finish()
    for block in page.blocks:
        if block.elsewhere:
            assert Path(name).name in (ROOT / block.elsewhere).read_text(), block


def test_every_block_says_its_language() -> None:
    """On all pages: without one a block is not highlighted, nor copied as its commands."""
    without = []
    for path in DOCS.rglob("*.md"):
        inside = False
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if line.lstrip().startswith("```"):
                if not inside and line.strip() == "```":
                    without.append(f"{path.relative_to(DOCS)}, line {number}")
                inside = not inside
    assert without == []


def test_a_block_that_is_neither_is_found(tmp_path: Path) -> None:
    marked = "<!-- not run: it needs a GPU -->\n```console\n$ true\n```\n"
    (tmp_path / "page.md").write_text(f"{marked}\n```python\n1\n```\n\n```\n$ plain\n```\n")
    page = Page("page.md", tmp_path)
    assert list(parts(page)) == []
    assert page.take("python") == ["1\n"]
    with pytest.raises(AssertionError, match=r"page\.md: not run, .* line 10$"):
        page.finish()
