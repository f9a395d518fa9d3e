"""What the last commit of a damaged store counted, read from its pages without LMDB.

`repair` has to know it to tell how much is lost, most of all where LMDB cannot open the file.
"""

from __future__ import annotations

from pathlib import Path

import attrs

from ..format.checksum import MismatchError
from ..metadata import TALLY, Tally, decode_tally
from .pages import Meta, Node, leaf_nodes, meta_problems, nodes_of, read_metas
from .trees import OddPageError, PageFile


@attrs.frozen
class LastTally:
    """A tally, and whether it is the last commit's.

    Attributes:
        tally: the newest that can be read.
        certain: false if later commits may have counted otherwise.
    """

    tally: Tally
    certain: bool


def find_last_tally(path: Path) -> LastTally | None:
    """The newest tally in the data file of the store at `path`; None if none can be read.

    It is certain where the newer meta page leads to it, or where it follows the one that the older
    meta page leads to: commits write the two pages in turn.
    """
    metas = sorted((m for m in read_metas(path) if m.sound), key=lambda meta: -meta.commit)
    reached = [_reached(path, meta) for meta in metas]
    if len(metas) == 2 and reached[0] is not None and not meta_problems(path):
        # A tally of a later commit would be that of one that never came to its end.
        return LastTally(reached[0], True)
    newest = max(_anywhere(path), key=lambda tally: tally.commit, default=None)
    known = next((tally for tally in reached if tally is not None), None)
    if known is not None and (newest is None or newest.commit <= known.commit):
        return LastTally(known, len(metas) == 1)
    if newest is None:
        return None
    return LastTally(newest, known is not None and newest.commit == known.commit + 1)


def _reached(path: Path, meta: Meta) -> Tally | None:
    """The tally to which a meta page leads."""
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


def _anywhere(path: Path) -> list[Tally]:
    """All tallies on any page, live or left over."""
    found = (_tally(node) for _, _, node in leaf_nodes(path))
    return [tally for tally in found if tally is not None]


def _tally(node: Node) -> Tally | None:
    if node.key != TALLY or node.value is None:
        return None
    try:
        return decode_tally(node.value)
    except MismatchError:
        return None
