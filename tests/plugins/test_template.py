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
    assert "rjepa-template" in done.stdout
    assert "template" in done.stdout


def test_its_settings_are_checked(environment: dict[str, str], tmp_path: Path) -> None:
    args = ["extract", "--backend", "template", "--model", "parrot", "--problems", "demo"]
    store = str(tmp_path / "store")
    done = command(environment, *args, "--store", store, "--set", "backend.stepz=2")
    assert done.returncode == 2
    assert "backend.stepz" in done.stderr
    assert "steps" in done.stderr
