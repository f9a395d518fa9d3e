"""LMDB's pages read as plain bytes, never through LMDB: what is wrong in them, and what is on them.

Only what every 64-bit LMDB 0.9 file has in common is used: a header of 16 bytes a page (number,
flags, bounds of the free room), the two meta pages, and nodes of 8 bytes before key and data.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import attrs

from .place import DATA

_PAGE = struct.Struct("<QHHHH")
_META = struct.Struct("<IIQQ")
_META_END = struct.Struct("<QQ")
_NODE = struct.Struct("<HHHH")
_MAGIC = 0xBEEFC0DE
_LEAF, _META_FLAG = 0x02, 0x08
_LEAF_FLAGS = (0x02, 0x42)
_BIG = 0x01
_ROOTS = 96
_MOST_NODES = 340


@attrs.frozen
class Node:
    """A key and its value on a leaf page, live or left over.

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


def meta_problems(path: Path) -> list[str]:
    """What is wrong with the two meta pages, which commits write in turn."""
    found = []
    numbers = []
    with open(path / DATA, "rb") as file:
        for page, size in enumerate((page_size(path),) * 2):
            file.seek(page * size)
            raw = file.read(_PAGE.size + _META.size + _ROOTS + _META_END.size)
            if len(raw) < _PAGE.size + _META.size + _ROOTS + _META_END.size:
                return [f"meta page {page} is cut off"]
            number, _, flags, _, _ = _PAGE.unpack_from(raw)
            magic, version, _, _ = _META.unpack_from(raw, _PAGE.size)
            _, commit = _META_END.unpack_from(raw, _PAGE.size + _META.size + _ROOTS)
            if (number, flags, magic, version) != (page, _META_FLAG, _MAGIC, 1):
                found.append(f"meta page {page} has wrong marks")
            numbers.append(commit)
    first, second = numbers
    if first or second:
        in_turn = abs(first - second) == 1 and first % 2 == 0
        # Before its second commit, a new file has one meta page that was never written again.
        fresh = max(numbers) <= 2
        if not in_turn and not fresh:
            found.append(f"the meta pages' commits, {first} and {second}, do not follow each other")
    return found


def page_size(path: Path) -> int:
    """Size of a page: what either meta page says, or 4,096."""
    with open(path / DATA, "rb") as file:
        head = file.read(_PAGE.size + _META.size + 8)
    if len(head) < _PAGE.size + _META.size + 8:
        return 4096
    size = int.from_bytes(head[_PAGE.size + _META.size :][:4], "little")
    return size if 512 <= size <= 65536 and size & (size - 1) == 0 else 4096


def leaf_nodes(path: Path) -> Iterator[tuple[int, int, Node]]:
    """All nodes that can be made out, with page number and number of pages in the file.

    Pages that are no longer part of the store are among them; the caller has to judge by the
    values' checksums.
    """
    size = page_size(path)
    total = (path / DATA).stat().st_size // size
    with open(path / DATA, "rb") as file:
        for number in range(2, total):
            file.seek(number * size)
            raw = file.read(size)
            flags = _PAGE.unpack_from(raw)[2]
            # The header itself may be what is damaged: one bit may differ.
            if any((flags ^ wanted).bit_count() <= 1 for wanted in _LEAF_FLAGS):
                for node in _nodes(raw, size):
                    if node.page < total:
                        yield number, total, node


def read_value(file: BinaryIO, size: int, node: Node) -> bytes:
    """A node's value, from the open data file with pages of `size` bytes."""
    if node.value is not None:
        return node.value
    file.seek(node.page * size + _PAGE.size)
    return file.read(node.size)


def _nodes(raw: bytes, size: int) -> Iterator[Node]:
    """Nodes behind all that may be their offsets; the number of them may be damaged, too."""
    for at in range(_PAGE.size, min(_PAGE.size + 2 * _MOST_NODES, size - 1), 2):
        offset = int.from_bytes(raw[at : at + 2], "little")
        if offset < _PAGE.size or offset + _NODE.size > size:
            continue
        low, high, flags, key_size = _NODE.unpack_from(raw, offset)
        start = offset + _NODE.size
        length = low | high << 16
        key = raw[start : start + key_size]
        start += key_size
        if len(key) < key_size:
            continue
        if flags & _BIG and start + 8 <= size:
            page = int.from_bytes(raw[start : start + 8], "little")
            yield Node(key, length, None, page)
        elif start + length <= size:
            yield Node(key, length, raw[start : start + length])
