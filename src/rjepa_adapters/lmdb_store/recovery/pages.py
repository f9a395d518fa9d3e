"""LMDB's pages parsed as bytes, never through LMDB: their meta pages, nodes and visible damage.

Only what all 64-bit LMDB 0.9 files share is used: the 16-byte header of each page (number, flags,
bounds of the free space), the two meta pages, and the 8 bytes of a node before key and data.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import attrs

from ..directory import DATA

# A page's number, -, flags, and bounds of the free space.
PAGE = struct.Struct("<QHHHH")
# Low and high half of the value's size, flags, size of the key; in branches the first three hold
# the number of the child's page.
NODE = struct.Struct("<HHHH")
# A table: -, flags, depth, counts of pages and entries, root page.
TABLE = struct.Struct("<IHHQQQQQ")
BRANCH, LEAF = 0x01, 0x02
# Flags of a node: its value is on pages of its own; its value is a table.
BIG, SUBTABLE = 0x01, 0x02
_META = struct.Struct("<IIQQ")
_META_END = struct.Struct("<QQ")
_META_SIZE = PAGE.size + _META.size + 2 * TABLE.size + _META_END.size
_MAGIC = 0xBEEFC0DE
_META_FLAG = 0x08
_LEAF_FLAGS = (LEAF, LEAF | 0x40)
_MOST_NODES = 340


@attrs.frozen
class Node:
    """A key and its value on a leaf page, live or stale.

    Attributes:
        key: the key.
        size: of the value.
        value: the value, if it is on the page; else None.
        page: number of the page at which the value starts otherwise.
    """

    key: bytes
    size: int
    value: bytes | None
    page: int = 0


@attrs.frozen
class Meta:
    """A meta page; of the two, the one with the larger commit number is in force.

    Attributes:
        sound: whether its magic numbers are those of a meta page; if not, the rest is meaningless.
        commit: number of LMDB's commit that wrote it.
        free, main: root pages of the free list and of the table of tables.
        last_page: number of the last page that the commit knows.
    """

    sound: bool
    commit: int
    free: int
    main: int
    last_page: int


def read_metas(path: Path) -> list[Meta]:
    """Return the meta pages: two, unless the file is too short."""
    found = []
    size = page_size(path)
    with open(path / DATA, "rb") as file:
        for page in (0, 1):
            file.seek(page * size)
            raw = file.read(_META_SIZE)
            if len(raw) < _META_SIZE:
                break
            found.append(meta_of(raw, page))
    return found


def meta_of(raw: bytes, page: int) -> Meta:
    """Return the content of the meta page with the number `page`."""
    number, _, flags, _, _ = PAGE.unpack_from(raw)
    magic, version, _, _ = _META.unpack_from(raw, PAGE.size)
    tables = PAGE.size + _META.size
    free, main = (TABLE.unpack_from(raw, tables + i * TABLE.size)[-1] for i in (0, 1))
    last, commit = _META_END.unpack_from(raw, tables + 2 * TABLE.size)
    sound = (number, flags, magic, version) == (page, _META_FLAG, _MAGIC, 1)
    return Meta(sound, commit, free, main, last)


def meta_problems(path: Path) -> list[str]:
    """Return what is wrong with the two meta pages, which commits write in turn."""
    metas = read_metas(path)
    if len(metas) < 2:
        return [f"meta page {len(metas)} is cut off"]
    found = [f"meta page {i} has wrong marks" for i, meta in enumerate(metas) if not meta.sound]
    first, second = (meta.commit for meta in metas)
    if first or second:
        in_turn = abs(first - second) == 1 and first % 2 == 0
        # Before its second commit, a new file has one meta page that was never rewritten.
        fresh = max(first, second) <= 2
        if not in_turn and not fresh:
            found.append(f"the meta pages' commits, {first} and {second}, do not follow each other")
    return found


def page_size(path: Path) -> int:
    """Return the size of a page, as meta page 0 gives it, or 4,096 if that is no valid size."""
    with open(path / DATA, "rb") as file:
        head = file.read(PAGE.size + _META.size + 8)
    if len(head) < PAGE.size + _META.size + 8:
        return 4096
    size = int.from_bytes(head[PAGE.size + _META.size :][:4], "little")
    return size if 512 <= size <= 65536 and size & (size - 1) == 0 else 4096


def leaf_nodes(path: Path) -> Iterator[tuple[int, int, Node]]:
    """Yield all recognisable nodes, with page number and number of pages in the file.

    Pages that are no longer part of the store are included; the caller must check the values'
    checksums.
    """
    size = page_size(path)
    total = (path / DATA).stat().st_size // size
    with open(path / DATA, "rb") as file:
        for number in range(2, total):
            file.seek(number * size)
            raw = file.read(size)
            flags = PAGE.unpack_from(raw)[2]
            # The header itself may be damaged: one bit may differ.
            if any((flags ^ wanted).bit_count() <= 1 for wanted in _LEAF_FLAGS):
                for node in nodes_of(raw, size):
                    if node.page < total:
                        yield number, total, node


def read_value(file: BinaryIO, size: int, node: Node) -> bytes:
    """Return a node's value, from the open data file with pages of `size` bytes."""
    if node.value is not None:
        return node.value
    file.seek(node.page * size + PAGE.size)
    return file.read(node.size)


def node_at(raw: bytes, offset: int) -> tuple[bytes, int, int, int]:
    """Return a node's key, value size, flags, and the offset of its value or its page's number."""
    low, high, flags, key_size = NODE.unpack_from(raw, offset)
    start = offset + NODE.size
    stop = start + key_size
    return raw[start:stop], low | high << 16, flags, stop


def nodes_of(raw: bytes, size: int) -> Iterator[Node]:
    """Yield the nodes at all possible offsets; the number of nodes may be damaged too."""
    for at in range(PAGE.size, min(PAGE.size + 2 * _MOST_NODES, size - 1), 2):
        offset = int.from_bytes(raw[at : at + 2], "little")
        if offset < PAGE.size or offset + NODE.size > size:
            continue
        key, length, flags, start = node_at(raw, offset)
        if start > len(raw):
            continue
        if flags & BIG and start + 8 <= size:
            page = int.from_bytes(raw[start : start + 8], "little")
            yield Node(key, length, None, page)
        elif start + length <= size:
            yield Node(key, length, raw[start : start + length])
