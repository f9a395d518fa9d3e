"""stdout and stderr that are full, gone or not there: the work is done, and told if it can be."""

from __future__ import annotations

import errno
import io
import json
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rjepa_cli.console import Screen
from rjepa_cli.progress import Meter, Status
from rjepa_cli.streams import LastingStream
from rjepa_core import open_store

from .conftest import Invoke, command, only_line, write_problems

COUNT = 10
EXTRACT = "extract --problems problems.jsonl --model m --backend seeded --batch-size 2 --store s"


def shell(line: str) -> subprocess.CompletedProcess[str]:
    """Run `rjepa-cli` (as `$CLI`) in a shell."""
    environment = {**os.environ, "CLI": f"{sys.executable} -m rjepa_cli"}
    words = ["bash", "-o", "pipefail", "-c", line]
    return subprocess.run(words, capture_output=True, text=True, env=environment, timeout=60)


def notes(place: str = "s") -> dict[str, str]:
    """Which stream took no more, and why, as the run history has it; the run itself is done."""
    with open_store(place) as store:
        assert len(store) == COUNT
        history = store.history()
    [run] = [one for one in history if one["kind"] == "extract"]
    assert (run["ending"], run["records"]) == ("done", COUNT)
    return {one["stream"]: one["why"] for one in history if one["kind"] == "output"}


FULL, CLOSED, PIPE = os.strerror(errno.ENOSPC), "it is closed", os.strerror(errno.EPIPE)


@pytest.mark.parametrize(
    ("where", "noted"),
    [
        ("2>/dev/full", {"stderr": FULL}),
        (">/dev/full 2>&1", {"stdout": FULL, "stderr": FULL}),
        ("<&- >&- 2>&-", {"stdout": CLOSED, "stderr": CLOSED}),
        ("2>&1 | head -1", {"stdout": PIPE, "stderr": PIPE}),
    ],
)
def test_output_that_nobody_takes_ends_no_run(
    where: str, noted: dict[str, str], home: Path
) -> None:
    done = shell(f"$CLI {EXTRACT} {where}")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert notes() == noted
    if where == "2>/dev/full":
        assert done.stdout.startswith(f"done: {COUNT} records")


def test_a_result_that_stdout_does_not_take_is_told_on_stderr(home: Path, invoke: Invoke) -> None:
    done = shell(f"$CLI {EXTRACT} --json >/dev/full")
    assert done.returncode == 0, done.stderr
    warning, result = done.stderr.split("rjepa-cli: warning: ")[1].split("\n", 1)
    assert warning == f"stdout takes nothing ({FULL}); what belongs there:"
    assert json.loads(result)["records"] == COUNT
    assert notes() == {"stdout": FULL}
    shown = invoke("show", "s", "--history")
    assert f"stdout took no more: {FULL}" in shown.stdout


@pytest.mark.parametrize("words", ["show s --json", "store verify s", "--help"])
def test_a_reader_that_goes_away_is_no_error(words: str, store: str) -> None:
    done = shell(f"$CLI {words} | head -c 1")
    assert (done.returncode, done.stderr) == (0, "")


def test_output_that_is_cut_off_is_no_result(store: str) -> None:
    done = shell(f"$CLI show {store} --json >/dev/full")
    assert done.returncode == 1
    assert only_line(done.stderr) == f"stdout: {FULL}; what belongs there is not whole"


def test_a_character_that_the_encoding_lacks_is_escaped(home: Path) -> None:
    done = shell(f"PYTHONIOENCODING=ascii:strict PYTHONUTF8=0 LC_ALL=C $CLI {EXTRACT}")
    assert done.returncode == 0, done.stderr
    assert "reading the problems \\u2026" in done.stderr
    assert notes() == {}


# --- a terminal that goes away ----------------------------------------------------------------


