"""The flows run for real, with Prefect's embedded server and the demo problems."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from asking import NOW, TRAIN, failing, sound
from looking import artifacts, check_whole, last_run, logged, task_runs
from prefect.client.orchestration import get_client
from rjepa_prefect import evaluate, extract_latents, extract_then_train, train_world_model

from rjepa_core import open_store
from rjepa_core.errors import (
    BackendError,
    StoreExistsError,
    UsageError,
)


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_extraction_then_training_with_one_forced_failure(
    home: Path, extraction: dict[str, Any]
) -> None:
    found = extract_then_train(
        extract=extraction,
        train=TRAIN,
        out="wm",
        evaluate={"evaluate": {"parts": ["prediction"], "draws": 20}},
        **NOW,
    )
    run = last_run()
    assert run.state_type is not None
    assert run.state_type.value == "COMPLETED"
    tasks = task_runs(run, 3)
    assert {name: task.run_count for name, task in tasks.items()} == {
        "extract": 2,
        "train": 1,
        "evaluate": 1,
    }
    # Two batches of four and the one that was lost, then the rest: nothing was done twice.
    first, second, third, *rest = lines_of(home / "faults.log")
    assert third == "fault"
    done = [key for batch in (first, second, *rest) for key in batch.split()]
    assert len(done) == len(set(done)) == 24
    assert found["extract"]["records"] == 16
    assert found["extract"]["store_records"] == 24
    check_whole(home / "latents", extraction)
    told = logged(run, "continuing with what latents holds")
    assert "Retry 1/2 will start" in told
    assert "the device was lost" in told
    assert (home / found["train"]["report"]).is_file()

    pages = artifacts(run)
    assert set(pages) == {"rjepa-extraction", "rjepa-training", "rjepa-evaluation"}
    extracted = pages["rjepa-extraction"]
    assert "| ending | done |" in extracted
    assert "| records | 16 of 16 that were missing |" in extracted
    assert "| failures | 0 |" in extracted
    assert f"| steps | {found['extract']['steps']} |" in extracted
    assert "token/s |" in extracted
    assert "| store | `latents`: 24 records, " in extracted
    trained = pages["rjepa-training"]
    assert "all epochs done: 2 epochs" in trained
    assert f"| best epoch | {found['train']['best_epoch'] or 'the start'}, " in trained
    assert "| report | `wm/report.html` |" in trained
    assert "| epoch | step | loss |" in trained.replace("|  |", "|", 1)
    for row in found["train"]["curve"]:
        assert f"| {row['epoch']} | {row['step']} | {row['loss']:.4g} |" in trained
    for method in ("**world model**", "ridge regression", "mean of the context", "chance"):
        assert f"| {method} |" in pages["rjepa-evaluation"]
    assert set(artifacts(run, "progress").values()) == {"100"}


def test_a_lost_device_too_many_times(home: Path, extraction: dict[str, Any]) -> None:
    extraction = failing(extraction, times=9, after=1)
    with pytest.raises(BackendError, match="the device was lost"):
        extract_latents(settings=extraction, retries=2, **NOW)
    run = last_run()
    assert run.state is not None
    assert run.state.is_failed()
    assert run.state.message == "the device was lost"
    assert task_runs(run, 1)["extract"].run_count == 3
    # A batch each time, which the next try found in the store.
    assert [line == "fault" for line in lines_of(home / "faults.log")] == [False, True] * 3
    store = open_store(home / "latents")
    assert len(store) == 12
    store.close()
    found = extract_latents(settings={**sound(extraction), "run": {"resume": True}})
    assert found["records"] == 12
    check_whole(home / "latents", extraction)


def test_what_nobody_foresaw_is_tried_again_and_raised(
    home: Path, extraction: dict[str, Any]
) -> None:
    with pytest.raises(ZeroDivisionError):
        extract_latents(settings=failing(extraction, how="bug", times=2), retries=1, **NOW)
    assert task_runs(last_run(), 1)["extract"].run_count == 2


def test_a_store_that_is_there_is_refused_and_gone_on_with_if_asked(
    home: Path, extraction: dict[str, Any]
) -> None:
    plain = sound(extraction)
    extract_latents(settings={**plain, "problems": {"sources": "demo", "limit": 5}})
    with pytest.raises(StoreExistsError, match="latents holds 5 records"):
        extract_latents(settings=plain, **NOW)
    assert task_runs(last_run(), 1)["extract"].run_count == 1
    found = extract_then_train(extract=plain, train=TRAIN, out="wm", resume=True)
    assert found["extract"]["records"] == 19
    check_whole(home / "latents", extraction)
    again = extract_then_train(extract=plain, train=TRAIN, out="wm", resume=True)
    assert again["extract"]["records"] == 0
    assert again["train"]["epochs"] == 2
    with pytest.raises(UsageError, match="wm: holds a run already"):
        train_world_model(settings={**TRAIN, "data": {"stores": "latents"}}, out="wm", **NOW)


def test_the_hours_of_all_tries_count_together(
    home: Path, extraction: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second try begins when they are over: it does one batch and stops."""
    later = SimpleNamespace(time=lambda: time.time() + 3 * 3600)
    monkeypatch.setattr("rjepa_prefect.tasks.time", later)
    found = extract_latents(settings={**extraction, "run": {"max_hours": 2}}, **NOW)
    assert (found["ending"], found["records"], found["store_records"]) == ("stopped", 4, 12)


