"""What the copy button of a console block copies: its commands alone. A hook of MkDocs.

Material copies what stands in `data-copy` of an element around the code.
"""

from __future__ import annotations

import html
import re
import shlex
from typing import Any

_BLOCK = re.compile(r'<div class="language-console highlight">(.*?)</div>', re.DOTALL)
_PROMPT = re.compile(r"(?:[\w-]+)?\$ ")
_HERE = re.compile(r"<<-?\s*['\"]?(\w+)")


def on_page_content(content: str, **_: Any) -> str:
    return _BLOCK.sub(_with_commands, content)


def _with_commands(found: re.Match[str]) -> str:
    text = html.unescape(re.sub(r"<[^>]+>", "", found[1]))
    copied = html.escape(commands(text)).replace("\n", "&#10;")
    return f'<div class="language-console highlight" data-copy="{copied}">{found[1]}</div>'


def commands(text: str) -> str:
    """Return the command lines of a console block, without prompts, comments and output."""
    kept: list[str] = []
    lines = iter(text.splitlines())
    for line in lines:
        if prompt := _PROMPT.match(line):
            command = line[prompt.end() :]
            while _goes_on(command) and (more := next(lines, None)) is not None:
                command += f"\n{more}"
            kept.append(command)
    return "\n".join(kept)


def _goes_on(command: str) -> bool:
    if command.endswith("\\"):
        return True
    here = _HERE.search(command.splitlines()[0])
    if here:
        return command.splitlines()[-1] != here[1]
    try:
        shlex.split(command, comments=True)
    except ValueError:
        return True
    return False
