"""What the store suites share: an adapter, and stores that are closed behind each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from ..domain.identity import Identity
from ..domain.latents import LatentRecord
from ..plugins import StoreAdapter
from ..ports.store import LatentStore, StoreMode
from .samples import record_differences, sample_identity

# What pytest gives as tmp_path; the core, its suites included, imports no pathlib.
TmpPath = Any
Open = Callable[..., LatentStore]


def assert_same(found: LatentRecord, written: LatentRecord, promise: str) -> None:
    """Fail with the names of the fields that differ."""
    differing = record_differences(found, written)
    assert not differing, f"{promise}; differing: {', '.join(differing)}"


class StoreCase:
    """Fixtures around the adapter under test."""

    adapter: ClassVar[StoreAdapter]

    def where(self, tmp_path: TmpPath, name: str) -> str:
        """The location for a store called `name`, new in each test."""
        raise NotImplementedError

    def vanish(self, tmp_path: TmpPath, name: str) -> None:
        """Take the store called `name` away under the handles that have it open."""
        pytest.skip("vanish() is not there to take a store away")

    @pytest.fixture
    def open_store(self, tmp_path: TmpPath) -> Iterator[Open]:
        """Opens stores of the adapter, and closes those that a test leaves open."""
        opened: list[LatentStore] = []

        def open_one(mode: StoreMode = "write", name: str = "a", **options: Any) -> LatentStore:
            settings = self.adapter.configure(options, "store")
            store = self.adapter.create(self.where(tmp_path, name), mode, settings)
            opened.append(store)
            return store

        yield open_one
        for store in reversed(opened):
            store.close()

    @pytest.fixture
    def identity(self) -> Identity:
        return sample_identity()

    @pytest.fixture
    def store(self, open_store: Open, identity: Identity) -> LatentStore:
        """A new store with its identity and nothing else."""
        store = open_store()
        store.begin(identity)
        return store
