"""New stores that are there when they are whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rjepa_core.ports.store import LatentStore

from .place import DATA
from .store import LmdbStore
from .unfinished import unfinished


@contextmanager
def build(location: str) -> Iterator[LatentStore]:
    """See `StoreTools.build`."""
    with unfinished(location, DATA) as part, LmdbStore(str(part), "write") as store:
        yield store
