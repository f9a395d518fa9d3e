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
OTHERS = re.compile(r"llama-gguf-split --merge|install --no-deps|behind `rjepa-cli serve`")


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


# `1 rows`: a number and its noun are formatted by `rjepa_core.text.count`.
NOUNS = "record|problem|solution|step|token|row|failure|epoch|file|sample|trace|batch|layer|state"
PLURAL = re.compile(rf"(\{{[^{{}}]*\}}) (?:hidden )?(?:{NOUNS})(?:s|es)\b(?!/s)")
COUNTED = re.compile(r"\bcount\(|\brate\(|\{[A-Z_]+(:,)?\}")
# Where there are several, or the sentence is about more than one.
SEVERAL = (
    "({len(rows) - 1} of {len(curve)} epochs",
    "over {base} rows",
    "{sizes} rows were left out",
    "problems.limit={4 * more}",
    ", {facts['samples']} samples each",
    "{len(steps.spans)} steps, at most {most} are taken",
    "{context:,} tokens that",
    "all {samples} samples of a problem",
)
ROOMS = ("rjepa_cli", *(f"rjepa_core/{r}" for r in ("extraction", "stores", "training")))
SAID = [
    file
    for room in (*ROOMS, "rjepa_core/benchmark", "rjepa_core/grading", "rjepa_adapters/schedulers")
    for file in sorted((SOURCE / room).rglob("*.py"))
]


def miscounted(source: str) -> list[str]:
    lines = [line for line in source.splitlines() if not any(one in line for one in SEVERAL)]
    found = (match for line in lines for match in PLURAL.finditer(line))
    return [match[0] for match in found if not COUNTED.search(match[1])]


@pytest.mark.parametrize("file", SAID, ids=lambda file: str(file.relative_to(SOURCE)))
def test_one_of_something_is_not_plural(file: Path) -> None:
    assert miscounted(file.read_text("utf-8")) == []


def test_a_plural_is_found() -> None:
    assert miscounted('f"{len(found)} rows went well"') == ["{len(found)} rows"]
    assert miscounted("f\"{count(x, 'row')}, {rate(y)} rows/s, {rate(y)} rows\"") == []
