"""The LMDB store's tools, as the port names them."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from rjepa_core.domain.identity import Identity
from rjepa_core.domain.problem import Problem
from rjepa_core.errors import UsageError
from rjepa_core.ports.maintenance import (
    CopyReport,
    ExportFormat,
    MergeReport,
    RepairReport,
    Report,
    VerifyReport,
    Winner,
    ignore,
)
from rjepa_core.ports.store import LatentStore
from rjepa_core.settings import STORE_DTYPES
from rjepa_core.stores import merge as merging

from ..shards import dataset
from ..shards import export as shards
from ..shards import load as shard_import
from ..unfinished import unfinished
from . import compact as compacting
from .directory import DATA
from .recovery import repair as repairing
from .store import LmdbStore

# Measured on stores of GSM8K solutions: entry in the index and order; statement, prompt and labels;
# text and token ids of a step.
_ENTRIES, _TEXTS, _STEP_TEXTS = 700, 1600, 350
_PAGE, _PAGE_HEAD = 4096, 16


class LmdbTools:
    """See `StoreTools`."""

    def verify(self, location: str, report: Report = ignore) -> VerifyReport:
        return repairing.verify(location, report)

    def repair(self, location: str, target: str, report: Report = ignore) -> RepairReport:
        return repairing.repair(location, target, report)

    def build(self, location: str) -> AbstractContextManager[LatentStore]:
        return build(location)

    def compact(self, location: str, report: Report = ignore) -> int:
        return compacting.compact(location, report)

    def merge(
        self,
        target: LatentStore,
        sources: Sequence[LatentStore],
        winner: Winner = "refuse",
        report: Report = ignore,
    ) -> MergeReport:
        return merging.merge(target, sources, winner, report)

    def export(
        self,
        store: LatentStore,
        target: str,
        format: ExportFormat = "shards",
        per_shard: int = 1000,
        report: Report = ignore,
    ) -> CopyReport:
        if per_shard < 1:
            raise UsageError(f"per_shard: {per_shard} records a shard; at least 1")
        if format == "dataset":
            return dataset.export_dataset(store, target, per_shard, report)
        return shards.export_shards(store, target, per_shard, report)

    def import_shards(
        self,
        source: str,
        store: LatentStore,
        identity: Identity | None = None,
        problems: Mapping[str, Problem] | None = None,
        report: Report = ignore,
    ) -> CopyReport:
        return shard_import.import_shards(source, store, identity, problems, report)

    def remove(
        self, store: LatentStore, ids: Iterable[str] = (), reasons: Iterable[str] = ()
    ) -> int:
        return merging.remove(store, ids, reasons)

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
    """See `StoreTools.build`."""
    with unfinished(location, DATA) as part, LmdbStore(str(part), "write") as store:
        yield store
