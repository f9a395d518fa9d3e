"""One small service for the tests that only ask."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest
from services import client, make_trained, opened, running

from rjepa_core.serving import Served


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A store, and a world model trained on it."""
    return make_trained(tmp_path_factory.mktemp("service"))


@pytest.fixture(scope="session")
def trained_space(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A world model that predicts in a space of its own."""
    return make_trained(tmp_path_factory.mktemp("space"), "sigreg")[1]


@pytest.fixture(scope="module")
def served(trained: tuple[str, str]) -> Iterator[Served]:
    with opened(trained[1], trained[0], model="m") as served:
        yield served


@pytest.fixture(scope="module")
def address(served: Served) -> Iterator[str]:
    with running(served) as address:
        yield address


@pytest.fixture
def caller(address: str) -> Iterator[httpx2.Client]:
    with client(address) as caller:
        yield caller
