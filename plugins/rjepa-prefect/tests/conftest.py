"""Shared by the tests: a Prefect with its embedded server, and a backend that fails."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
# Before Prefect is imported: it reads its settings then, and writes its profile there.
os.environ["DO_NOT_TRACK"] = "1"
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"


@pytest.fixture(scope="session", autouse=True)
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Nothing of the tests goes into the user's own Prefect."""
    home = tmp_path_factory.mktemp("prefect-home")
    os.environ["PREFECT_HOME"] = str(home)
    yield home
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def server(prefect_home: Path) -> Iterator[str]:
    """Prefect's embedded server, really started; the address of its API."""
    from prefect.settings import PREFECT_API_URL
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        address = PREFECT_API_URL.value()
        assert address is not None
        yield address


@pytest.fixture(scope="session")
def faulty_plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The faulty backend as an installed plugin, for this process and those that it starts."""
    place = tmp_path_factory.mktemp("faulty")
    shutil.copy(Path(__file__).with_name("faulty_backend.py"), place)
    installed = place / "rjepa_faulty-0.1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: rjepa-faulty\nVersion: 0.1\n")
    (installed / "entry_points.txt").write_text("[rjepa.v2]\nfaulty = faulty_backend\n")
    sys.path.insert(0, str(place))
    return place


@pytest.fixture
def home(tmp_path: Path, server: str, faulty_plugin: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to run in, with a server at hand."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def extraction() -> dict[str, Any]:
    """The demo problems, four at a time, on the faulty backend, which fails after 8 of them."""
    return {
        "problems": {"sources": "demo"},
        "model": "m",
        "backend": {"name": "faulty"},
        "scheduler": {"name": "fixed", "batch_size": 4},
        "encoding": {"layers": [-1]},
        "store": {"path": "latents", "checkpoint_every": 4},
    }
