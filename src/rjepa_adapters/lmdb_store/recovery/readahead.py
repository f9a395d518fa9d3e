"""Asks the system for blocks that are about to be read, so that it fetches them all at once.

The map has no read-ahead, which would read a record's neighbours from the disk as well, and LMDB's
binding touches a value page by page: a block that is not in the system's cache would be fetched in
as many small reads, each awaited. While reads are slow, the blocks' places are looked up in the
pages themselves and the system is told of all of them first. It is only a hint: a wrong place, as
after a commit meanwhile, costs a needless read and nothing else. Nothing is kept from one call to
the next, so that a store's size does not matter.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from .trees import OddPageError, PageFile, Walk

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
