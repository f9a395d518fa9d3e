"""The plugin template, built and installed with pip outside the project's own environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A folder of its own with nothing but the plugin in it, in front of what is installed."""
    place = tmp_path_factory.mktemp("plugin")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(place)]
    done = subprocess.run(
        [*pip, "--no-build-isolation", str(ROOT / "plugins" / "template")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    searched = [str(place), os.environ.get("PYTHONPATH")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, searched))}


def command(environment: dict[str, str], *args: str) -> subprocess.CompletedProcess[str]:
    script = Path(sysconfig.get_path("scripts")) / "rjepa-cli"
    return subprocess.run([str(script), *args], capture_output=True, text=True, env=environment)


def test_extract_with_the_template(environment: dict[str, str], tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    args = ["extract", "--backend", "template", "--model", "parrot", "--problems", "demo"]
    chosen = ["--store", store, "--layer", "-1", "--set", "backend.steps=2"]
    done = command(environment, *args, *chosen)
    assert done.returncode == 0, done.stderr
    shown = json.loads(command(environment, "show", store, "--json").stdout)
    assert shown["records"] == shown["problems"] >= 24
    assert shown["steps"] == 2 * shown["records"]


def test_it_is_listed_with_its_distribution(environment: dict[str, str]) -> None:
    done = command(environment, "plugins")
    assert done.returncode == 0
    rows = done.stdout.splitlines()
    at = rows.index(next(row for row in rows if row.startswith("template ")))
    assert rows[at].split() == ["template", "0.1.0", "rjepa-template", "ok"]
    kinds = [row.split()[:2] for row in rows[at + 1 : at + 9]]
    wanted = ["backend", "store", "scheduler", "executor", "source", "probe"]
    wanted += ["grader", "world_model"]
    assert sorted(kinds) == sorted([kind, "template"] for kind in wanted)


def test_its_own_tests_pass(environment: dict[str, str], tmp_path: Path) -> None:
    """Every port's contract suite, against the template's adapter."""
    tests = ROOT / "plugins" / "template" / "tests"
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts="]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tests)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**environment, "HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path)},
    )
    assert done.returncode == 0, done.stdout[-8000:]
    last = done.stdout.splitlines()[-1]
    assert "skipped" not in last, "every promise of every port is tested"
    assert int(last.split()[0]) > 150


def test_a_run_with_nothing_built_in(environment: dict[str, str], tmp_path: Path) -> None:
    problems = tmp_path / "mine.problems.txt"
    problems.write_text("How many are 2 and 3?\n\nHow many\nare 4 and 5?\n")
    place = f"template:{tmp_path / 'store'}"
    args = ["extract", "--backend", "template", "--model", "parrot", "--layer", "-1"]
    chosen = ["--scheduler", "template", "--executor", "template"]
    chosen += ["--problems", str(problems), "--store", place]
    done = command(environment, *args, *chosen)
    assert done.returncode == 0, done.stderr
    again = command(environment, *args, *chosen, "--resume", "--json")
    assert json.loads(again.stdout)["records"] == 0, "nothing is done twice"
    shown = json.loads(command(environment, "show", place, "--json").stdout)
    assert (shown["records"], shown["steps"]) == (2, 6)


def test_its_settings_are_checked(environment: dict[str, str], tmp_path: Path) -> None:
    args = ["extract", "--backend", "template", "--model", "parrot", "--problems", "demo"]
    store = str(tmp_path / "store")
    done = command(environment, *args, "--store", store, "--set", "backend.stepz=2")
    assert done.returncode == 2
    assert "backend.stepz" in done.stderr
    assert "steps" in done.stderr
