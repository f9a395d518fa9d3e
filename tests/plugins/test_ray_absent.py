"""The Ray plugin where Ray is not: one line, and nothing else of the project minds."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parents[2] / "plugins" / "rjepa-ray"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The plugin installed into a folder of its own, and a Ray that cannot be imported."""
    place = tmp_path_factory.mktemp("plugin")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(place)]
    done = subprocess.run(
        [*pip, "--no-build-isolation", str(PLUGIN)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (place / "ray.py").write_text("raise ModuleNotFoundError(\"No module named 'ray'\")")
    path = os.pathsep.join([str(place), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path}


def command(environment: dict[str, str], *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rjepa_cli", *args]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_one_line_says_what_is_missing(environment: dict[str, str], tmp_path: Path) -> None:
    base = ["extract", "--problems", "demo", "--backend", "seeded", "--model", "m"]
    store = ["--store", str(tmp_path / "s")]
    done = command(environment, *base, *store, "--executor", "ray", "--set", "executor.workers=2")
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("rjepa-cli: error: executor 'ray': the package ray cannot be imported")
    assert "install rjepa-ray (" in last
    assert re.search(r"pip install .*rjepa-ray\)", last)
    assert "Traceback" not in done.stderr
    assert command(environment, *base, *store).returncode == 0


def test_it_is_listed_and_its_settings_are_checked(
    environment: dict[str, str], tmp_path: Path
) -> None:
    listed = command(environment, "plugins", "ray").stdout
    assert "rjepa-ray" in listed
    assert "workers" in listed
    base = ["extract", "--problems", "demo", "--backend", "seeded", "--model", "m"]
    base += ["--store", str(tmp_path / "s"), "--executor", "ray"]
    for setting, said in (
        ("executor.workers=0", "executor.workers (--set): must be >= 1, got 0"),
        ("executor.workrs=2", "did you mean executor.workers (--workers)?"),
        ("executor.gpus=-1", "executor.gpus (--set): must be >= 0"),
    ):
        done = command(environment, *base, "--set", setting)
        assert done.returncode == 2
        assert said in done.stderr


def test_an_executor_that_is_not_there(environment: dict[str, str], tmp_path: Path) -> None:
    base = ["extract", "--problems", "demo", "--backend", "seeded", "--model", "m"]
    done = command(environment, *base, "--store", str(tmp_path / "s"), "--executor", "rya")
    assert done.returncode == 2
    assert "unknown executor 'rya'; did you mean 'ray'?" in done.stderr
