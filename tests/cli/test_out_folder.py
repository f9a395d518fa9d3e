"""`--out`: a result is there whole or not at all, and the same command works again."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from services import make_trained

from rjepa_cli.out_folder import NewFile, new_reports, write_reports
from rjepa_core.errors import DiskFullError, UsageError

from .conftest import Invoke, only_line

REPORTS = {"a.json": "{}\n", "b.md": "# b\n", "c.html": "<html/>\n"}


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """A limit on what this process may write into a file, as a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def killed(code: str, place: Path) -> None:
    """Run code that kills its own process."""
    head = "import os, sys\nfrom pathlib import Path\nfrom rjepa_cli import out_folder\n"
    head += "kill = lambda *_: os.kill(os.getpid(), 9)\nplace = Path(sys.argv[1])\n"
    done = subprocess.run([sys.executable, "-c", head + code, str(place)], timeout=60)
    assert done.returncode == -signal.SIGKILL


def test_a_file_gets_its_name_when_it_is_whole(tmp_path: Path) -> None:
    place = tmp_path / "f"
    with NewFile(place, "--out f") as file:
        file.line("one")
        assert not place.exists()
    assert place.read_text() == "one\n"
    with pytest.raises(UsageError, match="--out f: is there already"), NewFile(place, "--out f"):
        pass
    with pytest.raises(ZeroDivisionError), NewFile(tmp_path / "g", "--out g") as file:
        file.line(f"{1 / 0}")
    assert os.listdir(tmp_path) == ["f"]


def test_what_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    code = "with out_folder.NewFile(place, '') as f: f.line('long ' * 99); f.settle(); kill()"
    killed(code, tmp_path / "f")
    [left] = os.listdir(tmp_path)
    assert left.startswith(".")
    with NewFile(tmp_path / "f", "--out f") as file:
        file.line("one")
    assert os.listdir(tmp_path) == ["f"]
    assert (tmp_path / "f").read_text() == "one\n"


def test_two_that_write_the_same(tmp_path: Path) -> None:
    with NewFile(tmp_path / "f", "--out f") as file:
        file.line("one")
        with (
            pytest.raises(UsageError, match="another process is writing it"),
            NewFile(tmp_path / "f", "--out f"),
        ):
            pass
    assert (tmp_path / "f").read_text() == "one\n"


@pytest.mark.parametrize("after", [0, 1, 2])
def test_reports_of_a_process_that_was_killed_between_two_of_them(
    after: int, tmp_path: Path
) -> None:
    code = f"whole, names = os.replace, {list(REPORTS)}\n"
    code += f"left = {after}\n"
    code += "def replace(*paths):\n"
    code += "    global left\n"
    code += "    whole(*paths) if left else kill()\n"
    code += "    left -= 1\n"
    code += "out_folder.os.replace = replace\n"
    code += f"out_folder.write_reports(place, {REPORTS})"
    killed(code, tmp_path)
    assert not (tmp_path / "a.json").exists(), "the first is there once all are"
    assert new_reports(str(tmp_path), tuple(REPORTS)) == tmp_path
    write_reports(tmp_path, REPORTS)
    assert {name: (tmp_path / name).read_text() for name in os.listdir(tmp_path)} == REPORTS
    with pytest.raises(UsageError, match=r"holds a a\.json already"):
        new_reports(str(tmp_path), tuple(REPORTS))


def test_a_report_of_someone_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "c.html").write_text("mine")
    with pytest.raises(UsageError, match=r"holds a c\.html already"):
        new_reports(str(tmp_path), tuple(REPORTS))


def test_reports_on_a_full_disk(tmp_path: Path) -> None:
    full = "no room is left for it, and nothing of it was kept"
    with largest_file(100), pytest.raises(DiskFullError, match=full):
        write_reports(tmp_path, {**REPORTS, "c.html": "x" * 200})
    assert os.listdir(tmp_path) == []


def test_bench_on_a_full_disk(invoke: Invoke, home: Path) -> None:
    words = ["bench", "--model", "m", "--backend", "seeded", "--problems", "problems.jsonl"]
    words += ["--sizes", "1", "--limit", "2", "--out", "out"]
    with largest_file(2000):
        result = invoke(*words)
    assert result.exit_code == 1
    assert "s/problem" in result.stdout, "the result is told"
    assert only_line(result.stderr).startswith("--out out/bench.json: no room is left")
    assert not os.path.exists("out")
    assert invoke(*words).exit_code == 0
    assert sorted(os.listdir("out")) == ["bench.html", "bench.json"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return make_trained(tmp_path_factory.mktemp("out"))


@pytest.mark.parametrize("name", ["score", "rank"])
def test_scores_on_a_full_disk(
    name: str, invoke: Invoke, home: Path, trained: tuple[str, str]
) -> None:
    store, run = trained
    words = (name, store, "--world-model", run, "--device", "cpu", "--out", "s.jsonl")
    with largest_file(10_000):
        result = invoke(*words)
    assert result.exit_code == 1
    assert only_line(result.stderr).startswith("--out s.jsonl: no room is left")
    assert os.listdir() == ["problems.jsonl"]
    assert invoke(*words).exit_code == 0
    assert all(json.loads(line) for line in Path("s.jsonl").read_text().splitlines())


def test_a_picture_on_a_full_disk(invoke: Invoke, home: Path, trained: tuple[str, str]) -> None:
    store, run = trained
    words = ("score", store, "--world-model", run, "--device", "cpu", "--plot", "s.svg")
    with largest_file(1000):
        result = invoke(*words)
    assert only_line(result.stderr).startswith("--plot s.svg: no room is left")
    assert os.listdir() == ["problems.jsonl"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_scoring_that_is_ended(number: signal.Signals, home: Path) -> None:
    """No half file stands under the name."""
    code = (
        "import sys, time\n"
        "from rjepa_cli.commands import score\n"
        "from rjepa_core.domain.trace import Failure, RecordKey\n"
        "def some(*_):\n"
        "    while True:\n"
        "        yield Failure(RecordKey('p'), '', 'x' * 3000, 'y')\n"
        "        print('scored', file=sys.__stdout__, flush=True)\n"
        "score.score_all = some\n"
        "from rjepa_cli.main import main\n"
        "main(['score', 's', '--out', 's.jsonl'])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "scored\n"
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert not Path("s.jsonl").exists()
    if number == signal.SIGKILL:
        return
    assert process.returncode == 130, said
    assert said.splitlines()[-1] == "rjepa-cli: interrupted"
    assert os.listdir() == ["problems.jsonl"]
