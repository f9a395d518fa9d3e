"""A page of the documentation, run: its files are written and its commands given to a shell."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"(?:#!.*\n)?# ([\w-]+/\S+)(?: .*)?\n")
ELISION = "…"


@attrs.frozen
class File:
    """A file of the page; its first comment names it."""

    path: str
    text: str


@attrs.frozen
class Command:
    """A command of the page, and the output that the page shows behind it."""

    line: str
    shown: tuple[str, ...]


def parts(page: str) -> Iterator[File | Command]:
    """What a page tells its reader to do, in order."""
    for language, text in _BLOCK.findall(page):
        if language == "console":
            for piece in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                line, *shown = piece.splitlines()
                yield Command(line, tuple(shown))
        elif found := _NAME.match(text):
            yield File(found[1], text)


def follow(
    page: str, place: Path, environment: Mapping[str, str], leave_out: int = 0
) -> list[Command]:
    """Do what a page says in the folder `place`; the commands that were given.

    Args:
        leave_out: so many of its first commands, and nothing else.

    Raises:
        AssertionError: a command fails, or prints something else than the page shows.
    """
    given: list[Command] = []
    # Activating an environment lasts, as it would in a reader's shell.
    activated = ""
    for part in parts(page):
        if isinstance(part, File):
            path = place / part.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(part.text, encoding="utf-8")
            continue
        if leave_out:
            leave_out -= 1
            continue
        given.append(part)
        if part.line.startswith(". "):
            activated += f"{part.line} && "
            continue
        done = subprocess.run(
            ["bash", "-c", activated + part.line],
            cwd=place,
            env=dict(environment),
            capture_output=True,
            text=True,
            timeout=1500,
        )
        assert done.returncode == 0, f"$ {part.line}\n{done.stdout}{done.stderr}"
        check_shown(part, done.stdout)
    return given


def check_shown(command: Command, printed: str) -> None:
    """What a page shows must be what was printed; `…` stands for anything, also for lines."""
    text = "\n".join(command.shown)
    pattern = re.escape(text).replace(re.escape(ELISION), "(?s:.*?)").replace(r"\ ", " ")
    found = re.search(pattern.replace(" ", r"[ ]") or "", printed)
    assert found, f"$ {command.line}\nthe page shows:\n{text}\nprinted was:\n{printed}"
