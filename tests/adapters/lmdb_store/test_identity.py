"""The identity of a store that learns what an older version did not tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from rjepa_adapters.lmdb_store.metadata import read_sidecar, write_sidecar
from rjepa_adapters.lmdb_store.recovery.repair import repair, verify
from rjepa_adapters.lmdb_store.store import LmdbStore
from rjepa_core.errors import IdentityError
from rjepa_core.testing.samples import sample_identity, sample_record, told_identity

OLD, NEW = sample_identity(), told_identity("one")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A store that does not know its tokenizer."""
    with LmdbStore(str(tmp_path / "s"), "write") as store:
        store.begin(OLD)
        store.write([sample_record(OLD)])
    return tmp_path / "s"


def test_what_is_learned_is_in_the_copy_too(old: Path) -> None:
    with LmdbStore(str(old), "write") as store:
        digest = store.digest()
        store.begin(NEW)
        assert read_sidecar(old) == store.identity == NEW
        assert store.digest() == digest, "no record is changed"
    assert verify(str(old)).sound


def test_a_kill_between_copy_and_store_is_no_damage(old: Path, tmp_path: Path) -> None:
    write_sidecar(old, NEW)
    assert verify(str(old)).sound
    assert repair(str(old), str(tmp_path / "mended")).sound
    with LmdbStore(str(old), "write") as store:
        assert store.identity == OLD
        store.begin(NEW)
        assert store.identity == NEW
    write_sidecar(old, told_identity("other"))
    assert [damage.name for damage in verify(str(old)).damages] == ["identity.json"]


def test_a_reader_learns_nothing(old: Path) -> None:
    with LmdbStore(str(old)) as reader, LmdbStore(str(old), "write") as store:
        store.begin(NEW)
        with LmdbStore(str(old)) as later:
            assert later.identity == NEW
        reader.begin(OLD)
        with pytest.raises(IdentityError, match="tokenizer"):
            store.begin(told_identity("other"))
    assert verify(str(old)).sound


def test_a_copy_of_the_store_keeps_what_it_knows(old: Path, tmp_path: Path) -> None:
    from rjepa_adapters.lmdb_store.maintenance import compact

    with LmdbStore(str(old), "write") as store:
        store.begin(NEW)
    compact(str(old))
    repair(str(old), str(tmp_path / "mended"))
    for place in (old, tmp_path / "mended"):
        with LmdbStore(str(place)) as store:
            assert store.identity == NEW
