"""The how-to page: its commands and files, as they stand."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any

import pytest
from looking import artifacts, check_whole, last_run
from pages import Command, File, parts
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists
from rjepa_prefect.parameters import extraction_of, training_of

from rjepa_core import Registry

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "how-to" / "run-with-prefect.md").read_text(encoding="utf-8")
NIGHT: dict[str, Any] = json.loads(PAGE.split("```json\n")[1].split("```")[0])
FILES = {part.path: part.text for part in parts(PAGE) if isinstance(part, File)}
COMMANDS = [part.line for part in parts(PAGE) if isinstance(part, Command)]


@pytest.fixture
def environment(home: Path, server: str, faulty_plugin: Path) -> dict[str, str]:
    with get_client(sync_client=True) as client, contextlib.suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name="rjepa", type="process"))
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    return {**os.environ, "PREFECT_API_URL": server, "PATH": path, "PYTHONPATH": str(faulty_plugin)}


def shell(line: str, home: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["bash", "-c", line], cwd=home, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"$ {line}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def test_what_is_to_be_done_is_well_formed(home: Path) -> None:
    extraction = extraction_of(NIGHT["extract"], Registry())
    assert extraction.run.allow_failures == 0.01
    training = training_of(NIGHT["train"], NIGHT["out"], extraction.store.path)
    assert training.data.stores == ("latents",)


def test_the_three_lines(home: Path, environment: dict[str, str]) -> None:
    """All but the worker, which would wait for tonight; another line of the test is one for now."""
    first, second, third = COMMANDS[:3]
    (home / "night.json").write_text(json.dumps(NIGHT))
    shell(first, home, environment)
    shell(second, home, environment)
    with get_client(sync_client=True) as client:
        [run] = [one for one in client.read_flow_runs() if one.parameters.get("retries") == 2]
        assert run.parameters["extract"] == NIGHT["extract"]
        assert run.expected_start_time is not None
        assert run.expected_start_time.strftime("%H:%M") == "22:00"
        client.delete_flow_run(run.id)
    assert third == "prefect worker start --pool rjepa"


def test_every_night(home: Path, environment: dict[str, str], extraction: dict[str, Any]) -> None:
    (home / "prefect.yaml").write_text(FILES["night/prefect.yaml"])
    assert "`prefect --no-prompt deploy --all`" in PAGE
    shell("prefect --no-prompt deploy --all", home, environment)
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("extract-then-train/night")
        assert [one.schedule.cron for one in deployment.schedules] == ["0 22 * * *"]
        assert deployment.parameters["resume"] is True
        assert deployment.job_variables["working_dir"] == str(home)
        run = client.create_flow_run_from_deployment(
            deployment.id, parameters={"extract": {**extraction, "backend": "seeded"}}
        )
        # Those of the coming nights would be taken as well.
        for schedule in deployment.schedules:
            client.delete_deployment_schedule(deployment.id, schedule.id)
    told = shell("prefect worker start --pool rjepa --run-once", home, environment)
    with get_client(sync_client=True) as client:
        found = client.read_flow_run(run.id)
        client.delete_deployment(deployment.id)
    assert found.state_name == "Completed", told
    check_whole(home / "latents", extraction)
    assert "40 epochs" in artifacts(found)["rjepa-training"] or "early" in told


def test_every_night_without_a_work_pool(
    home: Path, environment: dict[str, str], extraction: dict[str, Any]
) -> None:
    (home / "serve.py").write_text(FILES["night/serve.py"])
    made: list[Any] = []
    with get_client(sync_client=True) as client, (home / "log").open("w") as log:
        before = {one.id for one in client.read_deployments()}
        process = subprocess.Popen(
            [sys.executable, "serve.py"], cwd=home, env=environment, stdout=log, stderr=log
        )
        try:
            end = time.monotonic() + 240
            while not made and time.monotonic() < end:
                assert process.poll() is None, (home / "log").read_text()
                made = [one for one in client.read_deployments() if one.work_pool_name is None]
                made = [one for one in made if one.id not in before]
                time.sleep(0.5)
            assert made, (home / "log").read_text()
            run = client.create_flow_run_from_deployment(
                made[0].id,
                parameters={
                    **made[0].parameters,
                    "extract": {**extraction, "backend": "seeded"},
                    "train": {"training": {"max_epochs": 1}},
                },
            )
            while time.monotonic() < end:
                run = client.read_flow_run(run.id)
                if run.state is not None and run.state.is_final():
                    break
                time.sleep(0.5)
        finally:
            process.kill()
            process.wait()
            for one in made:
                client.delete_deployment(one.id)
    assert run.state_name == "Completed", (home / "log").read_text()
    check_whole(home / "latents", extraction)


@pytest.mark.slow
@pytest.mark.smollm2
def test_from_python(home: Path, environment: dict[str, str]) -> None:
    """Without a server at hand: Prefect starts its own."""
    (home / "night.py").write_text(FILES["night/night.py"])
    del environment["PREFECT_API_URL"]
    shell(f"{sys.executable} night.py", home, environment)
    assert (home / "world-model" / "report.html").is_file()


def test_the_table_of_artifacts_is_right(home: Path, extraction: dict[str, Any]) -> None:
    from rjepa_prefect import extract_then_train

    extract_then_train(
        extract={**extraction, "backend": "seeded"},
        train={"training": {"max_epochs": 1}},
        out="wm",
        evaluate={"evaluate": {"parts": ["prediction"], "draws": 5}},
    )
    for key in artifacts(last_run()):
        assert f"`{key}`" in PAGE
