"""A disk that is full in the middle of a run: told, survived, and resumed when there is room."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rjepa_cli.errors import explain
from rjepa_core import open_store

from .conftest import command, in_own_process, only_line, write_problems
from .store_helpers import assert_equal_stores

COUNT = 600
OPTIONS = ["--model", "m", "--backend", "seeded", "--hidden-size", "1024"]
OPTIONS += ["--checkpoint-every", "20"]
# A limit on the size of files, put on the command line's own process.
LIMITED = """
import resource, sys
from rjepa_cli.main import main
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
sys.argv[0] = "rjepa-cli"
main()
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB, where this user may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    try:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], capture_output=True
        ).returncode
    except OSError:
        mounted = 1
    if mounted != 0:
        pytest.skip("only root may mount a small disk; the limit on file sizes is tested anyway")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def extract(home: Path, store: Path) -> list[str]:
    return ["extract", *OPTIONS, "--problems", str(home / "many.jsonl"), "--store", str(store)]


def stored(store: Path) -> int:
    with open_store(str(store)) as opened:
        for key in opened.keys():  # noqa: SIM118
            opened.get(key)
        return len(opened)


def check_what_is_left(store: Path, code: int, stderr: str) -> None:
    """The run said so, and what it committed can be read."""
    assert code == 1, stderr
    message = only_line(stderr)
    assert "no room is left" in message
    assert "free some space and resume" in message
    assert re.search(r"\(not stored: [\d,]+ records? since the last commit\)", message)
    assert 0 < stored(store) < COUNT
    assert in_own_process("store", "verify", str(store)).returncode == 0


def check_the_rest(home: Path, store: Path) -> None:
    """With room again, the run comes to its end, and the store is as if nothing had been."""
    before = stored(store)
    resumed = in_own_process(*extract(home, store), "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert before < stored(store) == COUNT
    assert in_own_process("store", "verify", str(store)).returncode == 0
    quiet = home / "quiet"
    assert in_own_process(*extract(home, quiet)).returncode == 0
    assert_equal_stores(str(store), str(quiet))


def test_a_full_disk(home: Path, small_disk: Path) -> None:
    write_problems(home / "many.jsonl", COUNT)
    store = small_disk / "s"
    run = in_own_process(*extract(home, store), "--force")
    check_what_is_left(store, run.returncode, run.stderr)
    again = in_own_process(*extract(home, store), "--resume", "--force")
    assert again.returncode == 1, "it is still full"
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    check_the_rest(home, store)


def test_a_limit_on_file_sizes(home: Path) -> None:
    write_problems(home / "many.jsonl", COUNT)
    store = home / "s"
    limited = [sys.executable, "-c", LIMITED, "2000000", *extract(home, store)]
    run = subprocess.run(limited, capture_output=True, text=True, timeout=120)
    check_what_is_left(store, run.returncode, run.stderr)
    check_the_rest(home, store)


def test_a_disk_that_is_full_from_the_start(home: Path, small_disk: Path) -> None:
    write_problems(home / "many.jsonl", COUNT)
    (small_disk / "ballast").write_bytes(bytes(os.statvfs(small_disk).f_bavail * 4096))
    store = small_disk / "s"
    run = subprocess.run(
        command(*extract(home, store), "--force"), capture_output=True, text=True, timeout=120
    )
    assert run.returncode in (1, 2), run.stderr
    assert "Traceback" not in run.stderr
    assert only_line(run.stderr)
    (small_disk / "ballast").unlink()
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    resumed = in_own_process(*extract(home, store), "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert stored(store) == COUNT


@pytest.mark.parametrize(
    "arguments",
    [
        ["repair", "s", "disk/new"],
        ["export", "s", "disk/new"],
        ["export", "s", "disk/new", "--format", "dataset"],
        ["import", "shards", "disk/new"],
        ["merge", "disk/new", "s"],
    ],
)
def test_what_does_not_fit_is_not_begun(arguments: list[str], home: Path, small_disk: Path) -> None:
    write_problems(home / "many.jsonl", 200)
    wide = [*extract(home, home / "s"), "--hidden-size", "4096"]
    assert in_own_process(*wide).returncode == 0
    if arguments[0] == "import":
        assert in_own_process("store", "export", "s", "shards").returncode == 0
    run = in_own_process("store", *arguments)
    assert run.returncode == 1, run.stderr
    message = only_line(run.stderr)
    assert message.startswith("disk/new: no room is left")
    assert message.endswith("try again")
    assert "--resume" not in run.stderr
    assert os.listdir(small_disk) == []
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    run = in_own_process("store", *arguments)
    assert run.returncode == 2, run.stderr
    assert "disk/new: cannot be written (Read-only file system)" in only_line(run.stderr)


@pytest.mark.parametrize("resumable", [False, True])
def test_advice_names_resume_only_where_it_is_known(resumable: bool) -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "/data/x")
    for error in (full, MemoryError()):
        said, code = explain(error, resumable)
        assert code == 1
        assert said is not None
        assert ("--resume" in said) == resumable
