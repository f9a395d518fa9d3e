"""A store to evaluate on, made once."""

from __future__ import annotations

from pathlib import Path

import pytest
from evaluation_stores import make_run, make_store


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A folder, a store in it, and a run that was trained on the store."""
    home = tmp_path_factory.mktemp("evaluation")
    store = make_store(home)
    return home, store, make_run(store, home / "run")
