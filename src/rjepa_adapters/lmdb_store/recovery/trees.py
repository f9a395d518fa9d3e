"""LMDB's trees walked as plain bytes, never through LMDB: where each table's pages are.

For tools that have to know pages (`pages` searches all of them, this module only the live ones).
Anything odd ends a walk with `OddPageError`; nothing that is found is to be trusted unchecked.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import attrs

from ..directory import DATA
from .pages import page_size

_PAGE = struct.Struct("<QHHHH")
_NODE = struct.Struct("<HHHH")
_DB = struct.Struct("<IHHQQQQQ")
_BRANCH, _LEAF = 0x01, 0x02
_BIG, _SUBTABLE = 0x01, 0x02
_META_HEAD = 24
_NONE = 2**64 - 1
_DEEPEST = 32


class OddPageError(Exception):
    """A page is not what the tree above it says."""


@attrs.frozen
class Leaf:
    """An entry of a table, without its value where that lies on pages of its own.

    Attributes:
        key: the key.
        size: of the value.
        page: first page of a value on pages of its own, else 0.
        table: root page and depth of the table whose record this is, else None.
    """

    key: bytes
    size: int
    page: int
    table: tuple[int, int] | None


class PageFile:
    """The data file of a store, read page by page."""

    def __init__(self, path: Path) -> None:
        self.page_size = page_size(path)
        self.descriptor = os.open(path / DATA, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self.descriptor)

    def roots(self) -> tuple[int, int]:
        """Root pages of the free list and of the table of tables, as of the last commit."""
        metas = []
        for number in (0, 1):
            raw = self._raw(number)
            free, main = (_DB.unpack_from(raw, 16 + _META_HEAD + i * _DB.size) for i in (0, 1))
            commit = int.from_bytes(raw[16 + _META_HEAD + 2 * _DB.size + 8 :][:8], "little")
            metas.append((commit, free[-1], main[-1]))
        return max(metas)[1:]

    def tables(self) -> dict[str, int]:
        """Root page of each table; `_NONE` roots are left out."""
        return {name: root for name, (root, _) in self.trees().items() if root != _NONE}

    def trees(self, main: int | None = None) -> dict[str, tuple[int, int]]:
        """Root page of each table and how many levels of pages it has.

        Args:
            main: root page of the table of tables; None for the last commit's.
        """
        main = self.roots()[1] if main is None else main
        return {
            leaf.key.decode("ascii", "replace"): leaf.table
            for _, leaves in self.leaf_pages(main)
            for leaf in leaves
            if leaf.table is not None
        }

    def children(self, number: int) -> list[tuple[bytes, int]] | None:
        """First key and page of each child of a branch page; None for a leaf page."""
        raw = self.page(number)
        if _PAGE.unpack_from(raw)[2] & _LEAF:
            return None
        found = []
        for at in self._offsets(raw):
            low, high, top, size = _NODE.unpack_from(raw, at)
            found.append((raw[at + 8 : at + 8 + size], low | high << 16 | top << 32))
        return found

    def leaves(self, number: int) -> list[Leaf]:
        """Entries on a leaf page."""
        raw = self.page(number)
        found = []
        for at in self._offsets(raw):
            low, high, flags, size = _NODE.unpack_from(raw, at)
            start = at + 8 + size
            page, table = 0, None
            if flags & _BIG:
                page = int.from_bytes(raw[start : start + 8], "little")
            elif flags & _SUBTABLE and start + _DB.size <= len(raw):
                fields = _DB.unpack_from(raw, start)
                table = (fields[-1], fields[2])
            found.append(Leaf(raw[at + 8 : start], low | high << 16, page, table))
        return found

    def branch_pages(self, root: int, depth: int = 0) -> Iterator[int]:
        """The branch pages of a tree."""
        if root == _NONE:
            return
        children = self.children(root)
        if children is None:
            return
        if depth > _DEEPEST:
            raise OddPageError("the tree is too deep")
        yield root
        for _, child in children:
            yield from self.branch_pages(child, depth + 1)

    def leaf_pages(self, root: int, depth: int = 0) -> Iterator[tuple[int, list[Leaf]]]:
        """The leaf pages of a tree, in order, with their entries."""
        if root == _NONE:
            return
        children = self.children(root)
        if children is None:
            yield root, self.leaves(root)
            return
        if depth > _DEEPEST:
            raise OddPageError("the tree is too deep")
        for _, child in children:
            yield from self.leaf_pages(child, depth + 1)

    def page(self, number: int) -> bytes:
        """A branch or leaf page.

        Raises:
            OddPageError: it is neither.
        """
        raw = self._raw(number)
        found, _, flags, low, high = _PAGE.unpack_from(raw)
        if found != number or flags not in (_BRANCH, _LEAF) or not 16 <= low <= high <= len(raw):
            raise OddPageError(f"page {number} is not part of a tree")
        return raw

    def _raw(self, number: int) -> bytes:
        if number * self.page_size >= 2**63:
            raise OddPageError(f"there is no page {number}")
        raw = os.pread(self.descriptor, self.page_size, number * self.page_size)
        if len(raw) < self.page_size:
            raise OddPageError(f"page {number} is behind the file's end")
        return raw

    def _offsets(self, raw: bytes) -> list[int]:
        low = _PAGE.unpack_from(raw)[3]
        offsets = [int.from_bytes(raw[at : at + 2], "little") for at in range(16, low, 2)]
        if any(not 16 <= at <= len(raw) - 8 for at in offsets):
            raise OddPageError("a node lies outside its page")
        return offsets


class Walk:
    """Looks keys up in a table as it was when this was made; keeps the branch pages it meets."""

    def __init__(self, file: PageFile, table: str) -> None:
        self._file = file
        self._root, self._depth = file.trees()[table]
        if self._root == _NONE or not 0 < self._depth <= _DEEPEST:
            raise OddPageError(f"table {table} has no tree")
        self._branches: dict[int, bytes] = {}

    def leaf(self, key: bytes) -> int:
        """Number of the leaf page on which the key is, if it is there; no leaf page is read."""
        number = self._root
        for _ in range(self._depth - 1):
            raw = self._branches.get(number)
            if raw is None:
                raw = self._branches[number] = self._file.page(number)
            low, high, top, _ = _NODE.unpack_from(raw, _last_upto(raw, key, 1))
            number = low | high << 16 | top << 32
        return number

    def block(self, leaf: int, key: bytes) -> tuple[int, int]:
        """First page and size of the key's value, if it lies on pages of its own, else zeros."""
        raw = self._file.page(leaf)
        at = _last_upto(raw, key, 0)
        low, high, flags, size = _NODE.unpack_from(raw, at)
        start = at + _NODE.size
        if raw[start : start + size] != key or not flags & _BIG:
            return 0, 0
        start += size
        return int.from_bytes(raw[start : start + 8], "little"), low | high << 16


def _last_upto(raw: bytes, key: bytes, first: int) -> int:
    """Offset of the last node whose key is not above `key`, from node `first`, else the one before.

    A branch page's node 0 stands for everything below node 1, whatever key it has.
    """
    count = (_PAGE.unpack_from(raw)[3] - _PAGE.size) // 2
    low, high = first, count
    while low < high:
        middle = (low + high) // 2
        at = _offset(raw, middle)
        start = at + _NODE.size
        size = _NODE.unpack_from(raw, at)[3]
        if raw[start : start + size] <= key:
            low = middle + 1
        else:
            high = middle
    return _offset(raw, max(low - 1, 0))


def _offset(raw: bytes, number: int) -> int:
    start = _PAGE.size + 2 * number
    at = int.from_bytes(raw[start : start + 2], "little")
    if not _PAGE.size <= at <= len(raw) - _NODE.size:
        raise OddPageError("a node lies outside its page")
    return at
