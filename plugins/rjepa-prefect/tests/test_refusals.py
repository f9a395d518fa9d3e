"""What is refused, not tried again, or not gone on with."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from asking import NOW, TRAIN, failing, sound
from looking import artifacts, last_run, logged, task_runs
from rjepa_prefect import deploy, extract_latents, extract_then_train, train_world_model

from rjepa_core.errors import InputError, ProblemsFailedError, SettingsError, UsageError


@pytest.mark.parametrize("retries", [0, 2])
def test_what_the_user_must_mend_is_not_tried_again(
    home: Path, extraction: dict[str, Any], retries: int
) -> None:
    extraction = failing(extraction, how="usage", times=9)
    with pytest.raises(InputError, match="line 3"):
        extract_latents(settings=extraction, retries=retries, **NOW)
    run = last_run()
    assert run.state is not None
    assert run.state.message == "problems.jsonl, line 3: no statement"
    assert task_runs(run, 1)["extract"].run_count == 1
    assert (home / "faults.log").read_text().count("fault") == 1
    assert "Traceback" not in logged(run, "line 3: no statement")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"modle": "m"}, "modle: unknown setting; did you mean model?"),
        ({"sampling": {"temperature": -1}}, "sampling.temperature: must be >= 0, got -1"),
        ({"backend": {"name": "seeded", "hiden_size": 3}}, "did you mean backend.hidden_size?"),
        ({"scheduler": "adaptve"}, "unknown scheduler 'adaptve'; did you mean 'adaptive'?"),
        ({"store": "memory:"}, "store.path: a store in memory ends with the extraction"),
    ],
)
def test_a_wrong_setting_is_told_before_anything_begins(
    home: Path, extraction: dict[str, Any], changed: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError) as raised:
        extract_then_train(extract={**extraction, **changed}, train=TRAIN, out="wm")
    assert said in str(raised.value)
    run = last_run()
    assert run.state is not None
    assert run.state.message == str(raised.value)
    assert task_runs(run, 0) == {}
    assert not (home / "latents").exists()


def test_settings_of_later_parts_are_checked_first(home: Path, extraction: dict[str, Any]) -> None:
    for train, evaluation, options, said in (
        ({"training": {"max_epoch": 3}}, None, {}, "did you mean training.max_epochs?"),
        (TRAIN, {"evaluate": {"parts": ["all"]}}, {}, "evaluate.parts: must be of"),
        (TRAIN, None, {"retries": -1}, "retries: must be >= 0, got -1"),
        (TRAIN, None, {"out": ""}, "out: must not be empty"),
    ):
        asked = {"out": "wm", **options}
        with pytest.raises(SettingsError) as raised:
            extract_then_train(extract=extraction, train=train, evaluate=evaluation, **asked)
        assert said in str(raised.value)
    assert not (home / "latents").exists()
    with pytest.raises(UsageError, match="no latents"):
        train_world_model(settings={}, out="wm")


def test_places_of_later_parts_are_checked_first(home: Path, extraction: dict[str, Any]) -> None:
    (home / "a-file").write_text("x")
    for train, evaluation, out, said in (
        (TRAIN, None, "a-file", "out: a-file is a file"),
        ({**TRAIN, "data": {"stores": ["nostore"]}}, None, "wm", "nostore"),
        (TRAIN, {"evaluate": {"stores": ["nostore"]}}, "wm", "nostore"),
        (TRAIN, {"evaluate": {"world_models": ["no-run"]}}, "wm", "no-run: there is no trained"),
    ):
        with pytest.raises(UsageError) as raised:
            extract_then_train(extract=extraction, train=train, evaluate=evaluation, out=out)
        assert said in str(raised.value)
        assert task_runs(last_run(), 0) == {}
    assert not (home / "latents").exists()


def test_a_run_that_is_there_is_told_before_the_extraction(
    home: Path, extraction: dict[str, Any]
) -> None:
    first = {**sound(extraction), "store": "first"}
    extract_then_train(extract=first, train=TRAIN, out="wm", **NOW)
    with pytest.raises(UsageError, match="out: wm holds a run already"):
        extract_then_train(extract=sound(extraction), train=TRAIN, out="wm", **NOW)
    assert not (home / "latents").exists()


def test_deploying_into_no_folder_or_no_pool(home: Path) -> None:
    with pytest.raises(UsageError, match="folder: there is no"):
        deploy("rjepa", folder="/no/such/folder")
    with pytest.raises(UsageError, match=r"pool: .*no-pool"):
        deploy("no-pool")


def test_a_folder_that_the_worker_deletes_is_refused(
    home: Path, extraction: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(suffix="prefect") as place:
        monkeypatch.chdir(place)
        with pytest.raises(UsageError, match=r"store\.path: latents would lie in .* working_dir"):
            extract_latents(settings=extraction)
        absolute = {**sound(extraction), "store": str(home / "latents")}
        assert extract_latents(settings=absolute)["records"] == 24
        monkeypatch.chdir(home)


def test_more_failed_than_allowed(home: Path, extraction: dict[str, Any]) -> None:
    rows = [
        {"id": f"g{i}", "question": f"{i}?", "solution": "#### 7" if i == 3 else "a\nb\nc"}
        for i in range(10)
    ]
    (home / "given.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {**sound(extraction), "problems": {"traces": "given.jsonl"}}
    with pytest.raises(ProblemsFailedError, match="1 of 10 failed, more than"):
        extract_then_train(extract=given, train=TRAIN, out="wm", **NOW)
    run = last_run()
    assert task_runs(run, 1)["extract"].run_count == 1
    assert run.state is not None
    assert run.state.is_failed()
    assert (run.state.message or "").endswith("1 of 10 failed, more than run.allow_failures=0%")
    page = artifacts(run)["rjepa-extraction"]
    assert "| ending | done, and more failed than was allowed |" in page
    assert "| failures | 1 (1 answer only) |" in page
    assert not (home / "wm").exists()
    allowed = {**given, "run": {"resume": True, "allow_failures": "10%"}}
    assert extract_latents(settings=allowed)["exit_code"] == 0
    assert "0, and 1 of earlier runs" in artifacts(last_run())["rjepa-extraction"]


def test_what_is_not_whole_is_not_trained_on(home: Path, extraction: dict[str, Any]) -> None:
    short = {**sound(extraction), "run": {"max_hours": 1e-9}}
    found = extract_then_train(extract=short, train=TRAIN, out="wm")
    assert list(found) == ["extract"]
    assert found["extract"]["records"] == 4
    run = last_run()
    assert (run.state_name, run.state_type and run.state_type.value) == ("Stopped", "COMPLETED")
    assert run.state is not None
    assert "run.max_hours has passed" in (run.state.message or "")
    assert "| ending | stopped by run.max_hours |" in artifacts(run)["rjepa-extraction"]
    assert not (home / "wm").exists()
