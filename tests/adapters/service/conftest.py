"""One small service for the tests that only ask, and one in a process of its own to be abused."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import httpx2
import numpy as np
import pytest
from raw_http import BODY_SECONDS, CONNECTIONS, HEAD_SECONDS
from served_process import ServedProcess, serving
from services import client, make_trained, opened, running

from rjepa_adapters.remote.client import RemoteWorldModel
from rjepa_core.scoring import surprise
from rjepa_core.scoring.serving import Served
from rjepa_core.testing.world_model_suite import sequences

MIB = 1024**2
# What a service may grow by under abuse: allocators keep some of what they once had.
GROWTH = 48 * MIB


@pytest.fixture(scope="module", autouse=True)
def a_few_are_enough() -> Iterator[None]:
    """The store is small: a surprise is compared with what there is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(surprise, "FEWEST_COMPARED", 1)
        yield


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


@pytest.fixture(scope="session")
def service(trained: tuple[str, str]) -> Iterator[ServedProcess]:
    """A service with small limits, in a process of its own."""
    limits = {
        "header_seconds": HEAD_SECONDS,
        "body_seconds": BODY_SECONDS,
        "idle_seconds": 2,
        "connections": CONNECTIONS,
        "body_bytes": 4 * MIB,
        "pending_bytes": 16 * MIB,
    }
    words = [word for key, value in limits.items() for word in ("--set", f"service.{key}={value}")]
    with serving("--world-model", trained[1], "--device", "cpu", *words) as service:
        yield service


@pytest.fixture
def others_are_served(service: ServedProcess) -> Iterator[None]:
    """All the while, a well-behaved caller gets its answers, they are right, and they come soon."""
    remote = RemoteWorldModel(service.address)
    given = sequences(remote)[:1]
    wanted = remote.surprise(given)[0]
    before = service.memory()
    stop, seconds, errors = threading.Event(), list[float](), list[BaseException]()

    def ask() -> None:
        try:
            while not stop.wait(0.01):
                began = time.monotonic()
                np.testing.assert_allclose(remote.surprise(given)[0], wanted, rtol=1e-5)
                seconds.append(time.monotonic() - began)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    yield
    time.sleep(0.1)
    stop.set()
    thread.join(30)
    remote.close()
    assert not errors, errors
    # A second, and one more, as the machine may be busy.
    assert sorted(seconds)[int(len(seconds) * 0.99)] < 2
    assert service.process.poll() is None
    assert service.memory() - before < GROWTH
