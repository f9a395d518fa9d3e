"""Stores of several kinds, for what needs nothing but the store port."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rjepa_adapters.lmdb_store.store import LmdbStore
from rjepa_core.domain.trace import TOO_LONG
from rjepa_core.ports.store import LatentStore
from rjepa_core.testing.memory_store import MemoryStore
from rjepa_core.testing.samples import assert_same, sample_failure, sample_identity, sample_record

OpenStore = Callable[[str], LatentStore]


@pytest.fixture(params=["memory", "lmdb"])
def new_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenStore]:
    """Makes stores by name, and closes them in the end."""
    opened: list[LatentStore] = []

    def make(name: str) -> LatentStore:
        place = str(tmp_path / name)
        store: LatentStore = (
            MemoryStore() if request.param == "memory" else LmdbStore(place, "write")
        )
        opened.append(store)
        return store

    yield make
    for store in reversed(opened):
        store.close()


def fill(store: LatentStore, numbers: range) -> None:
    """Write the records and failures of these numbers, the same whatever the store."""
    identity = sample_identity(2, 16, "bfloat16", logprobs=True)
    store.begin(identity)
    for i in numbers:
        failed = [sample_failure(f"f-{i}", reason=TOO_LONG)] if i % 4 == 0 else []
        store.write([sample_record(identity, f"p-{i // 2}", i % 2, steps=1 + i % 5)], failed)
    store.add_history({"kind": "extract", "records": len(numbers)})
    store.commit()


def assert_equal(found: LatentStore, wanted: LatentStore) -> None:
    """Fail unless two stores hold equal records and failures."""
    assert found.identity == wanted.identity
    assert set(found.keys()) == set(wanted.keys())
    for key in wanted.keys():  # noqa: SIM118  not a mapping
        assert_same(found.get(key), wanted.get(key), f"record {key}")
    assert {f.key: f for f in found.failures()} == {f.key: f for f in wanted.failures()}
