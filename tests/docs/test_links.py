"""Links, anchors, commands, options and Python names in the documentation are there."""

from __future__ import annotations

import importlib
import re
import tomllib
from functools import cache
from pathlib import Path

import click
import pytest
from markdown import Markdown
from pages import DOCS
from pymdownx.slugs import slugify

from rjepa_cli.main import main

ROOT = DOCS.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *DOCS.rglob("*.md"),
]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
# Flags of adapters, which a command has once the adapter is chosen.
_OF_ADAPTERS = set(re.findall(r"`(--[\w-]+)`", (DOCS / "reference/settings.md").read_text()))
_DOTTED = re.compile(r"`(rjepa_(?:core|adapters|cli)(?:\.\w+)+)`")


@cache
def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as the site and public forges make them."""
    configs = {"toc": {"slugify": slugify(case="lower")}}
    markdown = Markdown(extensions=["toc", "fenced_code", "tables"], extension_configs=configs)
    return set(re.findall(r'<h\d id="([^"]+)"', markdown.convert(path.read_text())))


@pytest.mark.parametrize("name", NAMES)
def test_links_and_anchors(name: str) -> None:
    page, broken = ROOT / name, []
    for link in _LINK.findall(_FENCE.sub("", page.read_text())):
        if "://" in link or link.startswith("mailto:"):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("name", NAMES)
def test_python_names(name: str) -> None:
    """Those of the project, in prose; a method counts, an attribute of an instance too."""
    gone = []
    for dotted in set(_DOTTED.findall((ROOT / name).read_text())):
        if not _is_there(dotted.split(".")):
            gone.append(dotted)
    assert gone == []


def _is_there(path: list[str]) -> bool:
    for cut in range(len(path), 0, -1):
        try:
            found = importlib.import_module(".".join(path[:cut]))
        except ModuleNotFoundError:
            continue
        for attribute in path[cut:]:
            if not hasattr(found, attribute):
                return attribute in getattr(found, "__annotations__", {})
            found = getattr(found, attribute)
        return True
    return False


@pytest.mark.parametrize("name", NAMES)
def test_commands_and_their_options(name: str) -> None:
    """Every `rjepa-cli …` of a block is a command with these options."""
    wrong = []
    text = re.sub(r"\\\n\s*", " ", (ROOT / name).read_text())
    for line in re.findall(r"^(?:[\w-]*\$ |> {3})?.*?\brjepa-cli (\w.*)$", text, re.MULTILINE):
        words = re.split(r" [&|;]|`|  +#", line)[0].split()
        found = _command(words)
        if found is None:
            continue
        known, tail = found
        for word in tail:
            option = re.match(r"--[a-z][\w-]*", word)
            if option and option[0] not in known:
                wrong.append(f"{option[0]} of rjepa-cli {line[:60]}")
    assert wrong == []


def _command(words: list[str]) -> tuple[set[str], list[str]] | None:
    """The options of the command that some words begin with, and the words after it."""
    command: click.Command | None = main
    context = click.Context(main)
    while isinstance(command, click.Group) and words:
        command = command.get_command(context, words[0].strip(",.:"))
        words = words[1:]
        if command is None:
            return None
    if command is None:
        return None
    options = {"--help", *_OF_ADAPTERS}
    for parameter in command.get_params(click.Context(command)):
        options |= {*parameter.opts, *parameter.secondary_opts}
    return options, words


def test_what_a_package_index_shows_has_no_link_into_the_checkout() -> None:
    tree = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    hook = tree["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    text = "".join((ROOT / part["path"]).read_text(encoding="utf-8") for part in hook["fragments"])
    for one in hook["substitutions"]:
        text = re.sub(one["pattern"], one["replacement"], text)
    links = re.findall(r"\]\(([^)]*)\)", text)
    assert links
    assert all(link.startswith("https://") for link in links), links
