"""Processes that read ahead: whatever becomes of them, nothing hangs and nothing is a traceback."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from latent_stores import make_store

from rjepa_adapters.world_model import workers
from rjepa_adapters.world_model.batches import LengthBatches
from rjepa_adapters.world_model.dataset import Batch, LatentDataset
from rjepa_adapters.world_model.index import open_index
from rjepa_adapters.world_model.workers import Loader
from rjepa_core.config import unstructure
from rjepa_core.errors import StoreError, UsageError
from rjepa_core.plugins.locate import open_store
from rjepa_core.settings.training import DataSettings, TrainingSettings, TrainSettings
from rjepa_core.settings.training import WorldModelSettings as Model

STEPS = [2 + i % 4 for i in range(60)]
# Stops at the third signal; each of them reaches the workers, too.
CODE = """
import signal, sys, yaml
from rjepa_adapters.world_model.run import train
from rjepa_core.config import structure
from rjepa_core.settings import TrainSettings
from rjepa_core.ports.world_model import TrainWatch
came = []
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, frame: came.append(number))
settings = structure(TrainSettings, yaml.safe_load(open(sys.argv[1])))
watch = TrainWatch(report=lambda progress: print(progress.step, flush=True),
                   warn=lambda line: print("warned", line, flush=True), stop=lambda: len(came) == 3)
print(train(sys.argv[2], settings, watch).ending, flush=True)
"""


@pytest.fixture
def store(tmp_path: Path) -> str:
    return make_store(tmp_path / "s", STEPS)


@pytest.fixture
def dataset(store: str) -> LatentDataset:
    return LatentDataset(open_index(DataSettings(stores=(store,)), None))


def order(dataset: LatentDataset) -> LengthBatches:
    return LengthBatches(dataset.index.steps, 4, seed=1)


def pids_of(loader: Loader) -> list[int]:
    assert loader._pool is not None
    return list(loader._pool._processes)


def same(a: Batch, b: Batch) -> bool:
    return torch.equal(a.latents, b.latents) and torch.equal(a.prompts, b.prompts)


def write_settings(path: Path, store: str) -> TrainSettings:
    settings = TrainSettings(
        model=Model(width=16, heads=2, depth=1, predictor_width=16, predictor_heads=2),
        training=TrainingSettings(max_epochs=10_000, batch_size=4, num_workers=2, device="cpu"),
        data=DataSettings(stores=(store,)),
    )
    path.write_text(yaml.safe_dump(unstructure(settings)))
    return settings


def start(home: Path, *words: str) -> subprocess.Popen[str]:
    """A process at the head of a group of its own."""
    return subprocess.Popen(
        [sys.executable, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=home,
        start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def lines_until(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if word in line:
            return
    raise AssertionError(seen)


def test_signals_to_all_processes_end_no_worker(store: str, tmp_path: Path) -> None:
    write_settings(tmp_path / "c.yaml", store)
    process = start(tmp_path, "-c", CODE, "c.yaml", "run")
    lines_until(process, "3")
    for number in (signal.SIGHUP, signal.SIGINT):
        os.killpg(process.pid, number)
        lines_until(process, "0")
    os.killpg(process.pid, signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert said.splitlines()[-1] == "stopped"
    assert "Traceback" not in said
    assert "warned a process" not in said


def test_the_command_ends_with_a_checkpoint_and_says_how_to_go_on(
    store: str, tmp_path: Path
) -> None:
    write_settings(tmp_path / "c.yaml", store)
    words = ["-m", "rjepa_cli", "train", "--config", "c.yaml", "--out", "run"]
    process = start(tmp_path, *words, "--workers", "2")
    lines_until(process, "epoch 2")
    os.killpg(process.pid, signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    last = said.splitlines()[-1]
    again = shlex.join([sys.executable, *words, "--workers", "2", "--resume"])
    assert last == f"rjepa-cli: interrupted; continue with: {again}"
    assert "Traceback" not in said
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) >= 1


@pytest.mark.parametrize("killed", [1, 2])
def test_workers_that_are_killed_are_done_without(dataset: LatentDataset, killed: int) -> None:
    """One of two, whose work the other may do; or both."""
    warned: list[str] = []
    sampler = order(dataset)
    wanted = list(Loader(dataset, sampler))
    loader = Loader(dataset, sampler, num_workers=2, warn=warned.append)
    found: list[Batch] = []
    for batch in loader:
        if len(found) == 2:
            for pid in pids_of(loader)[:killed]:
                os.kill(pid, signal.SIGKILL)
        found.append(batch)
    assert len(found) == len(wanted)
    assert all(map(same, found, wanted))
    assert all(map(same, loader, wanted)), "the next epoch is read, too"
    assert len(warned) == 1 or (killed == 1 and not warned)
    loader.close()
    for line in warned:
        assert "a process that read ahead (training.num_workers) was killed" in line


def test_what_a_worker_refuses_is_one_line(dataset: LatentDataset, store: str) -> None:
    with open_store(store, "write") as writer:
        writer.delete([dataset.index.key(5)[1]])
    loader = Loader(dataset, order(dataset), num_workers=1)
    with pytest.raises(StoreError) as caught:
        list(loader)
    loader.close()
    assert "p-5; the store has changed" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_shared_memory_is_one_line(
    dataset: LatentDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found when a batch is to be sent: the worker says it, and does not fall silent."""

    def full(*given: object) -> None:
        raise RuntimeError("unable to allocate shared memory(shm) for file </x>: No space left\n")

    monkeypatch.setattr(torch.UntypedStorage, "_share_fd_cpu_", full)
    loader = Loader(dataset, order(dataset), num_workers=1)
    with pytest.raises(UsageError) as caught:
        list(loader)
    loader.close()
    assert str(caught.value) == (
        "training.num_workers: 1 processes that read ahead do not get what they need: /dev/shm: "
        "unable to allocate shared memory(shm) for file </x>: No space left, or read in the "
        "training process: training.num_workers=0"
    )


def test_too_little_shared_memory_is_said_before_anything_starts(
    dataset: LatentDataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(workers, "_SHARED", str(tmp_path))
    monkeypatch.setattr(workers, "_SHARED_BYTES", 2**80)
    loader = Loader(dataset, order(dataset), num_workers=2)
    with pytest.raises(UsageError, match=rf"{tmp_path} has .* KiB left; enlarge it, or read in"):
        list(loader)
    assert loader._pool is None


def test_processes_that_cannot_be_started_are_one_line(
    dataset: LatentDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(process: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("multiprocessing.process.BaseProcess.start", none)
    with pytest.raises(UsageError, match="Resource temporarily unavailable, or read in"):
        list(Loader(dataset, order(dataset), num_workers=2))


def test_a_shared_memory_of_64_kib(store: str, tmp_path: Path) -> None:
    """Where the system lets this test have one."""
    small = "mount -t tmpfs -o size=64k tmpfs /dev/shm"
    unshare = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    if shutil.which("unshare") is None or subprocess.run([*unshare, small], check=False).returncode:
        pytest.skip("no namespace of its own can be made here")
    command = [sys.executable, "-m", "rjepa_cli", "train", "--store", store, "--out", "run"]
    done = subprocess.run(
        [*unshare, f"{small} && exec {shlex.join([*command, '--workers', '2'])}"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    [last] = [line for line in done.stderr.splitlines() if "error" in line]
    assert "/dev/shm" in last
    assert last.endswith("or read in the training process: training.num_workers=0 (--workers 0)")
    assert "training.num_workers (--workers): " in last
    assert not (tmp_path / "run").exists()
