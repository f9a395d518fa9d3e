"""Checks, repairs and compacts LMDB stores, as the port `Maintenance` names it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from rjepa_core.domain.identity import Identity
from rjepa_core.ports.maintenance import RepairReport, VerifyReport
from rjepa_core.ports.progress import Report, ignore
from rjepa_core.ports.store import LatentStore
from rjepa_core.settings import STORE_DTYPES

from ..unfinished import unfinished
from . import compact as compacting
from .directory import DATA
from .recovery import repair as repairing
from .store import LmdbStore

# Measured on stores of GSM8K solutions: entry in the index and order; statement, prompt and labels;
# text and token ids of a step.
_ENTRIES, _TEXTS, _STEP_TEXTS = 700, 1600, 350
_PAGE, _PAGE_HEAD = 4096, 16


class LmdbMaintenance:
    """See `Maintenance`."""

    def verify(self, location: str, report: Report = ignore) -> VerifyReport:
        return repairing.verify(location, report)

    def repair(self, location: str, target: str, report: Report = ignore) -> RepairReport:
        return repairing.repair(location, target, report)

    def build(self, location: str) -> AbstractContextManager[LatentStore]:
        return build(location)

    def compact(self, location: str, report: Report = ignore) -> int:
        return compacting.compact(location, report)

    def room_needed(self, identity: Identity, records: int, steps: float = 8.0) -> int:
        space = identity.space
        values = len(space.layers) * space.hidden_size * (steps + 1)
        vectors = values * STORE_DTYPES[space.store_dtype].itemsize
        texts = _TEXTS + _STEP_TEXTS * steps
        return records * (_ENTRIES + _on_pages(vectors) + _on_pages(texts))

    def room_free(self, location: str) -> int:
        path = Path(location).absolute()
        while not path.exists():
            path = path.parent
        return shutil.disk_usage(path).free


def _on_pages(size: float) -> int:
    """Bytes that a value takes; LMDB gives one of half a page or more pages of its own."""
    if size < _PAGE / 2:
        return round(size)
    return -(-round(size + _PAGE_HEAD) // _PAGE) * _PAGE


@contextmanager
def build(location: str) -> Iterator[LatentStore]:
    """See `Maintenance.build`."""
    with unfinished(location, DATA) as part, LmdbStore(str(part), "write") as store:
        yield store
