"""Ask the system for blocks that are about to be read, so that a slow disk fetches them at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from .recovery.pages import (
    PAGE,
)
from .recovery.trees import (
    OddPageError,
    PageFile,
    Walk,
)

_SLOW, _FAST = 200e-6, 100e-6


class Fetcher:
    """Prefetches blocks of vectors of one store, as long as reading them is slow."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: PageFile | None = None
        self._slow = hasattr(os, "posix_fadvise")

    @property
    def wanted(self) -> bool:
        """Whether prefetching pays: the last reads were slow, or there were none yet."""
        return self._slow

    def took(self, seconds: float, records: int) -> None:
        """Record how long a read took: prefetching only costs time if the pages are cached."""
        each = seconds / max(1, records)
        if each > _SLOW:
            self._slow = hasattr(os, "posix_fadvise")
        elif each < _FAST:
            self._slow = False

    def ask_heads(self, raw_keys: Sequence[bytes]) -> None:
        """Start fetching the index pages that hold these keys."""
        if len(raw_keys) > 1:
            self._try(lambda file: self._ask_pages(file, Walk(file, "index"), raw_keys))

    def ask(self, numbers: Sequence[bytes]) -> None:
        """Start fetching the blocks of vectors with these numbers."""
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
            pass  # LMDB will read the page and report what is wrong with it.

    def _ask_pages(self, file: PageFile, walk: Walk, keys: Iterable[bytes]) -> list[int]:
        """Start fetching the leaf pages that hold these keys; return their numbers."""
        leaves = [walk.leaf(key) for key in keys]
        for leaf in dict.fromkeys(leaves):
            _advise(file, leaf, 0)
        return leaves

    def _ask_blocks(self, file: PageFile, walk: Walk, numbers: Sequence[bytes]) -> None:
        leaves = self._ask_pages(file, walk, numbers) if len(numbers) > 1 else []
        for number, leaf in zip(numbers, leaves or (walk.leaf(n) for n in numbers), strict=True):
            page, size = walk.block(leaf, number)
            if page:
                _advise(file, page, size + PAGE.size)


def _advise(file: PageFile, page: int, size: int) -> None:
    unit = file.page_size
    start, length = page * unit, max(size, unit)
    os.posix_fadvise(file.descriptor, start, length, os.POSIX_FADV_WILLNEED)
