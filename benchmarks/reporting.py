"""Write what a benchmark measured into `docs/benchmarks.md`, each in a section of its own."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
_HEAD = """# Benchmarks

Every figure on this page was written by the script that its section names; run the script to
measure anew.
"""


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def machine(device: str = "cpu") -> str:
    """One line on where it was measured."""
    parts = [f"{os.cpu_count()} cores", platform.machine(), f"Python {platform.python_version()}"]
    parts += [f"{name} {version(name)}" for name in ("torch", "transformers")]
    if device.startswith("cuda"):
        import torch

        parts.insert(0, torch.cuda.get_device_name(0))
    return ", ".join(parts)


def write_section(
    name: str, title: str, text: str, command: str, device: str = "cpu", where: str = ""
) -> None:
    """Put a section into the page, in place of the one of the same name; `where` says when and
    where it was measured, if that was not today and here."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    where = where or f"{date.today().isoformat()}; {machine(device)}"
    body = f"{begin}\n## {title}\n\n{text.strip()}\n\n`{command}`, {where}.\n{end}\n"
    page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else _HEAD
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end) + "\n", re.S)
    if pattern.search(page):
        page = pattern.sub(lambda match: body, page)
    else:
        page = page.rstrip() + "\n\n" + body
    PAGE.write_text(page, encoding="utf-8")
    print(f"\n{text.strip()}\n\nwritten into {PAGE.relative_to(PAGE.parents[1])}")
