"""Ctrl-C and SIGTERM: what is finished is committed, and the run can go on."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rjepa_core import open_store

from .conftest import command, write_problems

COUNT = 60


def start(home: Path, *options: str) -> subprocess.Popen[str]:
    write_problems(home / "many.jsonl", COUNT)
    line = "extract --problems many.jsonl --model m --backend seeded --delay 0.1 --batch-size 2"
    return subprocess.Popen(
        command(*line.split(), "--store", "a store", *options),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=home,
    )


def wait_for_progress(process: subprocess.Popen[str]) -> str:
    """Read stderr up to the first line that tells of progress."""
    assert process.stderr is not None
    seen = ""
    for line in process.stderr:
        seen += line
        if re.search(rf"\d+/{COUNT} ", line):
            return seen
    raise AssertionError(f"no progress:\n{seen}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_dry_run_ends_with_its_counts(number: signal.Signals, home: Path) -> None:
    process = start(home, "--dry-run", "--delay-per-row", "5")
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("measuring one batch of 2 rows"):
            break
    time.sleep(0.3)
    process.send_signal(number)
    said = process.stderr.read().splitlines()
    assert process.wait(30) == 130
    assert re.fullmatch(
        r"rjepa-cli: interrupted after .* s of measuring: 0 of 2 rows done, 0 tokens; nothing was "
        "stored",
        said[-1],
    )
    assert not (home / "a store").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_and_resumed_to_the_end(number: signal.Signals, home: Path) -> None:
    process = start(home)
    wait_for_progress(process)
    time.sleep(0.5)
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in said
    hint = re.search(r"interrupted; continue with: (.*)", said)
    assert hint is not None

    store = open_store("a store")
    kept = [str(key) for key in store.keys()]  # noqa: SIM118
    history = store.history()
    store.close()
    assert 0 < len(kept) < COUNT
    assert history[-1]["ending"] == "interrupted"
    # What the run had finished when it was struck is what the store holds.
    assert history[-1]["records"] == len(kept)

    words = shlex.split(hint[1])
    assert words[:3] == command()
    resumed = subprocess.run(
        [*words, "--json", "--set", "backend.delay_per_row=0"],
        capture_output=True,
        text=True,
        cwd=home,
        timeout=60,
    )
    assert resumed.returncode == 0, resumed.stderr
    facts = json.loads(resumed.stdout)
    assert facts["records"] == COUNT - len(kept)
    assert facts["store_records"] == COUNT


def test_second_signal_kills(home: Path) -> None:
    """While the store is held by a slow write the first waits; the second does not, unless they
    are one: `timeout` sends two."""
    code = (
        "import os, signal, time\n"
        "from rjepa_cli.signals import Interrupts\n"
        "with Interrupts() as interrupts, interrupts.holding():\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print('still here', flush=True)\n"
        "    time.sleep(0.3)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(5)\n"
        "    print('not reached')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.stdout == "still here\n"
    assert done.returncode == -signal.SIGINT


def test_held_signal_strikes_where_the_model_computes(home: Path) -> None:
    code = (
        "import os, signal\n"
        "from rjepa_cli.signals import Interrupts\n"
        "with Interrupts() as interrupts, interrupts.holding():\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print('written', flush=True)\n"
        "    try:\n"
        "        with interrupts.computing():\n"
        "            print('not reached')\n"
        "    except KeyboardInterrupt:\n"
        "        print('struck')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.stdout == "written\nstruck\n"


def test_a_store_that_is_deleted_ends_the_run(home: Path) -> None:
    process = start(home, "--checkpoint-every", "2")
    wait_for_progress(process)
    shutil.rmtree(home / "a store")
    began = time.monotonic()
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    last = said.rstrip().splitlines()[-1]
    assert f"error: {home}/a store: the store is gone" in last
    assert "Traceback" not in said
    assert time.monotonic() - began < 2, "it is told at the next commit, not at the end"


def test_an_interrupt_while_the_process_ends_changes_nothing() -> None:
    code = (
        "import atexit, os, signal, sys\n"
        "atexit.register(os.kill, os.getpid(), signal.SIGINT)\n"
        "sys.argv = ['rjepa-cli', '--version']\n"
        "from rjepa_cli.main import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("rjepa-cli ")
