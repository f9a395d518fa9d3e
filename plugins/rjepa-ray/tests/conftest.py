"""Shared by the tests: a Ray that is started once."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import ray

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def shared_ray() -> Iterator[None]:
    """A Ray of two cores on this machine, which executors find started."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init("local", num_cpus=2, include_dashboard=False, object_store_memory=1 << 28)
    yield
    ray.shutdown()
