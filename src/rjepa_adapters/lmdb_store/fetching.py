"""Asks the system for blocks that are about to be read, so that it fetches each at once.

The map has no read-ahead, which would read a record's neighbours from the disk as well, and LMDB's
binding touches a value page by page: a block that is not in the system's cache would be fetched in
as many small reads, each awaited. While reads are slow, the blocks' places are looked up in the
pages themselves and the system is told of all of them first. It is only a hint: a wrong place, as
after a commit meanwhile, costs a needless read and nothing else.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from pathlib import Path

from .trees import OddPageError, PageFile

_SLOW, _FAST = 200e-6, 100e-6
_MOST_LEAVES = 512
_LONGEST_LEVEL = 20_000
_AGAIN = 2.0


class Fetcher:
    """Asks for blocks of vectors of one store, while reading them is slow."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: PageFile | None = None
        self._slow = True
        self._loaded = -_AGAIN
        self._levels: dict[str, tuple[list[bytes], list[int]]] = {}
        self._leaves: dict[int, dict[bytes, tuple[int, int]]] = {}

    def took(self, seconds: float, records: int) -> None:
        """How long a read of so many records took: in the cache, asking would only cost time."""
        each = seconds / max(1, records)
        if each > _SLOW:
            self._slow = True
        elif each < _FAST:
            self._slow = False

    def ask_heads(self, raw_keys: Sequence[bytes]) -> None:
        """Start fetching the pages of the index on which these keys are."""
        if self._slow and len(raw_keys) > 1:
            self._try(self._ask_head, raw_keys)

    def ask(self, numbers: Sequence[bytes]) -> None:
        """Start fetching the blocks of vectors of these numbers, as the table has them."""
        if self._slow:
            self._try(self._ask_block, numbers)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _try(self, ask: Callable[[bytes], bool], keys: Sequence[bytes]) -> None:
        if not hasattr(os, "posix_fadvise"):
            return
        try:
            for key in keys:
                if not ask(key) and time.monotonic() - self._loaded > _AGAIN:
                    self._load()
                    ask(key)
        except (OddPageError, OSError, ValueError, KeyError, OverflowError):
            self._forget()

    def _ask_head(self, raw_key: bytes) -> bool:
        page = self._leaf("index", raw_key)
        if page is not None:
            self._advise(page, 0)
        return page is not None

    def _ask_block(self, number: bytes) -> bool:
        leaf = self._leaf("vectors", number)
        if leaf is None or self._file is None:
            return False
        if leaf not in self._leaves:
            if len(self._leaves) >= _MOST_LEAVES:
                self._leaves.clear()
            self._leaves[leaf] = {
                entry.key[:8]: (entry.page, entry.size) for entry in self._file.leaves(leaf)
            }
        if number not in self._leaves[leaf]:
            return False
        page, size = self._leaves[leaf][number]
        if page:
            self._advise(page, size + 16)
        return True

    def _advise(self, page: int, size: int) -> None:
        assert self._file is not None
        unit = self._file.page_size
        descriptor = self._file.descriptor
        os.posix_fadvise(descriptor, page * unit, max(size, unit), os.POSIX_FADV_WILLNEED)

    def _leaf(self, table: str, key: bytes) -> int | None:
        """The leaf page on which a key of a table is, if it is there."""
        first, pages = self._levels.get(table, ((), ()))
        at = bisect_right(first, key) - 1
        return pages[at] if at >= 0 else None

    def _load(self) -> None:
        """Find the leaf pages of the tables: a key and a page for each."""
        self._forget()
        if self._file is None:
            self._file = PageFile(self._path)
        roots = self._file.tables()
        for table in ("index", "vectors"):
            level = [(b"", roots[table])]
            while level and self._file.children(level[0][1]) is not None:
                level = [c for _, page in level for c in self._file.children(page) or ()]
                level[:1] = [(b"", level[0][1])]
            if len(level) <= _LONGEST_LEVEL:
                self._levels[table] = ([key for key, _ in level], [page for _, page in level])

    def _forget(self) -> None:
        self._levels, self._leaves = {}, {}
        self._loaded = time.monotonic()
