"""Messages of the core and the adapters name settings; only the command line has flags."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
FILES = sorted(
    file
    for package in ("rjepa_core", "rjepa_adapters")
    for file in (SOURCE / package).rglob("*.py")
)
COMMAND_LINE = re.compile(r"(?<![\w-])--[a-z][\w-]*|rjepa-cli")
# Commands of other programs, and where a world model comes from: `rjepa-cli plugins` shows that.
OTHERS = re.compile(r"llama-gguf-split --merge|pip install --no-deps|behind `rjepa-cli serve`")


def strings(tree: ast.AST) -> Iterator[ast.Constant]:
    """All but docstrings and the messages of assertions."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Expr | ast.Assert):
            if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant):
                yield from strings(node)
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, str):
                yield node
        else:
            yield from strings(node)


def flags_in(source: str) -> list[str]:
    found = (COMMAND_LINE.search(OTHERS.sub("", node.value)) for node in strings(ast.parse(source)))
    return [match[0] for match in found if match]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_no_string_of_core_and_adapters_holds_a_flag(file: Path) -> None:
    assert flags_in(file.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "source", ['raise E("add --resume")', 'f"{x} and --no-mask"', 'say("run `rjepa-cli show`")']
)
def test_a_flag_is_found(source: str) -> None:
    assert flags_in(source)
    assert not flags_in('"""A docstring of `rjepa-cli --help`."""')
