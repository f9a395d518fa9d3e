"""The store in memory keeps every promise of a store."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rjepa_core.errors import StoreNotFoundError
from rjepa_core.testing.memory_store import MemoryStore, exists, forget, rjepa_stores
from rjepa_core.testing.samples import sample_identity, sample_record
from rjepa_core.testing.store_suite import GradesContract, StoreContract


class TestMemoryStore(StoreContract):
    adapter = next(iter(rjepa_stores()))

    def where(self, tmp_path: Path, name: str) -> str:
        return f"{tmp_path.name}-{name}"

    def vanish(self, tmp_path: Path, name: str) -> None:
        forget(self.where(tmp_path, name))


class TestMemoryGrades(GradesContract):
    adapter = next(iter(rjepa_stores()))

    def where(self, tmp_path: Path, name: str) -> str:
        return f"{tmp_path.name}-{name}"


def test_a_name_gives_the_same_store_again() -> None:
    identity = sample_identity()
    with MemoryStore("again") as store:
        store.begin(identity)
        store.write([sample_record(identity)])
    assert len(MemoryStore("again", "read")) == 1
    forget("again")
    assert not exists("again")
    with pytest.raises(StoreNotFoundError):
        MemoryStore("again", "read")


def test_no_name_gives_a_store_of_its_own() -> None:
    first, second = MemoryStore(), MemoryStore()
    first.begin(sample_identity())
    assert second.identity is None


def test_it_loads_no_test_library() -> None:
    code = (
        "import sys, rjepa_core.testing, rjepa_core.testing.memory_store; "
        "sys.exit(any(name in sys.modules for name in ('pytest', 'hypothesis', 'torch', 'lmdb')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
