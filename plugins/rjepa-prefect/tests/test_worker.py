"""Runs that a worker takes from a work queue: failed, killed, cancelled, and gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
from asking import TRAIN, sound
from looking import artifacts, check_whole, logged, task_runs
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelling, Scheduled
from rjepa_prefect import deploy

from rjepa_core import RJepaError, open_store
from rjepa_core.plugins.locate import locate

POOL, QUEUE = "rjepa-tests", "night"
LONG = 180.0
PREFECT = [sys.executable, "-m", "prefect"]


@pytest.fixture(scope="module")
def pool(server: str) -> str:
    """A work pool of processes."""
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    return POOL


@pytest.fixture
def environment(home: Path, server: str, faulty_plugin: Path) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(faulty_plugin), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PREFECT_API_URL": server, "PYTHONPATH": path}


@pytest.fixture
def worker(pool: str, environment: dict[str, str], home: Path) -> Iterator[None]:
    """A worker of that pool, as `prefect worker start` makes one."""
    log = (home / "worker.log").open("w")
    start = [*PREFECT, "worker", "start", "--pool", pool, "--work-queue", QUEUE]
    environment = {**environment, "PREFECT_WORKER_QUERY_SECONDS": "1"}
    process = subprocess.Popen(
        start,
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
        # Where a run works is the deployment's affair.
        cwd="/",
        # A worker ends by SIGINT, which whatever was started in the background ignores.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    yield
    process.terminate()
    try:
        process.wait(60)
    finally:
        process.kill()


def queue(flow: str, **parameters: Any) -> UUID:
    """A run into the queue."""
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(f"{flow}/rjepa")
        assert deployment.work_queue_name == QUEUE
        run = client.create_flow_run_from_deployment(deployment.id, parameters=parameters)
    return run.id


def read(run: UUID) -> FlowRun:
    with get_client(sync_client=True) as client:
        return client.read_flow_run(run)


def wait(run: UUID, done: Callable[[FlowRun], bool]) -> FlowRun:
    end = time.monotonic() + LONG
    while True:
        found = read(run)
        if done(found) or time.monotonic() > end:
            assert done(found), (found.state, logged(found, ""))
            return found
        time.sleep(0.3)


def ended(run: FlowRun) -> bool:
    return run.state is not None and run.state.is_final()


def stored(path: Path) -> int:
    try:
        store = open_store(path)
    except RJepaError:
        return 0
    try:
        return len(store)
    finally:
        store.close()


def test_queued_failed_tried_again_and_trained_on(
    home: Path, extraction: dict[str, Any], worker: None
) -> None:
    """An extraction tonight, then a training run, tried twice more."""
    deploy(POOL, QUEUE)
    began = queue(
        "extract-then-train", extract=extraction, train=TRAIN, out="wm", retry_delay_seconds=1
    )
    run = wait(began, ended)
    assert run.state_name == "Completed", logged(run, "")
    assert {name: task.run_count for name, task in task_runs(run, 2).items()} == {
        "extract": 2,
        "train": 1,
    }
    check_whole(home / "latents", extraction)
    assert (home / "wm" / "report.html").is_file()
    pages = artifacts(run)
    assert "| records | 16 of 16 that were missing |" in pages["rjepa-extraction"]
    assert "all epochs done: 2 epochs" in pages["rjepa-training"]


def test_killed_and_begun_again_from_its_page(
    home: Path, extraction: dict[str, Any], worker: None
) -> None:
    """A kill leaves a crashed run; `Retry` goes on with what the store holds."""
    deploy(POOL, QUEUE)
    killed = {**extraction, "backend": {"name": "faulty", "how": "kill", "after": 3}}
    run = wait(queue("extract-latents", settings=killed), ended)
    assert run.state_name == "Crashed"
    assert stored(home / "latents") == 12
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, Scheduled(name="AwaitingRetry"), force=True)
    run = wait(run.id, lambda one: ended(one) and one.state_name != "Crashed")
    assert run.state_name == "Completed", logged(run, "")
    check_whole(home / "latents", extraction)
    assert "| records | 12 of 12 that were missing |" in artifacts(run)["rjepa-extraction"]


@pytest.mark.parametrize("part", ["extraction", "training"])
def test_cancelled_and_gone_on_with(
    home: Path, extraction: dict[str, Any], worker: None, part: str
) -> None:
    deploy(POOL, QUEUE)
    slow = {**extraction, "backend": {"name": "seeded", "delay": 1.0}}
    plain = sound(extraction)
    train = {**TRAIN, "training": {"max_epochs": 100_000, "patience": 0}}
    began = queue(
        "extract-then-train",
        extract=slow if part == "extraction" else plain,
        train=train,
        out="wm",
        retry_delay_seconds=1,
    )
    mark = home / "wm" / "checkpoints"
    end = time.monotonic() + LONG
    while not (stored(home / "latents") >= 4 if part == "extraction" else mark.is_dir()):
        assert time.monotonic() < end, logged(read(began), "")
        time.sleep(0.2)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(began, Cancelling())
    run = wait(began, ended)
    assert run.state_name == "Cancelled", logged(run, "")
    place = locate(home / "latents")
    assert place.maintenance().verify(place.place).sound
    kept = stored(home / "latents")
    if part == "extraction":
        assert 4 <= kept < 24
    found = wait(queue("extract-latents", settings={**plain, "run": {"resume": True}}), ended)
    assert found.state_name == "Completed"
    check_whole(home / "latents", extraction)
    if part == "training":
        assert "going on at epoch" in train_again(home)


def train_again(home: Path) -> str:
    """A cancelled training run can be gone on with by the command line as well."""
    done = subprocess.Popen(
        [sys.executable, "-m", "rjepa_cli", "train", "--out", "wm", "--resume"],
        cwd=home,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.stderr is not None
    told = ""
    for line in done.stderr:
        told += line
        if "going on at" in line or "error" in line:
            break
    psutil.Process(done.pid).kill()
    done.communicate()
    return told


def test_the_shell_way(home: Path, extraction: dict[str, Any], environment: dict[str, str]) -> None:
    """`prefect work-pool create`, `deploy`, `prefect deployment run`, `prefect worker start`."""
    plain = sound(extraction)

    def call(*words: str) -> str:
        done = subprocess.run(words, env=environment, cwd=home, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    call(*PREFECT, "work-pool", "create", "shell", "--type", "process")
    call(sys.executable, "-c", "import rjepa_prefect; rjepa_prefect.deploy('shell')")
    parameters = json.dumps({"extract": plain, "train": TRAIN, "out": "wm"})
    run = [*PREFECT, "deployment", "run", "extract-then-train/rjepa", "--params", parameters]
    call(*run)
    told = call(*PREFECT, "worker", "start", "--pool", "shell", "--run-once")
    assert "Finished in state Completed()" in told
    assert stored(home / "latents") == 24
    assert (home / "wm" / "report.html").is_file()
