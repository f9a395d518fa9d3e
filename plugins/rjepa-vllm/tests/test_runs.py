"""Whole runs with SmolLM2: the same seed in other batches, and runs that are killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from running import problems, run, spec

from rjepa_core import RJepaError, open_store
from rjepa_core.domain.trace import Work
from rjepa_core.ports.backend import LLMBackend

pytestmark = [pytest.mark.smollm2, pytest.mark.slow]
COUNT = 64


def test_batches_and_order_leave_the_tokens_alone(backend: LLMBackend) -> None:
    work = [Work(problem) for problem in problems(COUNT)]
    few, _ = run(backend.open_session(spec(tokens=48)), work, 4)
    random.Random(0).shuffle(work)
    many, _ = run(backend.open_session(spec(tokens=48)), work, 32)
    other = []
    for key, record in few.items():
        ours, theirs = record.trace.completion_ids, many[key].trace.completion_ids
        if not np.array_equal(ours, theirs):
            both = min(len(ours), len(theirs))
            first = int(np.argmax(ours[:both] != theirs[:both]))
            other.append(f"{key} from token {first} on")
    print(f"{COUNT - len(other)} of {COUNT} have the same ids; {other}")
    assert len(other) <= 0.05 * COUNT


def test_a_run_goes_on_after_kills(tmp_path: Path) -> None:
    """The driver is killed three times and the engine's worker once."""
    file, store = tmp_path / "problems.jsonl", tmp_path / "store"
    rows = [{"id": f"p{i}", "question": one.statement} for i, one in enumerate(problems(COUNT))]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [sys.executable, "-m", "rjepa_cli", "extract", "--backend", "vllm"]
    command += ["--model", "smollm2", "--problems", str(file), "--store", str(store)]
    command += ["--max-new-tokens", "24", "--checkpoint-every", "4", "--batch-size", "8"]
    command += ["--set", "backend.max_model_len=512"]
    for number, victim in enumerate(("driver", "worker", "driver", "driver")):
        code, message, orphans = _disturbed(command, store, victim, 8 * (number + 1))
        print(f"{victim} killed: exit code {code}: {message}; {_count(store)} records")
        assert not orphans
        if victim == "worker":
            assert code == 1
            assert "vLLM's engine has died" in message
        if number == 0:
            command.append("--resume")
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert _count(store) == COUNT
    checked = subprocess.run(
        [sys.executable, "-m", "rjepa_cli", "store", "verify", str(store)],
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def _disturbed(
    command: list[str], store: Path, victim: str, records: int
) -> tuple[int, str, list[psutil.Process]]:
    """Kill a run's driver or worker once the store holds so many records."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    until = time.monotonic() + 240
    while _count(store) < records:
        assert process.poll() is None, "it ended before it was killed"
        assert time.monotonic() < until, "it makes no progress"
        time.sleep(0.2)
    children = psutil.Process(process.pid).children(recursive=True)
    if victim == "driver":
        process.kill()
    else:
        for child in children:
            if "Worker" in " ".join([child.name(), *child.cmdline()]):
                os.kill(child.pid, signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    _, orphans = psutil.wait_procs(children, timeout=30)
    lines = said.decode(errors="replace").splitlines()
    # Python's own resource tracker may have a word after it.
    errors = [line for line in lines if line.startswith("rjepa-cli: error")]
    return process.returncode, "\n".join(errors), orphans


def _count(store: Path) -> int:
    try:
        opened = open_store(str(store))
    except RJepaError:
        return 0
    with opened:
        return len(opened)
