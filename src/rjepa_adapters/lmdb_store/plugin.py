"""Register the LMDB store. Nothing heavy is imported before a store is opened."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rjepa_core.plugins import StoreAdapter, hookimpl
from rjepa_core.ports.maintenance import Maintenance
from rjepa_core.ports.store import LatentStore, StoreMode

from .settings import LmdbSettings

if TYPE_CHECKING:
    from .store import LmdbStore


def create(location: str, mode: StoreMode, settings: LmdbSettings) -> LatentStore:
    """Open the store in the directory `location`."""
    from .store import LmdbStore

    store: LmdbStore = LmdbStore(location, mode, settings)
    return store


def exists(location: str) -> bool:
    """Return whether the directory `location` holds the files of a store."""
    from .directory import has_store

    return has_store(location)


def maintenance() -> Maintenance:
    """Return the tools that verify, repair and compact LMDB stores."""
    from .maintenance import LmdbMaintenance

    return LmdbMaintenance()


@hookimpl
def rjepa_stores() -> Iterable[StoreAdapter]:
    return [
        StoreAdapter(
            name="lmdb",
            summary="one directory on a local disk; transactions, checksums, many readers",
            settings=LmdbSettings,
            create=create,
            exists=exists,
            maintenance=maintenance,
        )
    ]