@contextmanager
def on_a_terminal(ignoring: bool) -> Iterator[tuple[subprocess.Popen, int]]:
    """A run in a session of its own with a terminal, and that terminal's other end."""
    ours, theirs = pty.openpty()
    code = (
        "import fcntl, os, signal, sys, termios\n"
        "os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
        f"signal.signal(signal.SIGHUP, signal.{'SIG_IGN' if ignoring else 'SIG_DFL'})\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'rjepa_cli', *sys.argv[1:]])\n"
    )
    words = [*EXTRACT.split(), "--delay", "0.2", "--scheduler", "fixed"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words], stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()


def read_until(descriptor: int, wanted: str) -> None:
    seen = b""
    while wanted.encode() not in seen:
        assert select.select([descriptor], [], [], 30)[0], seen
        try:
            seen += os.read(descriptor, 10_000)
        except OSError:
            raise AssertionError(seen.decode()) from None


@pytest.mark.parametrize("ignoring", [False, True])
def test_a_terminal_that_goes_away(ignoring: bool, home: Path) -> None:
    """It ends the run as SIGTERM does, or not at all where SIGHUP is ignored (`nohup`)."""
    with on_a_terminal(ignoring) as (process, terminal):
        read_until(terminal, "problems/s")
        os.close(terminal)
        code = process.wait(30)
    if ignoring:
        assert code == 0
        gone = os.strerror(errno.EIO)
        assert notes() == {"stdout": gone, "stderr": gone}
        return
    assert code == 130
    with open_store("s") as store:
        [run] = [one for one in store.history() if one["kind"] == "extract"]
        assert run["ending"] == "interrupted"
        assert 0 < run["records"] == len(store) < COUNT


