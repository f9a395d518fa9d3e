"""Places that are unusual: names that are not UTF-8, no home, nothing written elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Invoke, command, only_line, write_problems

ODD = os.fsdecode(b"st\xffre")


@pytest.fixture
def odd(extract: Invoke) -> str:
    """A store whose name is not UTF-8."""
    result = extract("--store", ODD)
    assert result.exit_code == 0, result.stderr
    assert "store: 10 records" in result.stdout
    assert result.stdout.endswith("look at it: rjepa-cli show $'st\\xffre'\n")
    return ODD


@pytest.mark.parametrize(
    "words",
    [
        ["show", ODD],
        ["show", ODD, "--json"],
        ["show", ODD, "p1"],
        ["store", "verify", ODD],
        ["store", "repair", ODD, f"{ODD}-2"],
        ["store", "export", ODD, f"{ODD}-2"],
        ["store", "export", ODD, f"{ODD}-2", "--format", "dataset"],
        ["store", "merge", f"{ODD}-2", ODD],
        ["store", "rm", ODD, "p1", "--yes"],
        ["store", "compact", ODD],
    ],
)
def test_a_store_whose_name_is_not_utf8(words: list[str], odd: str, invoke: Invoke) -> None:
    result = invoke(*words)
    assert result.exit_code == 0, result.stderr
    if words[:2] == ["store", "export"] and "--format" not in words:
        assert invoke("store", "import", f"{ODD}-2", f"{ODD}-3").exit_code == 0


def test_its_name_is_shown_escaped(home: Path) -> None:
    done = subprocess.run(command("show", ODD), capture_output=True, text=True)
    assert done.returncode == 2
    assert only_line(done.stderr).startswith(r"st\udcffre: no such directory, so no store")


@pytest.mark.parametrize("place", [".", "/dev/full"])
def test_the_traceback_of_something_unexpected_is_kept(place: str, home: Path) -> None:
    """The names in it may be no text, and there may be no room for it."""
    code = (
        "import sys, tempfile\n"
        "from rjepa_cli.commands import show\n"
        "def fail(store): raise RuntimeError(store)\n"
        f"show.open_store, tempfile.tempdir = fail, {place!r}\n"
        "from rjepa_cli.main import main\n"
        "main(sys.argv[1:])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "show", ODD], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    *before, last = done.stderr.splitlines()
    said = r"rjepa-cli: error: unexpected RuntimeError: st\udcffre; the traceback is "
    if place == ".":
        assert last.startswith(f"{said}in ")
        [kept] = home.glob("rjepa-cli-*.log")
        before = kept.read_text().splitlines()
    else:
        assert last == f"{said}above"
    assert before[-1] == r"RuntimeError: st\udcffre"


def nowhere(*words: str) -> subprocess.CompletedProcess[str]:
    """Run `rjepa-cli` for a user whom the system does not know, without a home."""
    code = (
        "import pwd, sys\n"
        "def unknown(*_): raise KeyError('unknown')\n"
        "pwd.getpwuid = pwd.getpwnam = unknown\n"
        "from rjepa_cli.main import main\n"
        "main(sys.argv[1:])\n"
    )
    names = ("HOME", "USER", "LOGNAME", "USERNAME", "LNAME")
    environment = {name: text for name, text in os.environ.items() if name not in names}
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("problems", "said"),
    [
        ("~/x.jsonl", "~/x.jsonl: no such file"),
        ("hf:nobody/nothing", "Set HOME, or HF_HOME to a folder for what is downloaded"),
    ],
)
def test_a_home_that_nobody_knows(problems: str, said: str, home: Path) -> None:
    done = nowhere(
        "extract", "--problems", problems, "--model", "m", "--backend", "seeded", "--store", "s"
    )
    assert done.returncode == 2
    assert said in only_line(done.stderr)


def test_no_home_at_all(home: Path) -> None:
    words = ["--problems", "problems.jsonl", "--model", "m", "--backend", "seeded", "--store", "s"]
    done = nowhere("extract", *words)
    assert done.returncode == 0, done.stderr


def test_training_leaves_nothing_elsewhere(extract: Invoke, home: Path) -> None:
    write_problems(home / "problems.jsonl", 60)
    assert extract().exit_code == 0
    elsewhere = {name: home / name.lower() for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME")}
    for place in elsewhere.values():
        place.mkdir()
    small = ["model.width=16", "model.heads=2", "model.depth=1", "training.max_epochs=1"]
    small += ["model.predictor_width=16", "model.predictor_heads=2", "training.device=cpu"]
    words = ["train", "--store", "s", "--out", "run", *(w for s in small for w in ("--set", s))]
    environment = {**os.environ, **{name: str(place) for name, place in elsewhere.items()}}
    done = subprocess.run(command(*words), capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert [list(place.iterdir()) for place in elsewhere.values()] == [[], [], []]
    names = {one.name for one in home.iterdir()} - {place.name for place in elsewhere.values()}
    assert names == {"problems.jsonl", "s", "run"}
