"""What a press of the Tab key completes, in bash, zsh and fish."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from rjepa_cli.main import COMMANDS, COMPLETION, main

from .conftest import Invoke
from .test_help import ALL, find

SHELLS = ("bash", "zsh", "fish")
Complete = Callable[..., list[str]]


def asked(shell: str, *words: str) -> dict[str, str]:
    """The environment in which a shell asks, with the last word to be completed."""
    line = " ".join(["rjepa-cli", *words])
    word = words[-1] if shell == "fish" else str(len(words))
    return {COMPLETION: f"{shell}_complete", "COMP_WORDS": line, "COMP_CWORD": word}


def answers(shell: str, text: str) -> list[str]:
    """The words, or `type:` where the shell completes files or folders itself."""
    lines = text.removesuffix("\n").split("\n") if text.strip() else []
    if shell == "zsh":
        rows = list(zip(lines[::3], lines[1::3], strict=True))
    else:
        rows = [(kind, word.split("\t")[0]) for kind, word in (x.split(",", 1) for x in lines)]
    return [word if kind == "plain" else f"{kind}:" for kind, word in rows]


def completed(shell: str, *words: str) -> list[str]:
    result = CliRunner().invoke(main, [], env=asked(shell, *words))
    assert result.stderr == ""
    return answers(shell, result.stdout)


@pytest.fixture
def complete(home: Path) -> Complete:
    """In bash; the shells differ in how they ask and are answered alone."""

    def run(*words: str) -> list[str]:
        return completed("bash", *words)

    return run


@pytest.fixture
def places(home: Path) -> None:
    """Two stores and a run, by the files that show what they are, and other folders."""
    for place, file in (
        ("runs/first", "data.mdb"),
        ("runs/deep/second", "data.mdb"),
        ("runs/wm", "metrics.csv"),
        ("runs/other", "notes.txt"),
    ):
        (home / place).mkdir(parents=True)
        (home / place / file).write_text("")
    (home / "runs" / "wm" / "config.yaml").write_text("")


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.usefixtures("places")
def test_each_shell(shell: str) -> None:
    assert completed(shell, "extract", "--poo") == ["--pooling"]
    assert completed(shell, "extract", "--pooling", "m") == ["mean", "max"]
    assert completed(shell, "show", "runs/f") == ["runs/first"]
    assert completed(shell, "store", "re") == ["repair"]
    assert completed(shell, "extract", "--config", "c") == ["file:"]


def test_an_option_of_extract(complete: Complete) -> None:
    assert complete("extract", "--poo") == ["--pooling"]
    assert complete("extract", "--backend", "nonsense", "--poo") == ["--pooling"]
    assert complete("extract", "--config", "absent.yaml", "--poo") == ["--pooling"]


@pytest.mark.parametrize("name", [name for name in ALL if name])
def test_an_option_of_each_command(complete: Complete, name: str) -> None:
    assert complete(*name.split(), "--deb") == ["--debug"]


def test_commands(complete: Complete) -> None:
    assert complete("s") == ["show", "store", "score", "serve"]
    assert complete("store", "re") == ["repair"]
    assert complete("") == list(COMMANDS)
    assert complete("nonsense", "--poo") == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("extract --pooling ", ["mean", "last", "max"]),
        ("extract --dtype b", ["bfloat16"]),
        ("extract --steps li", ["lines"]),
        ("extract --scheduler a", ["adaptive"]),
        ("extract --backend s", ["seeded"]),
        ("extract --thinking o", ["on", "off"]),
        ("train --objective ver", ["verifier"]),
        ("rank x --by m", ["mean", "max"]),
        ("grade s --grader ex", ["exact"]),
        ("damage s --kinds result,o", ["result,operation", "result,order", "result,omission"]),
        ("evaluate --parts pro", ["probe"]),
        ("evaluate --split ", ["test", "validation"]),
        ("store export s d --format da", ["dataset"]),
        ("plugins hugg", ["huggingface"]),
        ("bench --shape smol", ["smollm2-135m"]),
        ("extract --model smo", ["smollm2"]),
        ("extract --problems d", ["demo"]),
        ("extract --problems ", ["file:"]),
        ("extract --config ", ["file:"]),
        ("bench --out ", ["dir:"]),
    ],
)
def test_choices(complete: Complete, words: str, expected: list[str]) -> None:
    assert complete(*words.split(" ")) == expected


@pytest.mark.usefixtures("places")
@pytest.mark.parametrize(
    "words",
    [
        *("show", "grade", "damage", "store verify", "store rm", "store merge all"),
        *("store export", "extract --store", "train --store", "evaluate --store", "serve --store"),
    ],
)
def test_stores(complete: Complete, words: str) -> None:
    assert complete(*words.split(), "") == ["runs/deep/second", "runs/first"]
    assert complete(*words.split(), "runs/f") == ["runs/first"]
    assert complete(*words.split(), "nowhere/") == ["dir:"]


@pytest.mark.usefixtures("places")
@pytest.mark.parametrize("words", ["score x", "rank x", "evaluate", "serve", "show s"])
def test_world_models(complete: Complete, words: str) -> None:
    for typed in ("", "runs/", "./ru"):
        [found] = complete(*words.split(), "--world-model", typed)
        assert Path(found) == Path("runs/wm")


def test_ids(complete: Complete, invoke: Invoke, store: str) -> None:
    assert complete("show", store, "p1") == ["p1", "p1#1"]
    assert complete("store", "rm", store, "p1", "p3#") == ["p3#1"]
    assert complete("show", "absent", "p") == []


def test_nothing_is_said_where_the_question_is_broken(home: Path) -> None:
    result = CliRunner().invoke(main, [], env={COMPLETION: "bash_complete", "COMP_WORDS": "x"})
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_script_asks_this_program(shell: str, home: Path) -> None:
    result = CliRunner().invoke(main, [], env={COMPLETION: f"{shell}_source"})
    assert f"{COMPLETION}={shell}_complete" in result.stdout
    assert result.exit_code == 0


def test_nothing_heavy_is_loaded(home: Path) -> None:
    code = (
        "import sys, atexit\n"
        "from rjepa_cli.main import main\n"
        "atexit.register(lambda: print(sorted({'torch', 'transformers', 'pyarrow'} "
        "& set(sys.modules)), file=sys.stderr))\n"
        "main()"
    )
    for words in (("extract", "--poo"), ("extract", "--model", ""), ("show", "s", "p")):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **asked("bash", *words)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stderr.strip() == "[]", words


@pytest.mark.parametrize("name", [name for name in ALL if name and name != "store"])
def test_every_place_that_a_command_reads_is_completed(name: str) -> None:
    command, context = find(name)
    for param in command.get_params(context):
        where = param.opts[0] if isinstance(param, click.Option) else param.human_readable_name
        if where in ("STORE", "TARGET", "DIR", "FILE", "--store", "--world-model", "--config"):
            assert param.shell_complete(context, ""), f"{name} {where}"