def test_sighup_commits_and_says_how_to_go_on(home: Path) -> None:
    """Shell and system may both send it: another one kills nothing."""
    write_problems(home / "problems.jsonl", 60)
    process = subprocess.Popen(
        command(*EXTRACT.split(), "--delay", "0.1", "--batch-size", "2"),
        stderr=subprocess.PIPE,
        text=True,
        cwd=home,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if re.search(r"[1-9]/60 ", line):
            break
    for _ in range(3):
        process.send_signal(signal.SIGHUP)
        time.sleep(0.02)
    said = process.stderr.read()
    assert process.wait(30) == 130
    again = shlex.join(command("extract"))
    assert f"interrupted; continue with: {again}" in said.splitlines()[-1]
    with open_store("s") as store:
        assert 0 < len(store) < 60


# --- the stream itself ------------------------------------------------------------------------


class Failing(io.StringIO):
    """A terminal that fails at its Nth write and all later ones."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.left = at

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.left -= 1
        if self.left <= 0:
            raise OSError(errno.EIO, "Input/output error")
        return super().write(text)


def test_a_bar_whose_stream_fails_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Failing(20)
    monkeypatch.setattr(sys, "stderr", stream)
    screen = Screen()
    with screen, Meter(screen, 100) as meter:
        for done in range(100):
            meter.show(done, lambda: Status("status"))
            screen.say(f"line {done}")
    assert stream.left < 0
    assert screen.err.reason == "Input/output error"
    assert "line 1" in stream.getvalue()


def opened(descriptor: int, encoding: str = "utf-8") -> io.TextIOWrapper:
    return os.fdopen(descriptor, "w", encoding=encoding, errors="strict")


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_nothing_is_left_to_fail_when_python_flushes(name: str) -> None:
    below = opened(os.open("/dev/full", os.O_WRONLY))
    stream = LastingStream(name, below)
    stream.line("a")
    assert (stream.reason, stream.lost, stream.reader_gone) == (FULL, True, False)
    stream.flush()
    below.close()


def test_stderr_goes_on_where_there_is_room_again(tmp_path: Path) -> None:
    written: list[str] = []

    class Room(io.StringIO):
        full = False

        def write(self, text: str) -> int:
            if self.full:
                raise OSError(errno.ENOSPC, "full")
            written.append(text)
            return len(text)

    for name, wanted in (("stderr", ["1\n", "3\n"]), ("stdout", ["1\n"])):
        written.clear()
        below = Room()
        stream = LastingStream(name, below)
        for text, full in (("1", False), ("2", True), ("3", False)):
            below.full = full
            stream.line(text)
        assert written == wanted, name
        assert stream.reason == "full"


@pytest.mark.parametrize(
    ("encoding", "shown"), [("ascii", b"\\u2026 \\xe9"), ("cp1252", b"\x85 \xe9")]
)
def test_encodings(encoding: str, shown: bytes) -> None:
    theirs, ours = os.pipe()
    stream = LastingStream("stderr", opened(ours, encoding))
    stream.line("… é")
    stream.line("\udcff \u4e2d")
    assert os.read(theirs, 100) == shown + b"\n\\udcff \\u4e2d\n"
    assert stream.failure is None
    os.close(theirs)


def test_a_slow_reader_of_a_stream_that_does_not_block_gets_all() -> None:
    theirs, ours = os.pipe()
    os.set_blocking(ours, False)
    code = (
        "import sys\nfrom rjepa_cli.streams import lasting\nlasting('stdout').line('x' * 300_000)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=ours) as process:
        os.close(ours)
        time.sleep(0.3)
        got = b""
        while part := os.read(theirs, 100_000):
            got += part
        assert process.wait(30) == 0
    assert got == b"x" * 300_000 + b"\n"
    os.close(theirs)


def test_a_stream_that_does_not_block_and_is_not_read_is_not_waited_for() -> None:
    theirs, ours = os.pipe()
    os.set_blocking(ours, False)
    stream = LastingStream("stderr", opened(ours))
    stream.patience = 0.2
    began = time.monotonic()
    for _ in range(100):
        stream.line("x" * 10_000)
    assert time.monotonic() - began < 2
    assert stream.reason == "nobody reads it"
    os.read(theirs, 1_000_000)
    stream.line("again")
    assert os.read(theirs, 1_000_000).endswith(b"again\n")
    os.close(theirs)


def test_no_stream_at_all() -> None:
    stream = LastingStream("stdout", None)
    stream.line("a")
    stream.flush()
    assert (stream.given, stream.lost, stream.isatty()) == (False, True, False)
    with pytest.raises(io.UnsupportedOperation):
        stream.fileno()


def test_a_file_opened_later_never_gets_a_closed_stream() -> None:
    """Else what a C library prints would stand in a store."""
    code = (
        "import os, sys\n"
        "from rjepa_cli.streams import take_over\n"
        "take_over()\n"
        "found = os.open(os.devnull, os.O_RDONLY)\n"
        "print('lost')\n"
        "sys.exit(0 if found > 2 else 7)\n"
    )
    closing: Callable[[], None] = lambda: os.closerange(0, 3)  # noqa: E731
    process = subprocess.run([sys.executable, "-c", code], preexec_fn=closing, timeout=30)
    assert process.returncode == 0


# --- lines of a stream of results -------------------------------------------------------------

ENDLESS = """
from rjepa_cli.commands import score
from rjepa_core.domain.trace import Failure, RecordKey
def some(*_):
    while True:
        yield Failure(RecordKey("p"), "", "x" * 100, "y")
score.score_all = some
from rjepa_cli.main import main
main(["score", "s"])
"""


def test_scores_that_nobody_takes_are_not_computed(home: Path) -> None:
    (home / "endless.py").write_text(ENDLESS)
    done = shell(f"{sys.executable} endless.py | head -1")
    assert done.stderr == ""
    assert done.returncode == 3, "some could not be scored"
    assert json.loads(done.stdout)["problem_id"] == "p"
    done = shell(f"{sys.executable} endless.py >/dev/full")
    assert only_line(done.stderr) == f"stdout: {FULL}; what belongs there is not whole"
    assert done.returncode == 3
