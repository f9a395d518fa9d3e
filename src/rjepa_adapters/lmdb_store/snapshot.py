"""One consistent state of a store, read in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rjepa_core.domain.latents import LatentRecord, Vectors
from rjepa_core.domain.trace import Failure, RecordKey
from rjepa_core.errors import StoreClosedError
from rjepa_core.ports.store import Entry

from .batches import read_latents
from .layout import read_tally
from .reading import Reader

T = TypeVar("T")


class LmdbSnapshot:
    """A read transaction; see `Snapshot`."""

    def __init__(self, reader: Reader) -> None:
        self._reader: Reader | None = reader
        self._path = reader.environment.path

    def close(self) -> None:
        """Let go of the reader, whose transaction ends: LMDB would only say that a read failed."""
        self._reader = None

    def __len__(self) -> int:
        reader = self._open()
        return read_tally(reader.environment, reader.txn).records

    def keys(self, after: RecordKey | None = None) -> Iterator[RecordKey]:
        return self._while_open(self._open().keys(after))

    def entries(self) -> Iterator[tuple[RecordKey, Entry]]:
        return self._while_open(self._open().entries())

    def get(self, key: RecordKey) -> LatentRecord:
        return self._open().get(key, views=True)

    def read_latents(
        self, keys: Sequence[RecordKey], latents: Vectors, prompts: Vectors | None = None
    ) -> NDArray[np.int64]:
        return read_latents(self._open(), keys, latents, prompts)

    def failures(self) -> Iterator[Failure]:
        return self._while_open(self._open().failures())

    def _open(self) -> Reader:
        if self._reader is None:
            raise StoreClosedError(
                f"{self._path}: this snapshot is closed; read inside its `with` block"
            )
        return self._reader

    def _while_open(self, items: Iterator[T]) -> Iterator[T]:
        self._open()
        for item in items:
            yield item
            self._open()
