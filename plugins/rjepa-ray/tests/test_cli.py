"""The command line with `--executor ray`, as a user meets it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, get_type_hints

import attrs
import psutil
import pytest
from rjepa_ray.settings import RaySettings

from rjepa_cli.options import default_text, describe, type_text
from rjepa_core import RJepaError, open_store
from rjepa_core.testing.samples import record_differences

SETTINGS = Path(__file__).parents[3] / "docs" / "reference" / "settings.md"
CLI = [sys.executable, "-m", "rjepa_cli"]
EXTRACT = [*CLI, "extract", "--model", "m", "--backend", "seeded", "--problems", "problems.jsonl"]
RAY = ["--executor", "ray", "--set", "executor.workers=2"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    rows = [{"id": f"p{i}", "question": f"What is {i} plus 1?"} for i in range(300)]
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def call(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*EXTRACT, *arguments], cwd=home, capture_output=True, text=True)


def check_equal(home: Path, one: str, other: str) -> None:
    a, b = open_store(home / one), open_store(home / other)
    assert sorted(a.keys()) == sorted(b.keys())
    assert all(not record_differences(a.get(key), b.get(key)) for key in b.keys())  # noqa: SIM118
    a.close()
    b.close()


def test_the_same_records_and_one_history(home: Path) -> None:
    options = ["--samples", "2", "--logprobs", "--layer", "1", "--layer", "3", "--json"]
    assert call(home, "--store", "alone", *options).returncode == 0
    done = call(home, "--store", "ours", *options, *RAY)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["records"], facts["failures"], facts["ending"]) == (600, 0, "done")
    assert facts["plan"]["notes"]["workers"].startswith("2 with Ray on this machine")
    check_equal(home, "ours", "alone")
    store = open_store(home / "ours")
    begin, *_, run = store.history()
    store.close()
    assert begin["executor"] == run["executor"] == {"name": "ray", "workers": "2"}
    assert (run["records"], run["ending"]) == (600, "done")
    assert run["new_tokens"] >= run["tokens"] > 0
    shown = subprocess.run(
        [*CLI, "show", "ours", "--history"], cwd=home, capture_output=True, text=True
    )
    assert "executor ray 2" in shown.stdout


def test_given_solutions_and_failures(home: Path) -> None:
    rows = [
        {"id": f"g{i}", "question": f"{i}?", "solution": "#### 7" if i % 9 == 0 else "a\nb\nc"}
        for i in range(90)
    ]
    (home / "given.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = [word for word in EXTRACT if word not in ("--problems", "problems.jsonl")]
    done = subprocess.run(
        [*given, "--traces", "given.jsonl", "--store", "s", "--json", *RAY],
        cwd=home,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["records"], facts["reasons"]) == (80, {"answer only": 10})


def test_an_interrupt_keeps_what_is_finished_and_another_number_goes_on(home: Path) -> None:
    slow = ["--set", "backend.delay=0.2", "--batch-size", "4", "--scheduler", "fixed"]
    slow += ["--checkpoint-every", "4"]
    log = (home / "log").open("w")
    process = subprocess.Popen([*EXTRACT, "--store", "s", *slow, *RAY], cwd=home, stderr=log)
    while stored(home / "s") < 20:
        assert process.poll() is None, (home / "log").read_text()
        time.sleep(0.1)
    children = psutil.Process(process.pid).children(recursive=True)
    for child in children:
        # Neither can be asked to end, nor notices that the other did.
        if child.name() == "raylet" or "ray::Worker" in " ".join(child.cmdline()):
            child.suspend()
    process.send_signal(signal.SIGTERM)
    process.wait(120)
    assert alive(children) == [], "workers go on without their driver"
    said = (home / "log").read_text()
    assert process.returncode == 130, said
    assert "--resume" in said.splitlines()[-1]
    assert "Traceback" not in said
    kept = stored(home / "s")
    assert 20 <= kept < 300
    done = call(home, "--store", "s", "--resume", "--json", "--executor", "ray", "--workers", "3")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["records"] == 300 - kept
    assert call(home, "--store", "alone").returncode == 0
    check_equal(home, "s", "alone")


def test_a_full_disk_ends_the_workers_too(home: Path) -> None:
    disk = home / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only root may mount a small disk")
    # Ray's sockets need a short name.
    elsewhere = tempfile.mkdtemp(dir="/tmp")
    environment = {**os.environ, "TMPDIR": elsewhere, "HOME": elsewhere}
    words = [*EXTRACT, "--store", "disk/s", "--force", "--checkpoint-every", "4", *RAY]
    try:
        process = subprocess.Popen(
            words, cwd=home, stderr=subprocess.PIPE, text=True, env=environment
        )
        children: dict[int, psutil.Process] = {}
        while process.poll() is None:
            with suppress(psutil.Error):
                found = psutil.Process(process.pid).children(recursive=True)
                children |= {child.pid: child for child in found}
            time.sleep(0.1)
        assert process.stderr is not None
        said = process.stderr.read()
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
    assert process.returncode == 1, said
    assert "no room is left to write the store" in said.splitlines()[-1]
    assert len(children) > 4
    assert alive(children.values()) == []
    assert os.listdir(elsewhere) == []
    os.rmdir(elsewhere)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("executor.workers=0", "executor.workers (--set): must be >= 1"),
        ("executor.address=127.0.0.1:9", "no running Ray was found for 127.0.0.1:9"),
        ("executor.address=ray://head:10001", "expected auto or HOST:PORT"),
        ("executor.gpus=1", "executor.gpus (--set): a worker of 1 GPUs needs more than the 0"),
        ("executor.workers=9 executor.gpus=1", "are more than the 0 GPUs there are"),
    ],
)
def test_what_cannot_be_is_one_line(home: Path, setting: str, said: str) -> None:
    words = [word for one in setting.split() for word in ("--set", one)]
    done = call(home, "--store", "s", "--executor", "ray", *words)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("rjepa-cli: error: executor.")
    assert said in last
    assert "Traceback" not in done.stderr


def test_a_head_that_is_gone_is_told_at_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ray start` writes its address down, and a machine that went down leaves it there."""
    (home / "ray").mkdir()
    (home / "ray" / "ray_current_cluster").write_text("127.0.0.1:9")
    monkeypatch.setenv("RAY_TMPDIR", str(home))
    began = time.monotonic()
    done = call(home, "--store", "s", "--executor", "ray", "--set", "executor.address=auto")
    assert done.returncode == 2, done.stderr
    assert "no running Ray was found for 127.0.0.1:9" in done.stderr.splitlines()[-1]
    assert time.monotonic() - began < 30


def test_a_model_that_cannot_be_loaded_is_said_as_in_one_process(home: Path) -> None:
    words = ["--backend", "huggingface", "--model", "./no-such-folder", "--store", "s"]
    here, there = call(home, *words), call(home, *words, *RAY)
    assert here.returncode == there.returncode == 2
    assert here.stderr.splitlines()[-1] == there.stderr.splitlines()[-1]


def test_the_reference_has_every_setting() -> None:
    text = SETTINGS.read_text()
    hints: dict[str, Any] = get_type_hints(RaySettings)
    for field in attrs.fields(RaySettings):
        cells = [
            f"`executor.{field.name}`",
            type_text(hints[field.name], field),
            default_text(field),
            f"`--{field.name.replace('_', '-')}`",
            describe(RaySettings)[field.name],
        ]
        assert "| " + " | ".join(cells) + " |" in text.replace("|  |", "|  |"), field.name


def alive(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those that are there and no zombies."""
    found = []
    for process in processes:
        with suppress(psutil.Error):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def stored(path: Path) -> int:
    try:
        store = open_store(path)
    except RJepaError:
        return 0
    try:
        return len(store)
    finally:
        store.close()
