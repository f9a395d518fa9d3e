"""Two nodes on one host, as `ray start` makes them; one of them goes in mid-run."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rjepa_core import RJepaError, open_store
from rjepa_core.testing.samples import record_differences

RAY = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
CLI = [sys.executable, "-m", "rjepa_cli", "extract", "--model", "m", "--json"]
PROBLEMS = 800


@pytest.fixture
def head(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a cluster whose only node has one core."""
    # Nodes and driver must agree; which mode is the default depends on Ray's version.
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--head", f"--port={port}", "--num-cpus=1", "--include-dashboard=false"]
    node = start_node(*options)
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            assert node.poll() is None, "the head did not start"
            time.sleep(0.2)
    yield f"127.0.0.1:{port}"
    stop_node(node)


def start_node(*options: str) -> subprocess.Popen[bytes]:
    """A node in a process group of its own, so that all of it can be killed."""
    return subprocess.Popen(
        [*RAY, f"--object-store-memory={1 << 27}", *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def stop_node(node: subprocess.Popen[bytes]) -> None:
    if node.poll() is None:
        os.killpg(node.pid, signal.SIGTERM)
        node.wait(60)


def stored(path: Path) -> int:
    try:
        store = open_store(path)
    except RJepaError:
        return 0
    try:
        return len(store)
    finally:
        store.close()


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_a_node_that_goes_takes_nothing_with_it(
    head: str, tmp_path: Path, ending: signal.Signals
) -> None:
    file = tmp_path / "problems.jsonl"
    rows = [{"id": f"p{i}", "question": f"What is {i} plus 1?"} for i in range(PROBLEMS)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    base = [*CLI, "--problems", str(file), "--backend", "seeded", "--set", "backend.delay=0.1"]
    base += ["--scheduler", "fixed", "--batch-size", "4"]
    base += ["--checkpoint-every", "8"]
    second = start_node(f"--address={head}", "--num-cpus=1")
    try:
        wait_for_cores(head, 2)
        log = (tmp_path / "log").open("w+")
        ours = [*base, "--store", str(tmp_path / "ours"), "--executor", "ray"]
        ours += ["--set", f"executor.address={head}", "--workers", "2"]
        driver = subprocess.Popen(ours, stdout=subprocess.PIPE, stderr=log, text=True)
        while stored(tmp_path / "ours") < PROBLEMS // 4:
            assert driver.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.05)
        os.killpg(second.pid, ending)
        out, _ = driver.communicate(timeout=400)
    finally:
        stop_node(second)
    said = (tmp_path / "log").read_text()
    assert driver.returncode == 0, said
    assert json.loads(out)["records"] == PROBLEMS
    assert "worker lost" in said, f"both workers were on one node, or none was lost:\n{said}"
    alone = [*base, "--store", str(tmp_path / "alone")]
    alone[alone.index("backend.delay=0.1")] = "backend.delay=0"
    subprocess.run(alone, check=True, capture_output=True)
    compare(tmp_path / "ours", tmp_path / "alone")


def wait_for_cores(address: str, wanted: int) -> None:
    """Asked in a process of its own: a driver may join one cluster only."""
    script = (
        "import sys, time, ray; ray.init(sys.argv[1], log_to_driver=False)\n"
        "while ray.cluster_resources().get('CPU', 0) < int(sys.argv[2]): time.sleep(0.2)"
    )
    until = time.monotonic() + 240
    while True:
        done = subprocess.run(
            [sys.executable, "-c", script, address, str(wanted)], capture_output=True, text=True
        )
        if done.returncode == 0:
            return
        # A node that is being started on a busy machine is late for Ray's own patience.
        assert time.monotonic() < until, done.stderr


def compare(ours: Path, alone: Path) -> None:
    one, other = open_store(ours), open_store(alone)
    assert sorted(one.keys()) == sorted(other.keys())
    assert not list(one.failures())
    for key in other.keys():  # noqa: SIM118  not a mapping
        assert not record_differences(one.get(key), other.get(key))
    one.close()
    other.close()
