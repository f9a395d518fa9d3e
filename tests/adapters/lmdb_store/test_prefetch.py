"""Looking places up in the pages themselves, to ask the system for them before they are read."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest

from rjepa_adapters.lmdb_store.directory import DATA
from rjepa_adapters.lmdb_store.format.record import encode_key, encode_sequence
from rjepa_adapters.lmdb_store.prefetch import Fetcher
from rjepa_adapters.lmdb_store.recovery.trees import OddPageError, PageFile, Walk
from rjepa_adapters.lmdb_store.settings import LmdbSettings
from rjepa_adapters.lmdb_store.store import LmdbStore
from rjepa_core.domain.trace import RecordKey
from rjepa_core.errors import DamagedRecordError
from rjepa_core.testing.samples import sample_identity, sample_record

IDENTITY = sample_identity(1, 512)
COUNT = 1500


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough records for branch pages in the index and in the table of vectors."""
    place = tmp_path_factory.mktemp("fetching") / "a"
    with LmdbStore(str(place), "write", LmdbSettings(checkpoint_every=400, sync="none")) as store:
        store.begin(IDENTITY)
        for i in range(COUNT):
            store.write([sample_record(IDENTITY, f"p-{i}", steps=4)])
    return place


def test_every_block_is_found_where_the_table_has_it(path: Path) -> None:
    file = PageFile(path)
    walk = Walk(file, "vectors")
    there = {
        leaf.key: (number, leaf.page, leaf.size)
        for number, leaves in file.leaf_pages(file.tables()["vectors"])
        for leaf in leaves
    }
    assert len(there) == COUNT
    assert len({number for number, _, _ in there.values()}) > 5
    for key, (number, page, size) in there.items():
        assert walk.leaf(key) == number
        assert walk.block(number, key) == (page, size)
    file.close()


def test_every_head_is_on_the_page_that_is_asked_for(path: Path) -> None:
    file = PageFile(path)
    walk = Walk(file, "index")
    for number, leaves in file.leaf_pages(file.tables()["index"]):
        for leaf in leaves:
            assert walk.leaf(leaf.key) == number
    # A key between two others, before the first and behind the last leads to some leaf page.
    for key in (b"", b"p-1000x", b"\xff" * 9):
        assert isinstance(walk.leaf(key), int)
    file.close()


def test_what_is_not_there_has_no_block(path: Path) -> None:
    file = PageFile(path)
    walk = Walk(file, "vectors")
    missing = encode_sequence(10**9)
    assert walk.block(walk.leaf(missing), missing) == (0, 0)
    file.close()


def test_the_system_is_asked_for_what_is_read_next(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(
        os, "posix_fadvise", lambda fd, start, size, what: asked.append((start, size))
    )
    fetcher = Fetcher(path)
    assert fetcher.wanted
    fetcher.ask_heads([encode_key(RecordKey(f"p-{i}")) for i in (3, 1000)])
    assert asked
    assert all(size == 4096 for _, size in asked)
    asked.clear()
    file = PageFile(path)
    blocks = {
        (leaf.page * 4096, leaf.size + 16)
        for _, leaves in file.leaf_pages(file.tables()["vectors"])
        for leaf in leaves
        if leaf.key in (encode_sequence(5), encode_sequence(1200))
    }
    fetcher.ask([encode_sequence(5), encode_sequence(1200)])
    assert blocks <= set(asked)
    fetcher.took(1e-6, 1)
    assert not fetcher.wanted
    fetcher.took(1e-2, 1)
    assert fetcher.wanted
    file.close()
    fetcher.close()


def test_damaged_pages_mislead_no_one(path: Path, tmp_path: Path) -> None:
    """Reads give the record or an error that names it, whatever the hints were made from."""
    place = tmp_path / "b"
    place.mkdir()
    chance = random.Random(7)
    healthy = (path / DATA).read_bytes()
    file = PageFile(path)
    pages = [number for number, _ in file.leaf_pages(file.tables()["vectors"])]
    pages += file.branch_pages(file.tables()["vectors"])
    file.close()
    for _ in range(40):
        raw = bytearray(healthy)
        at = chance.choice(pages) * 4096 + chance.randrange(4096)
        raw[at] ^= 1 << chance.randrange(8)
        (place / DATA).write_bytes(raw)
        fetcher = Fetcher(place)
        fetcher.ask_heads([encode_key(RecordKey(f"p-{i}")) for i in range(0, COUNT, 50)])
        fetcher.ask([encode_sequence(i) for i in range(0, COUNT, 50)])
        fetcher.close()


def test_a_table_without_a_tree_is_odd(tmp_path: Path) -> None:
    with LmdbStore(str(tmp_path / "a"), "write") as store:
        store.begin(IDENTITY)
        store.commit()
        file = PageFile(tmp_path / "a")
        with pytest.raises(OddPageError, match="vectors"):
            Walk(file, "vectors")
        file.close()
        fetcher = Fetcher(tmp_path / "a")
        fetcher.ask([encode_sequence(0)])
        fetcher.close()


def test_a_block_that_does_not_match_is_never_returned(path: Path, tmp_path: Path) -> None:
    place = tmp_path / "b"
    place.mkdir()
    file = PageFile(path)
    page = next(
        leaf.page
        for _, leaves in file.leaf_pages(file.tables()["vectors"])
        for leaf in leaves
        if leaf.key == encode_sequence(70)
    )
    file.close()
    raw = bytearray((path / DATA).read_bytes())
    raw[page * 4096 + 600] ^= 4
    (place / DATA).write_bytes(raw)
    keys = [RecordKey(f"p-{i}") for i in (69, 70, 71)]
    with LmdbStore(str(place)) as store:
        with pytest.raises(DamagedRecordError, match=r"p-70 is damaged: its vectors do not match"):
            store.read_latents(keys, np.zeros((3, 1, 4, 512), np.float16))
        whole = np.zeros((2, 1, 4, 512), np.float16)
        store.read_latents([keys[0], keys[2]], whole)
        assert np.array_equal(whole[1], store.get(keys[2]).latents)
    unchecked = LmdbSettings(verify_reads=False)
    with LmdbStore(str(place), "read", unchecked) as store:
        store.read_latents(keys, np.zeros((3, 1, 4, 512), np.float16))
