"""A page of the documentation, run: its files are written and its commands given to a shell."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs
from click.testing import CliRunner

from rjepa_cli.main import main

DOCS = Path(__file__).parents[2] / "docs"
_MARK = r"<!-- (?:not run: (?P<reason>.+?)|run in (?P<elsewhere>\S+)) -->\n+"
_BLOCK = re.compile(rf"^(?:{_MARK})?```(?P<language>\w*).*\n(?P<text>(?:.*\n)*?)```$", re.MULTILINE)
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


@attrs.define
class Block:
    """A block of code. Above one that its page's test leaves out stands why, in a comment:
    `<!-- not run: it needs a GPU -->`, or `<!-- run in FILE -->` for a test of another environment.
    """

    language: str
    text: str
    line: int
    reason: str | None = None
    elsewhere: str | None = None
    run: bool = False

    @property
    def marked(self) -> bool:
        return bool(self.reason or self.elsewhere)


class Page:
    """A page whose code blocks are run; `finish` asks whether all of them were."""

    def __init__(self, name: str, folder: Path = DOCS) -> None:
        self.name = name
        self.text = (folder / name).read_text(encoding="utf-8")
        self.blocks = [
            Block(
                found["language"],
                found["text"],
                self.text.count("\n", 0, found.start("language")) + 1,
                found["reason"],
                found["elsewhere"],
            )
            for found in _BLOCK.finditer(self.text)
        ]

    def take(self, *languages: str) -> list[str]:
        """Return the texts of the unmarked blocks of some languages, which count as run."""
        taken = [b for b in self.blocks if b.language in languages and not b.marked]
        for block in taken:
            block.run = True
        return [block.text for block in taken]

    def finish(self) -> None:
        """Fail for a block that has neither been run nor says why not."""
        left = [f"line {b.line}" for b in self.blocks if not b.run and not b.marked]
        assert not left, f"{self.name}: not run, and no mark says why: {', '.join(left)}"


def parts(page: str | Page) -> Iterator[File | Command]:
    """What a page tells its reader to do, in order; of a `Page` what is not marked."""
    if isinstance(page, str):
        blocks = [Block(found["language"], found["text"], 0) for found in _BLOCK.finditer(page)]
    else:
        blocks = [block for block in page.blocks if not block.marked]
    for block in blocks:
        if block.language == "console":
            block.run = True
            for piece in re.split(r"^(?:[\w-]+)?\$ ", block.text, flags=re.MULTILINE)[1:]:
                line, *shown = re.sub(r"\\\n\s*", "", piece).splitlines()
                while shown and _is_open(line):
                    line += f"\n{shown.pop(0)}"
                yield Command(line, tuple(shown))
        elif found := _NAME.match(block.text):
            block.run = True
            yield File(found[1], block.text)


def _is_open(line: str) -> bool:
    """Whether a quotation of a command goes on in the next line."""
    try:
        shlex.split(line, comments=True)
    except ValueError:
        return True
    return False


def follow(
    page: str | Page, place: Path, environment: Mapping[str, str], leave_out: int = 0
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


def run_command(command: Command, instead: Mapping[str, str]) -> str:
    """Do a command of `rjepa-cli` in this process; what it printed.

    Args:
        instead: what stands in the page, and what is done in its place: a small LLM, say.
    """
    words = shlex.split(replaced(command.line, instead), comments=True)
    assert words[0] == "rjepa-cli", command.line
    result = CliRunner().invoke(main, words[1:])
    assert result.exit_code == 0, f"$ {shlex.join(words)}\n{result.output}"
    return result.stdout


def replaced(text: str, instead: Mapping[str, str]) -> str:
    for theirs, ours in instead.items():
        text = text.replace(theirs, ours)
    return text


def check_shown(command: Command, printed: str) -> None:
    """What a page shows must be what was printed; `…` stands for anything, also for lines."""
    text = "\n".join(command.shown)
    pattern = re.escape(text).replace(re.escape(ELISION), "(?s:.*?)").replace(r"\ ", " ")
    found = re.search(pattern.replace(" ", r"[ ]") or "", printed)
    assert found, f"$ {command.line}\nthe page shows:\n{text}\nprinted was:\n{printed}"
