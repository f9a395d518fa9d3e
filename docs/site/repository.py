"""Files of the repository as pages of the site, the version below each page, and descriptions.

A hook of MkDocs.

Links are written as a forge resolves them, from file to file; here they lead from page to page.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[2]
PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "plugins/rjepa-smollm2-gsm8k/README.md": "reference/gsm8k-smollm2.md",
    "plugins/template/README.md": "how-to/template.md",
}
_FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")


def on_config(config: Any) -> Any:
    version = (ROOT / "src/rjepa_core/version.py").read_text(encoding="utf-8").split('"')[-2]
    config.copyright = f"R-JEPA {version}, MIT licence"
    return config


def on_files(files: Any, config: Any) -> Any:
    for source, uri in PAGES.items():
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    source = Path(page.file.abs_src_path).relative_to(ROOT).as_posix()
    page.meta.setdefault("description", described(markdown))
    parts = _FENCE.split(markdown)
    return "".join(
        part if i % 2 else _LINK.sub(lambda it: _link(it, source, page.file.src_uri), part)
        for i, part in enumerate(parts)
    )


def described(markdown: str) -> str:
    """Return the first sentence of a page's first paragraph, as plain text."""
    for paragraph in re.split(r"\n\s*\n", _FENCE.sub("", markdown)):
        if re.match(r"[A-Za-z*`\[]", paragraph):
            plain = " ".join(re.sub(r"[*`]", "", _LINK.sub(r"\1", paragraph)).split())
            return re.split(r"(?<=[\w)][.?])\s", plain)[0].rstrip(":")
    return ""


def _link(found: re.Match[str], source: str, uri: str) -> str:
    text, link = found.groups()
    place, mark, anchor = link.partition("#")
    if ":" in place or not place:
        return found[0]
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), place))
    if target == "README.md":
        target = "docs/index.md"
    if target not in PAGES and not target.startswith("docs/"):
        # It is no page; a page of the site itself must not link to it, which the build says.
        return text if source in PAGES else found[0]
    page = PAGES.get(target, target.removeprefix("docs/"))
    return f"[{text}]({posixpath.relpath(page, posixpath.dirname(uri) or '.')}{mark}{anchor})"
