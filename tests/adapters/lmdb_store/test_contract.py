"""The LMDB store keeps every promise of a store, and of its maintenance."""

from __future__ import annotations

import shutil
from pathlib import Path

from rjepa_adapters.lmdb_store.plugin import rjepa_stores
from rjepa_core.testing.store_suite import (
    DigestContract,
    GradesContract,
    MaintenanceContract,
    StoreContract,
)

LMDB = next(iter(rjepa_stores()))


class TestLmdbStore(StoreContract):
    adapter = LMDB

    def where(self, tmp_path: Path, name: str) -> str:
        return str(tmp_path / name)

    def vanish(self, tmp_path: Path, name: str) -> None:
        shutil.rmtree(tmp_path / name)


class TestLmdbGrades(GradesContract):
    adapter = LMDB

    def where(self, tmp_path: Path, name: str) -> str:
        return str(tmp_path / name)


class TestLmdbDigest(DigestContract):
    adapter = LMDB

    def where(self, tmp_path: Path, name: str) -> str:
        return str(tmp_path / name)


class TestLmdbMaintenance(MaintenanceContract):
    adapter = LMDB

    def where(self, tmp_path: Path, name: str) -> str:
        return str(tmp_path / name)
