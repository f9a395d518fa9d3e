"""Walk LMDB's live trees as bytes, never through LMDB.

`pages` parses the pages. Anything inconsistent ends a walk with `OddPageError`; what is found must
not be trusted unchecked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import attrs

from ..directory import DATA
from .pages import BIG, BRANCH, LEAF, NODE, PAGE, SUBTABLE, TABLE, meta_of, node_at, page_size

_NONE = 2**64 - 1
_DEEPEST = 32


class OddPageError(Exception):
    """A page does not match the tree above it."""


@attrs.frozen
class Leaf:
    """An entry of a table, without its value.

    Attributes:
        key: the key.
        size: of the value.
        page: first page of a value on pages of its own, else 0.
        table: root page and depth of the table that this entry describes, else None.
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
        """Return the root pages of the free list and the table of tables, as of the last commit."""
        metas = [meta_of(self._raw(number), number) for number in (0, 1)]
        _, free, main = max((meta.commit, meta.free, meta.main) for meta in metas)
        return free, main

    def tables(self) -> dict[str, int]:
        """Return the root page of each table that is not empty."""
        return {name: root for name, (root, _) in self.trees().items() if root != _NONE}

    def trees(self, main: int | None = None) -> dict[str, tuple[int, int]]:
        """Return the root page and depth of each table.

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
        """Return first key and page of each child of a branch page; None for a leaf page."""
        raw = self.page(number)
        if PAGE.unpack_from(raw)[2] & LEAF:
            return None
        nodes = (node_at(raw, at) for at in _offsets(raw))
        return [(key, child | top << 32) for key, child, top, _ in nodes]

    def leaves(self, number: int) -> list[Leaf]:
        """Return the entries on a leaf page."""
        raw = self.page(number)
        found = []
        for at in _offsets(raw):
            key, size, flags, start = node_at(raw, at)
            page, table = 0, None
            if flags & BIG:
                page = int.from_bytes(raw[start : start + 8], "little")
            elif flags & SUBTABLE and start + TABLE.size <= len(raw):
                fields = TABLE.unpack_from(raw, start)
                table = (fields[-1], fields[2])
            found.append(Leaf(key, size, page, table))
        return found

    def branch_pages(self, root: int, depth: int = 0) -> Iterator[int]:
        """Yield the branch pages of a tree."""
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
        """Yield the leaf pages of a tree, in order, with their entries."""
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
        """Return the bytes of a branch or leaf page.

        Raises:
            OddPageError: it is neither.
        """
        raw = self._raw(number)
        found, _, flags, low, high = PAGE.unpack_from(raw)
        in_bounds = PAGE.size <= low <= high <= len(raw)
        if found != number or flags not in (BRANCH, LEAF) or not in_bounds:
            raise OddPageError(f"page {number} is not part of a tree")
        return raw

    def _raw(self, number: int) -> bytes:
        if number * self.page_size >= 2**63:
            raise OddPageError(f"there is no page {number}")
        raw = os.pread(self.descriptor, self.page_size, number * self.page_size)
        if len(raw) < self.page_size:
            raise OddPageError(f"page {number} is past the end of the file")
        return raw


class Walk:
    """Looks up keys in a table, as of this object's creation; caches the branch pages."""

    def __init__(self, file: PageFile, table: str) -> None:
        self._file = file
        self._root, self._depth = file.trees()[table]
        if self._root == _NONE or not 0 < self._depth <= _DEEPEST:
            raise OddPageError(f"table {table} has no tree")
        self._branches: dict[int, bytes] = {}

    def leaf(self, key: bytes) -> int:
        """Return the number of the key's leaf page, without reading any leaf page."""
        number = self._root
        for _ in range(self._depth - 1):
            raw = self._branches.get(number)
            if raw is None:
                raw = self._branches[number] = self._file.page(number)
            _, child, top, _ = node_at(raw, _last_up_to(raw, key, 1))
            number = child | top << 32
        return number

    def block(self, leaf: int, key: bytes) -> tuple[int, int]:
        """Return first page and size of the key's value if it has pages of its own, else zeros."""
        raw = self._file.page(leaf)
        found, size, flags, start = node_at(raw, _last_up_to(raw, key, 0))
        if found != key or not flags & BIG:
            return 0, 0
        return int.from_bytes(raw[start : start + 8], "little"), size


def _last_up_to(raw: bytes, key: bytes, first: int) -> int:
    """Return the offset of the last node whose key is at most `key`.

    Nodes before `first` are not compared; if none from there on qualifies, it is the node before.
    Node 0 of a branch page covers everything below node 1, whatever its key.
    """
    low, high = first, _node_count(raw)
    while low < high:
        middle = (low + high) // 2
        if node_at(raw, _offset(raw, middle))[0] <= key:
            low = middle + 1
        else:
            high = middle
    return _offset(raw, max(low - 1, 0))


def _node_count(raw: bytes) -> int:
    return int(PAGE.unpack_from(raw)[3] - PAGE.size) // 2


def _offsets(raw: bytes) -> list[int]:
    return [_offset(raw, number) for number in range(_node_count(raw))]


def _offset(raw: bytes, number: int) -> int:
    start = PAGE.size + 2 * number
    at = int.from_bytes(raw[start : start + 2], "little")
    if not PAGE.size <= at <= len(raw) - NODE.size:
        raise OddPageError("a node lies outside its page")
    return at