def test_evaluation_alone_encodes_what_is_missing(home: Path, extraction: dict[str, Any]) -> None:
    plain = {**sound(extraction), "problems": {"sources": "demo", "samples": 3}}
    extract_then_train(extract=plain, train=TRAIN, out="wm")
    asked = {
        "world_models": "wm",
        "stores": "latents",
        "parts": ["damage"],
        "damage": ["foreign"],
        "draws": 20,
    }
    settings = {"evaluate": asked, "model": "m", "backend": "seeded"}
    found = evaluate(settings=settings)
    assert [table["part"] for table in found["tables"]] == ["damage"]
    run = last_run()
    page = artifacts(run)["rjepa-evaluation"]
    assert found["tables"][0]["title"] in page
    assert "| ridge regression, past |" in page
    logged(run, "encoding: ")
    with pytest.raises(UsageError, match="wm2: there is no trained world model"):
        evaluate(settings={"evaluate": {**asked, "world_models": "wm2"}}, **NOW)
    assert task_runs(last_run(), 1)["evaluate"].run_count == 1


def test_training_goes_on_at_its_last_checkpoint(
    home: Path, extraction: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full when the second epoch's checkpoint is written; the losses are those of a
    run that was never interrupted."""
    from rjepa_adapters.world_model import checkpoint
    from rjepa_core.errors import DiskFullError

    extract_latents(settings=sound(extraction))
    settings = {
        **TRAIN,
        "training": {"max_epochs": 4, "patience": 0},
        "data": {"stores": "latents"},
    }
    whole = train_world_model(settings=settings, out="whole")
    real, calls = checkpoint.write, []

    def save(*args: Any, **options: Any) -> Any:
        calls.append(args)
        # The first one is of the start.
        if len(calls) == 4:
            raise DiskFullError("wm: no room for a checkpoint")
        return real(*args, **options)

    monkeypatch.setattr(checkpoint, "write", save)
    found = train_world_model(settings=settings, out="wm", **NOW)
    assert len(calls) > 4
    run = last_run()
    assert task_runs(run, 1)["train"].run_count == 2
    assert "no room for a checkpoint" in logged(run, "going on at epoch 3")
    losses = [[row["loss"] for row in one["curve"]] for one in (whole, found)]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 4


@pytest.fixture
def small_disk(home: Path) -> Iterator[Path]:
    """A disk of 2 MB, where this user may mount one."""
    place = home / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    try:
        refused = subprocess.run(mount, capture_output=True).returncode
    except OSError:
        refused = 1
    if refused:
        pytest.skip("needs the right to mount a small disk")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_disk_that_is_full_and_has_room_again(
    home: Path, extraction: dict[str, Any], small_disk: Path
) -> None:
    """A real one; somebody makes room while the task waits for its second try."""
    wide = {"name": "seeded", "hidden_size": 4096}
    extraction = {
        **extraction,
        "backend": wide,
        "problems": {"sources": "demo", "samples": 8},
        "store": {"path": str(small_disk / "latents"), "checkpoint_every": 8},
        "run": {"force": True},
    }

    def make_room() -> None:
        while not waiting():
            time.sleep(0.1)
        grow = ["mount", "-o", "remount,size=64m", str(small_disk)]
        subprocess.run(grow, check=True)

    def waiting() -> bool:
        with get_client(sync_client=True) as client:
            found = client.read_task_runs()
        return any(one.state_name == "AwaitingRetry" for one in found)

    helper = threading.Thread(target=make_room)
    helper.start()
    found = extract_latents(settings=extraction, retries=1, retry_delay_seconds=8)
    helper.join(30)
    run = last_run()
    assert task_runs(run, 1)["extract"].run_count == 2
    assert "full" in logged(run, "continuing with what")
    assert 0 < found["records"] < 192
    assert found["store_records"] == 192
    store = open_store(small_disk / "latents")
    keys = list(store.keys())
    store.close()
    assert len(keys) == len(set(keys)) == 192


def test_settings_reach_the_use_case_as_those_of_the_command_line_do(
    home: Path, extraction: dict[str, Any]
) -> None:
    """Templates stand beside the usual ones, and text stands for numbers."""
    settings = {
        **sound(extraction),
        "problems": {"sources": ["demo"], "limit": "6"},
        "prompt": {"templates": {"math": "Solve: {statement}"}},
        "sampling": {"seed": 5},
    }
    extract_latents(settings=settings)
    store = open_store(home / "latents")
    identity = store.identity
    [begin, *_] = store.history()
    store.close()
    assert identity is not None
    assert identity.generation.seed == 5
    assert set(dict(identity.space.prompt.templates)) >= {"math", "code"}
    assert begin["asked"]["problems"] == 6


def test_parameters_of_the_flows_are_described() -> None:
    for flow in (extract_latents, train_world_model, evaluate, extract_then_train):
        schema = flow.parameters.model_dump()
        assert json.dumps(schema)
        assert flow.description
