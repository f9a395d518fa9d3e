"""Shared by all tests: real parts, made once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A machine under load must not turn a slow example into a failure.
settings.register_profile("rjepa", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("rjepa")

if os.environ.get("PYTEST_XDIST_WORKER"):
    os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED_DATA = Path(__file__).parents[1].parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real problems beside the checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the real data is not there: {SHARED_DATA}")
    return SHARED_DATA


def pytest_sessionstart() -> None:
    """In the background of a shell SIGINT is ignored; tests interrupt themselves and children."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _hangups() -> Iterator[None]:
    """An interrupted command ignores SIGHUP until its process ends; the next test's must not."""
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)
