"""Walk LMDB's trees as plain bytes, never through LMDB, with pages fetched ahead.

`pages` parses them and searches all of them, this module only the live ones.
Anything odd ends a walk with `OddPageError`; nothing that is found is to be trusted unchecked.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import attrs

from ..directory import DATA
from .pages import BIG, BRANCH, LEAF, NODE, PAGE, SUBTABLE, TABLE, meta_of, node_at, page_size

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
        metas = [meta_of(self._raw(number), number) for number in (0, 1)]
        _, free, main = max((meta.commit, meta.free, meta.main) for meta in metas)
        return free, main

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
        if PAGE.unpack_from(raw)[2] & LEAF:
            return None
        nodes = (node_at(raw, at) for at in self._offsets(raw))
        return [(key, child | top << 32) for key, child, top, _ in nodes]

    def leaves(self, number: int) -> list[Leaf]:
        """Entries on a leaf page."""
        raw = self.page(number)
        found = []
        for at in self._offsets(raw):
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
        found, _, flags, low, high = PAGE.unpack_from(raw)
        if found != number or flags not in (BRANCH, LEAF) or not 16 <= low <= high <= len(raw):
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
        low = PAGE.unpack_from(raw)[3]
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
            _, child, top, _ = node_at(raw, _last_upto(raw, key, 1))
            number = child | top << 32
        return number

    def block(self, leaf: int, key: bytes) -> tuple[int, int]:
        """First page and size of the key's value, if it lies on pages of its own, else zeros."""
        raw = self._file.page(leaf)
        found, size, flags, start = node_at(raw, _last_upto(raw, key, 0))
        if found != key or not flags & BIG:
            return 0, 0
        return int.from_bytes(raw[start : start + 8], "little"), size


def _last_upto(raw: bytes, key: bytes, first: int) -> int:
    """Offset of the last node whose key is not above `key`, from node `first`, else the one before.

    A branch page's node 0 stands for everything below node 1, whatever key it has.
    """
    count = (PAGE.unpack_from(raw)[3] - PAGE.size) // 2
    low, high = first, count
    while low < high:
        middle = (low + high) // 2
        if node_at(raw, _offset(raw, middle))[0] <= key:
            low = middle + 1
        else:
            high = middle
    return _offset(raw, max(low - 1, 0))


def _offset(raw: bytes, number: int) -> int:
    start = PAGE.size + 2 * number
    at = int.from_bytes(raw[start : start + 2], "little")
    if not PAGE.size <= at <= len(raw) - NODE.size:
        raise OddPageError("a node lies outside its page")
    return at


_SLOW, _FAST = 200e-6, 100e-6


class Fetcher:
    """Asks for blocks of vectors of one store, while reading them is slow."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: PageFile | None = None
        self._slow = hasattr(os, "posix_fadvise")

    @property
    def wanted(self) -> bool:
        """Whether asking pays: reads were slow the last time, or there was none yet."""
        return self._slow

    def took(self, seconds: float, records: int) -> None:
        """How long a read of so many records took: in the cache, asking would only cost time."""
        each = seconds / max(1, records)
        if each > _SLOW:
            self._slow = hasattr(os, "posix_fadvise")
        elif each < _FAST:
            self._slow = False

    def ask_heads(self, raw_keys: Sequence[bytes]) -> None:
        """Start fetching the pages of the index on which these keys are."""
        if len(raw_keys) > 1:
            self._try(lambda file: self._ask_pages(file, Walk(file, "index"), raw_keys))

    def ask(self, numbers: Sequence[bytes]) -> None:
        """Start fetching the blocks of vectors of these numbers, as the table has them."""
        self._try(lambda file: self._ask_blocks(file, Walk(file, "vectors"), numbers))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _try(self, ask: Callable[[PageFile], object]) -> None:
        if not self._slow:
            return
        try:
            if self._file is None:
                self._file = PageFile(self._path)
            ask(self._file)
        except (OddPageError, OSError, ValueError, KeyError, OverflowError):
            pass  # LMDB reads the page again and says what is wrong with it.

    def _ask_pages(self, file: PageFile, walk: Walk, keys: Iterable[bytes]) -> list[int]:
        """Ask for the leaf pages on which these keys are; their numbers."""
        leaves = [walk.leaf(key) for key in keys]
        for leaf in dict.fromkeys(leaves):
            _advise(file, leaf, 0)
        return leaves

    def _ask_blocks(self, file: PageFile, walk: Walk, numbers: Sequence[bytes]) -> None:
        leaves = self._ask_pages(file, walk, numbers) if len(numbers) > 1 else []
        for number, leaf in zip(numbers, leaves or (walk.leaf(n) for n in numbers), strict=True):
            page, size = walk.block(leaf, number)
            if page:
                _advise(file, page, size + 16)


def _advise(file: PageFile, page: int, size: int) -> None:
    unit = file.page_size
    start, length = page * unit, max(size, unit)
    os.posix_fadvise(file.descriptor, start, length, os.POSIX_FADV_WILLNEED)
