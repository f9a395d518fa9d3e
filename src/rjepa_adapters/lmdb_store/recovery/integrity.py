"""Check whether a data file holds all that its last commit wrote, and find that commit's tally.

LMDB maps the file into memory without checking its size: a read past the end of a truncated file
kills the process with a signal. So the size is compared with the meta pages before LMDB opens it.
"""

from __future__ import annotations

from pathlib import Path

import attrs

from rjepa_core.errors import StoreError, StoreNotFoundError

from ..directory import DATA, SIDECAR
from ..format.checksum import MismatchError
from ..metadata import TALLY, Tally, decode_tally
from .pages import PAGE, Meta, Node, leaf_nodes, meta_problems, nodes_of, page_size, read_metas
from .trees import OddPageError, PageFile

# A running writer may change the pages while they are read; a later try sees them complete.
_TRIES = 3


@attrs.frozen
class Truncation:
    """A data file that ends too early.

    Attributes:
        size: bytes that it has.
        whole: bytes that it should have.
    """

    size: int
    whole: int

    def __str__(self) -> str:
        return f"{DATA} is cut off: {self.size:,} of {self.whole:,} bytes are there"


def find_cut(path: Path) -> Truncation | None:
    """Return how the data file of the store at `path` is truncated; None if it is not.

    With a damaged meta page this is unknown, and None; LMDB refuses to open such a file.
    """
    cut = None
    for _ in range(_TRIES):
        cut = _find_cut_once(path)
        if cut is None:
            return None
    return cut


def check_data(path: Path, location: str, writing: bool) -> None:
    """Refuse a data file that is cut off or empty.

    A crash between the file's creation and LMDB's first write leaves a file of 0 bytes, so a writer
    may begin there; but not if the copy of the identity shows that the store was in use.

    Raises:
        StoreError: it is cut off, or was emptied.
        StoreNotFoundError: it is to be read, but was never written.
    """
    data = path / DATA
    if not data.exists():
        return
    if data.stat().st_size == 0:
        if (path / SIDECAR).exists():
            raise StoreError(
                f"{location}: {DATA} is empty, and all that the store held is gone; bring a copy "
                "of it back, or remove the directory and start over"
            )
        if not writing:
            raise StoreNotFoundError(
                f"{location}: a store was begun here but never written ({DATA} has 0 bytes); check "
                "the path"
            )
        return
    cut = find_cut(path)
    if cut is not None:
        raise StoreError(f"{location}: {cut}; repair the store to save what is left")


def _find_cut_once(path: Path) -> Truncation | None:
    metas = read_metas(path)
    size = (path / DATA).stat().st_size
    if not metas or not all(meta.sound for meta in metas):
        return None
    last = max(metas, key=lambda meta: meta.commit)
    whole = (last.last_page + 1) * page_size(path)
    if size >= whole and len(metas) == 2:
        return None
    # Pages at the end that were freed by the commit that allocated them are never written.
    return None if len(metas) == 2 and _all_there(path, last, size) else Truncation(size, whole)


def _all_there(path: Path, meta: Meta, size: int) -> bool:
    """Return whether all pages of all tables lie within the file."""
    file = PageFile(path)
    try:
        roots = [meta.free, meta.main, *(root for root, _ in file.trees(meta.main).values())]
        for root in roots:
            for _, leaves in file.leaf_pages(root):
                for leaf in leaves:
                    if leaf.page and leaf.page * file.page_size + PAGE.size + leaf.size > size:
                        return False
    except OddPageError:
        return False
    finally:
        file.close()
    return True


@attrs.frozen
class LastTally:
    """A tally, and whether it is the last commit's.

    Attributes:
        tally: the newest that can be read.
        certain: false if there may have been later commits.
    """

    tally: Tally
    certain: bool


def find_last_tally(path: Path) -> LastTally | None:
    """Return the newest tally in the data file of the store at `path`; None if none can be read.

    It is certain if the newer meta page leads to it, or if it follows the one that the older meta
    page leads to: commits write the two pages in turn.
    """
    metas = sorted((m for m in read_metas(path) if m.sound), key=lambda meta: -meta.commit)
    reached = [_tally_of(path, meta) for meta in metas]
    if len(metas) == 2 and reached[0] is not None and not meta_problems(path):
        # A tally of a later commit would be that of a commit that never completed.
        return LastTally(reached[0], True)
    newest = max(_all_tallies(path), key=lambda tally: tally.commit, default=None)
    known = next((tally for tally in reached if tally is not None), None)
    if known is not None and (newest is None or newest.commit <= known.commit):
        return LastTally(known, len(metas) == 1)
    if newest is None:
        return None
    return LastTally(newest, known is not None and newest.commit == known.commit + 1)


def _tally_of(path: Path, meta: Meta) -> Tally | None:
    """Return the tally to which a meta page leads."""
    file = PageFile(path)
    try:
        root, _ = file.trees(meta.main)["meta"]
        for number, _ in file.leaf_pages(root):
            for node in nodes_of(file.page(number), file.page_size):
                tally = _tally(node)
                if tally is not None:
                    return tally
    except (OddPageError, KeyError):
        pass
    finally:
        file.close()
    return None


def _all_tallies(path: Path) -> list[Tally]:
    """Return the tallies on all pages, live or stale."""
    found = (_tally(node) for _, _, node in leaf_nodes(path))
    return [tally for tally in found if tally is not None]


def _tally(node: Node) -> Tally | None:
    if node.key != TALLY or node.value is None:
        return None
    try:
        return decode_tally(node.value)
    except MismatchError:
        return None
